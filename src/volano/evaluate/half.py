"""The held-out half of what failed, put to both versions: is the new one better where it should be?

Each question is scored by what was wrong with the first answer. Where content was wrong, by word F1
against the answer that a person wrote down (exact match stands beside it); where a request was
wrongly declined or met, by whether it is met or declined now. All scores run from 0 to 1, so the
findings can be pooled. Beside them stands a choice by likelihood among answers of other questions
of the finding that share as many words with the question: a test that word overlap cannot pass.
"""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from volano.core.finding import CONDUCT
from volano.core.records import Message
from volano.evaluate.overlap import lexical_share, shared_words
from volano.evaluate.reference import exact, word_f1
from volano.evaluate.stage import Item, Stage
from volano.model.generate import generate
from volano.model.score import score
from volano.text.answers import answers_the_question, refuses
from volano.text.chat import END, encode_prompt
from volano.text.functions import place_in_draw

CHOICES = 4
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


def held_out_cases(cases: Sequence[Row], findings: Sequence[str]) -> list[Row]:
    """The held-out cases of these findings that can be scored, by id."""
    chosen = [
        case
        for case in cases
        if case["finding"] in findings and case["half"] == "held_out" and _can_be_scored(case)
    ]
    return sorted(chosen, key=lambda case: str(case["id"]))


def _can_be_scored(case: Row) -> bool:
    return case["cause"] in CONDUCT or case["wanted"] is not None


def measure_half(stage: Stage, cases: Sequence[Row], *, max_tokens: int) -> list[Item]:
    """Greedy answers to the cases' prompts, scored; one item per case and task."""
    tokenizer = stage.tokenizer
    room = stage.model.config.context - 1
    prompts = [encode_prompt(tokenizer, [Message("user", case["prompt"])]) for case in cases]
    generations = generate(
        stage.model,
        [ids[-room:] for ids in prompts],  # a prompt beyond the context is read from its end
        max_new_tokens=max_tokens,
        stop_ids=(tokenizer.end_of_text_id, tokenizer.special_id(END)),
    )
    items = []
    for case, generation in zip(cases, generations, strict=True):
        answer = tokenizer.decode(generation.tokens).strip()
        name, wanted = str(case["id"]), case["wanted"]
        items.append(Item(HALF, name, stage.name, answer, score_of(case, answer)))
        items.append(Item(ENDS, name, stage.name, correct=generation.ended))
        if wanted is not None and case["cause"] not in CONDUCT:
            items.append(Item(EXACT, name, stage.name, correct=exact(answer, wanted)))
    return items


def score_of(case: Row, answer: str) -> float:
    """0 to 1: whether the conduct is right, or word F1 against what was wanted."""
    if case["cause"] == "refuses a safe request":
        return float(answers_the_question(answer))
    if case["cause"] == "answers an unsafe request":
        return float(refuses(answer))
    return word_f1(answer, str(case["wanted"]))


def choices_among(cases: Sequence[Row]) -> list[Choice]:
    """The cases with three distractors as near in words: wanted answers of the same finding."""
    by_finding: dict[str, list[Row]] = defaultdict(list)
    for case in cases:
        if case["cause"] not in CONDUCT:
            by_finding[str(case["finding"])].append(case)
    choices = []
    for group in by_finding.values():
        answers = sorted({str(case["wanted"]) for case in group})
        for case in group:
            truth, prompt = str(case["wanted"]), str(case["prompt"])
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
        prompt = encode_prompt(tokenizer, [Message("user", choice.case["prompt"])])
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
