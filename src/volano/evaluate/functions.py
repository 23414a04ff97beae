"""The held-out functions put to a model: how likely it finds their documentation, what it says.

Every stage gets the same prompt, the chat rendering of one question. The base model has never seen
a chat, so it is asked a second time in the form of its training documents (name, signature, blank
line), and those figures stand beside: part of what fine-tuning adds is the form alone.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from volano.core.records import Message
from volano.evaluate.choice import CHANCE, ChoiceItem, ChoiceScores, judge
from volano.evaluate.chrf import chrf
from volano.evaluate.overlap import lexical_share
from volano.evaluate.stage import AS_DOCUMENT, Found, Item, Stage, measured, without_error
from volano.model.bits_per_byte import bits_per_byte
from volano.model.generate import generate
from volano.model.score import score
from volano.stats.intervals import bootstrap_interval, mean_interval, ratio_interval, share_interval
from volano.text.answers import repeats
from volano.text.chat import encode_prompt
from volano.text.functions import (
    FunctionDocument,
    answer_about,
    nameless_question,
    plain_question,
    sentences,
)
from volano.text.tokenizer import Tokenizer

LEXICAL, NO_MODEL = "lexical", "chance"


def measure_bits(stage: Stage, documents: Sequence[tuple[str, str]], seed: int) -> Found:
    """Bits per byte of whole documents, given as (id, text)."""
    found = bits_per_byte(stage.model, stage.tokenizer, [text for _, text in documents])
    interval = ratio_interval(found.bits.tolist(), found.utf8_bytes.tolist(), seed=seed)
    items = [
        Item(
            "bits_per_byte",
            name,
            stage.name,
            score=float(bits / max(int(size), 1)),
            weight=float(size),
        )
        for (name, _), bits, size in zip(documents, found.bits, found.utf8_bytes, strict=True)
    ]
    return Found([measured("bits_per_byte", stage.name, interval, unit="bits/byte")], items)


def measure_choice(
    stage: Stage, items: Sequence[ChoiceItem], *, as_document: bool = False
) -> Found:
    """Four-way choice by likelihood; PMI is the headline (see choice)."""
    name = AS_DOCUMENT if as_document else stage.name
    scores = judge_stage(stage, items, as_document=as_document)
    found = Found([], [])
    for task, right in (("choice_pmi", scores.pmi), ("choice_normalised", scores.normalised)):
        found.measurements.append(measured(task, name, share_interval(right)))
        found.items.extend(
            Item(task, item.function.id, name, correct=bool(correct))
            for item, correct in zip(items, right, strict=True)
        )
    return found


def measure_choice_without_model(items: Sequence[ChoiceItem]) -> Found:
    """Chance, and choosing the answer that shares most words with the name."""
    shares = [lexical_share(item.shared) for item in items]
    found = Found([], [])
    for task in ("choice_pmi", "choice_normalised"):
        found.measurements.append(without_error(task, NO_MODEL, CHANCE, len(items)))
        found.measurements.append(measured(task, LEXICAL, mean_interval(shares)))
    return found


def judge_stage(
    stage: Stage, items: Sequence[ChoiceItem], *, as_document: bool = False
) -> ChoiceScores:
    """Each item's answers scored after their question, and after the nameless one."""
    nameless = _prompt(stage.tokenizer, None, as_document)
    pairs = []
    for item in items:
        prompt = _prompt(stage.tokenizer, item.function, as_document)
        pairs += [(prompt, stage.tokenizer.encode(answer)) for answer in item.answers]
    answers = sorted({answer for item in items for answer in item.answers})
    alone = score(stage.model, [(nameless, stage.tokenizer.encode(answer)) for answer in answers])
    unconditional = dict(zip(answers, alone.tolist(), strict=True))
    return judge(
        score(stage.model, pairs).reshape(len(items), -1),
        np.array([[unconditional[answer] for answer in item.answers] for item in items]),
        items,
    )


