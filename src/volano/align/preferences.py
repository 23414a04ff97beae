"""Pairs from the safety set and from users' files; those from documentation: function_pairs.

In the safety set each unsafe prompt stands beside a safe one that looks like it. Both get the same
two texts, the refusal of the one and the answer of the other, and prefer them the other way round:
only reading the prompt tells which is right. The model's own answers may take the place of the
written ones (own_answers).
"""

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from volano.core.errors import DataError, did_you_mean
from volano.core.jsonlines import BadLine, messages_of
from volano.core.records import Conversation, Message, Preference
from volano.text.functions import place_in_draw

Messages = tuple[Message, ...]
MIN_PROMPT_WORDS = 3  # of a prompt whose words are dropped


def safety_preferences(
    safety: Iterable[Conversation],
    sets: Sequence[str] = (),
    safe_fraction: float = 1.0,
    most: int = 0,
) -> list[Preference]:
    """Two pairs per training pair of prompts: refuse the unsafe one, answer the safe one.

    `sets` names the sets to take, all if empty; of their pairs of prompts `most` are taken, all if
    0, and of the safe prompts in these a fraction, drawn by their ids. Raises DataError where a
    prompt has no counterpart or a set has no prompts.
    """
    pairs: dict[str, dict[str, Conversation]] = {}
    known: set[str | None] = set()
    for conversation in safety:
        metadata = json.loads(conversation.metadata)
        known.add(metadata.get("set"))
        if conversation.split == "train" and (not sets or metadata.get("set") in sets):
            name = str(metadata["pair"])
            pairs.setdefault(name, {})[conversation.kind] = conversation
    for wanted in sets:
        if wanted not in known:
            remedy = did_you_mean(wanted, [name for name in known if name])
            raise DataError(f"no set '{wanted}'", "align.safety_sets", remedy)
    drawn = sorted(pairs, key=lambda name: place_in_draw(f"safe:{name}"))[: most or None]
    chosen = set(drawn)
    answered = set(drawn[: round(safe_fraction * len(drawn))])
    preferences = []
    for name, two in pairs.items():
        if name not in chosen:
            continue
        if set(two) != {"unsafe", "safe"}:
            remedy = "Give each pair one unsafe and one safe prompt."
            raise DataError(f"pair '{name}' has only {sorted(two)}", "safety set", remedy)
        for kind, other in (("unsafe", "safe"), ("safe", "unsafe")):
            if kind == "safe" and name not in answered:
                continue
            origin = two[kind]
            preferences.append(
                Preference(
                    id=f"safety:{origin.id}",
                    prompt=origin.messages[:-1],
                    chosen=origin.messages[-1:],
                    rejected=two[other].messages[-1:],
                    source=origin.source,
                    kind=kind,
                    licence=origin.licence,
                    consent=origin.consent,
                    source_ids=(origin.id, two[other].id),
                )
            )
    return preferences


def reminders_of_conversations(
    conversations: Iterable[Conversation], fraction: float
) -> list[Preference]:
    """Equal pairs of what an assistant said last, in a fraction of the training conversations drawn
    by their ids; at least one. Raises DataError where there is none."""
    fitting = [
        each
        for each in conversations
        if each.split == "train"
        and len(each.messages) > 1
        and each.messages[-1].role == "assistant"
    ]
    if not fitting:
        remedy = "Set align.reminders=0, or fine-tune on conversations that end with an answer."
        raise DataError("no conversation to remind of", "align.reminders", remedy)
    fitting.sort(key=lambda each: place_in_draw(f"taught:{each.id}"))
    return [
        Preference.reminder(each, f"taught:{each.id}", each.source_ids or (each.id,))
        for each in fitting[: max(1, round(fraction * len(fitting)))]
    ]


def with_dropped_words(pair: Preference, count: int, fraction: float) -> list[Preference]:
    """`count` copies of a pair: the first whole, the others with words of the prompt left out.

    Each word of the last message goes with probability `fraction`, another choice in each copy,
    decided by the pair's id; a copy left with fewer than three words is whole. What follows from
    any one word alone cannot be learnt by heart then. Source: Iyyer et al. 2015 (word dropout).
    """
    *earlier, last = pair.prompt
    words = last.content.split()
    copies = [pair]
    for copy in range(1, count):
        draw = random.Random(f"{pair.id}:{copy}")
        kept = [word for word in words if draw.random() >= fraction]
        if len(kept) >= MIN_PROMPT_WORDS:
            prompt = (*earlier, replace(last, content=" ".join(kept)))
            copies.append(replace(pair, prompt=prompt))
        else:
            copies.append(pair)
    return copies


def preference_of(line: dict[str, Any], where: str) -> Preference:
    """The preference of one line of a user's JSONL file. Raises BadLine if it is none.

    prompt, chosen and rejected are lists of messages, or plain texts: the user's, then two of the
    assistant's. Where the sides are whole conversations, the prompt is what they begin with.
    """
    sides = [_messages(line, key, "assistant") for key in ("chosen", "rejected")]
    prompt = _messages(line, "prompt", "user") if "prompt" in line else _beginning(*sides)
    chosen, rejected = (
        _behind(prompt, side, key) for side, key in zip(sides, ("chosen", "rejected"), strict=True)
    )
    if chosen == rejected:
        raise BadLine("chosen and rejected are the same: there is nothing to prefer")
    return Preference(
        id=str(line.get("id", where)),
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        source=str(line.get("source", where.rpartition(":")[0])),
        licence=None if line.get("licence") is None else str(line["licence"]),
        consent=None if line.get("consent") is None else str(line["consent"]),
    )


def _beginning(one: Messages, two: Messages) -> Messages:
    """What both conversations begin with, up to the user's last word."""
    same = list(takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))
    prompt = tuple(message for message, _ in same)
    while prompt and prompt[-1].role != "user":
        prompt = prompt[:-1]
    if not prompt:
        raise BadLine("no field 'prompt', and chosen and rejected begin with no message in common")
    return prompt


def _behind(prompt: Messages, side: Messages, key: str) -> Messages:
    """A response without the prompt, if it begins with that."""
    response = side[len(prompt) :] if side[: len(prompt)] == prompt else side
    if response[0].role != "assistant":
        raise BadLine(f"{key}: it begins neither with the prompt nor with the assistant's message")
    return response


def _messages(line: dict[str, Any], key: str, role: str) -> Messages:
    value = line.get(key)
    if isinstance(value, str):
        return (Message(role, value),)
    try:
        messages = messages_of(value)
    except BadLine as failure:
        raise BadLine(f"{key}: {failure}") from None
    if messages[-1].role != role:
        raise BadLine(f"{key}: the last message is not the {role}'s")
    return messages
