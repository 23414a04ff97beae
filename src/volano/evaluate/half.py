"""The held-out half of the questions that failures are about: is the new version better there?

Both versions are put the questions of a finding's kind, each once, whether they had failed or not:
on failures alone, any other version gains by chance. An answer is scored by word F1 against what a
person wrote down or the documents say, less its mean F1 against what other questions of the finding
want: the same sentence for every question scores nothing (exact match stands beside it). Where
requests were wrongly declined or met and no document says what is right, the score is whether they
are met or declined as they should be. Beside them stands a choice by likelihood among answers of
other questions of the finding that share as many words with the question: a test that word overlap
cannot pass.
"""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from volano.core.finding import CONDUCT, Finding
from volano.core.records import Message
from volano.evaluate.overlap import lexical_share, shared_words
from volano.evaluate.reference import exact, word_f1
from volano.evaluate.stage import Item, Stage
from volano.model.generate import generate
from volano.model.score import score
from volano.text.answers import answers_the_question, refuses
from volano.text.chat import encode_prompt
from volano.text.functions import normalised, place_in_draw
from volano.text.held_out import HELD_OUT

CHOICES = 4
OTHERS = 20  # wanted answers of other questions that an answer is compared with
Row = Mapping[str, Any]  # of cases.parquet
HALF, EXACT, CHOICE, ENDS = (
    "held_out_half",
    "held_out_half_exact",
    "held_out_half_choice",
    "half_ends",
)


class Choice(NamedTuple):
    """A question with four answers, the wanted one first, and the words each shares with it."""

    case: Row
    answers: tuple[str, ...]
    shared: tuple[int, ...]


def held_out_cases(cases: Sequence[Row], findings: Sequence[Finding]) -> list[Row]:
    """The held-out questions of the kind of these findings that can be scored, by the id of the
    first case that asks them. `others` are what other questions of the finding want."""
    chosen = []
    for finding in findings:
        mine: dict[tuple[str, ...], dict[str, Any]] = {}
        for case in sorted(cases, key=lambda case: str(case["id"])):
            conduct = finding.cause in CONDUCT and not case["documented"]
            scored = conduct or case["reference"] is not None
            if case["alike"] == finding.id and case["half"] == HELD_OUT and scored:
                turns = (each["content"] for each in case["before"] or ())
                asked = (*turns, normalised(case["prompt"]))
                mine.setdefault(asked, {**case, "conduct": conduct})
        wanted = sorted({str(case["reference"]) for case in mine.values() if not case["conduct"]})
        for case in mine.values():
            chosen.append({**case, "others": _others(case, wanted)})
    return sorted(chosen, key=lambda case: str(case["id"]))


def _others(case: Row, wanted: Sequence[str]) -> list[str]:
    if case["conduct"]:
        return []
    others = [each for each in wanted if normalised(each) != normalised(str(case["reference"]))]
    draw = random.Random(int.from_bytes(place_in_draw(f"others:{case['id']}")[:8]))
    return draw.sample(others, min(OTHERS, len(others)))


def measure_half(stage: Stage, cases: Sequence[Row], *, max_tokens: int) -> list[Item]:
    """Greedy answers to the cases' prompts, scored; one item per case and task."""
    tokenizer = stage.tokenizer
    room = stage.model.config.context - 1
    prompts = [encode_prompt(tokenizer, _asked(case)) for case in cases]
    generations = generate(
        stage.model,
        [ids[-room:] for ids in prompts],  # a prompt beyond the context is read from its end
        max_new_tokens=max_tokens,
        stop_ids=tokenizer.stop_ids,
    )
    items = []
    for case, generation in zip(cases, generations, strict=True):
        answer = tokenizer.decode(generation.tokens).strip()
        name = str(case["id"])
        items.append(Item(HALF, name, stage.name, answer, score_of(case, answer)))
        items.append(Item(ENDS, name, stage.name, correct=generation.ended))
        if not case["conduct"]:
            items.append(Item(EXACT, name, stage.name, correct=exact(answer, case["reference"])))
    return items


def _asked(case: Row) -> list[Message]:
    before = [Message(each["role"], each["content"]) for each in case["before"] or ()]
    return [*before, Message("user", case["prompt"])]


def score_of(case: Row, answer: str) -> float:
    """Whether the conduct is right (0 or 1), or word F1 against the reference above that against
    what others want (-1 to 1)."""
    if not case["conduct"]:
        anyway = [word_f1(answer, other) for other in case["others"]]
        own = word_f1(answer, str(case["reference"]))
        return own - (sum(anyway) / len(anyway) if anyway else 0.0)
    return float(refuses(answer) if case["decline"] else answers_the_question(answer))


def choices_among(cases: Sequence[Row]) -> list[Choice]:
    """The cases with three distractors as near in words: wanted answers of the same finding."""
    by_finding: dict[str, list[Row]] = defaultdict(list)
    for case in cases:
        if not case["conduct"]:
            by_finding[str(case["alike"])].append(case)
    choices = []
    for group in by_finding.values():
        answers = sorted({str(case["reference"]) for case in group})
        for case in group:
            truth, prompt = str(case["reference"]), str(case["prompt"])
            own = shared_words(truth, prompt)
            near = [each for each in answers if each != truth and shared_words(each, prompt) >= own]
            if len(near) >= CHOICES - 1:
                draw = random.Random(int.from_bytes(place_in_draw(str(case["id"]))[:8]))
                chosen = (truth, *draw.sample(near, CHOICES - 1))
                counts = tuple(shared_words(each, prompt) for each in chosen)
                choices.append(Choice(case, chosen, counts))
    return choices


def measure_choices(stage: Stage, choices: Sequence[Choice]) -> list[Item]:
    """Which answer the question makes likelier than it is by itself (PMI); a tie is a miss."""
    tokenizer = stage.tokenizer
    alone = encode_prompt(tokenizer, [])
    context, pairs = stage.model.config.context, []
    for choice in choices:
        prompt = encode_prompt(tokenizer, _asked(choice.case))
        encoded = [tokenizer.encode(answer) for answer in choice.answers]
        prompt = prompt[-(context - max(map(len, encoded))) :]
        pairs += [(prompt, ids) for ids in encoded] + [(alone, ids) for ids in encoded]
    scores = np.asarray(score(stage.model, pairs)).reshape(len(choices), 2, CHOICES)
    gains = scores[:, 0] - scores[:, 1]
    right = gains[:, 0] > gains[:, 1:].max(axis=1)
    return [
        Item(CHOICE, str(choice.case["id"]), stage.name, correct=bool(each))
        for choice, each in zip(choices, right, strict=True)
    ]


def lexical_scores(choices: Sequence[Choice]) -> list[float]:
    """What choosing the answer with most words in common scores on each."""
    return [lexical_share(choice.shared) for choice in choices]