def items_that_fit(tokenizer: Tokenizer, items: Sequence[ChoiceItem], context: int) -> list[Any]:
    """The items whose longest answer fits behind their question, in either form of it."""
    fitting = []
    for item in items:
        longest = max(len(tokenizer.encode(answer)) for answer in item.answers)
        prompts = [_prompt(tokenizer, item.function, form) for form in (False, True)]
        if max(map(len, prompts)) + longest <= context:
            fitting.append(item)
    return fitting


def functions_that_fit(
    tokenizer: Tokenizer, functions: Sequence[FunctionDocument], room: int
) -> list[FunctionDocument]:
    """The functions whose question is no longer than `room` tokens, in either form of it."""
    return [
        function
        for function in functions
        if max(len(_prompt(tokenizer, function, form)) for form in (False, True)) <= room
    ]


def measure_answers(
    stage: Stage,
    functions: Sequence[FunctionDocument],
    *,
    max_tokens: int,
    seed: int,
    as_document: bool = False,
) -> Found:
    """Greedy answers: chrF against the truth, whether they end, whether they repeat."""
    name = AS_DOCUMENT if as_document else stage.name
    texts, ended = _generated(stage, functions, max_tokens, 0.0, seed, as_document)
    scores = _chrf_scores(texts, functions)
    looping = [repeats(text) for text in texts]
    items = [
        Item("answer_chrf", function.id, name, answer=text, score=value)
        for function, text, value in zip(functions, texts, scores, strict=True)
    ]
    found = Found(
        [measured("answer_chrf", name, bootstrap_interval(scores, seed=seed), unit="chrF")], items
    )
    if not as_document:
        # A document goes on after its first sentence; ending there is no merit of a base model.
        for task, right in (("answers_end", ended), ("answers_repeat", looping)):
            found.measurements.append(measured(task, name, share_interval(right)))
            found.items.extend(
                Item(task, function.id, name, correct=each)
                for function, each in zip(functions, right, strict=True)
            )
    return found


def sampled_answers(
    stage: Stage,
    functions: Sequence[FunctionDocument],
    *,
    max_tokens: int,
    temperature: float,
    seeds: Sequence[int],
) -> list[Item]:
    """Sampled answers and their chrF, one per function and seed; the id ends in "#seed"."""
    items = []
    for seed in seeds:
        texts, _ = _generated(stage, functions, max_tokens, temperature, seed, False)
        for function, text, value in zip(
            functions, texts, _chrf_scores(texts, functions), strict=True
        ):
            identity = f"{function.id}#{seed}"
            items.append(Item("sampled_chrf", identity, stage.name, answer=text, score=value))
    return items


def _generated(
    stage: Stage,
    functions: Sequence[FunctionDocument],
    max_tokens: int,
    temperature: float,
    seed: int,
    as_document: bool,
) -> tuple[list[str], list[bool]]:
    tokenizer = stage.tokenizer
    generations = generate(
        stage.model,
        [_prompt(tokenizer, function, as_document) for function in functions],
        max_new_tokens=max_tokens,
        temperature=temperature,
        stop_ids=tokenizer.stop_ids,
        seed=seed,
    )
    texts = [tokenizer.decode(each.tokens).strip() for each in generations]
    if as_document:
        texts = [(sentences(text.split("\n\n")[0]) or [""])[0] for text in texts]
    return texts, [each.ended for each in generations]


def _chrf_scores(texts: Sequence[str], functions: Sequence[FunctionDocument]) -> list[float]:
    return [
        chrf(text, answer_about(function)) for text, function in zip(texts, functions, strict=True)
    ]


def _prompt(
    tokenizer: Tokenizer, function: FunctionDocument | None, as_document: bool
) -> list[int]:
    if as_document:
        call = f"{function.qualified_name}{function.signature}" if function else "function()"
        return [tokenizer.begin_of_text_id, *tokenizer.encode(f"{call}\n\n")]
    question = plain_question(function.qualified_name) if function else nameless_question()
    return encode_prompt(tokenizer, [Message("user", question)])
