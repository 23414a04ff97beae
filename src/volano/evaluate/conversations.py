"""The held-out conversations put to a model: how likely it finds the answers, what it says itself.

They are those that fine-tuning kept back of a user's own files, and questions about the held-out
functions where it learns from functions. Beside the stages stands an answer that takes no model:
what the most alike question of the training data was answered with.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from volano.core.errors import DataError
from volano.core.records import Conversation, Message
from volano.evaluate.chrf import chrf
from volano.evaluate.stage import Found, Item, Stage, measured
from volano.model.generate import generate
from volano.model.score import score
from volano.stats.intervals import bootstrap_interval, ratio_interval, share_interval
from volano.text.chat import encode_answer, encode_prompt
from volano.text.functions import (
    FunctionDocument,
    answer_about,
    place_in_draw,
    question_about,
)
from volano.text.near_questions import questions_of
from volano.text.tokenizer import Tokenizer

NEAREST = "nearest answer"
BITS, CHRF, ENDS = "conversation_bits", "conversation_chrf", "conversations_end"


class Asked(NamedTuple):
    """What is asked, all that was said before included, and the answer that it was given."""

    id: str
    prompt: tuple[Message, ...]
    answer: str


def held_out_conversations(
    conversations: Sequence[Conversation], functions: Sequence[FunctionDocument], most: int
) -> list[Asked]:
    """At most `most`, drawn by hash: those of split "test", and a question about each function.

    Raises DataError where there are fewer than two.
    """
    asked = [
        Asked(each.id, each.messages[:-1], each.messages[-1].content)
        for each in conversations
        if each.split == "test"
    ]
    asked += [
        Asked(each.id, (Message("user", question_about(each)),), answer_about(each))
        for each in functions
    ]
    if len(asked) < 2:
        remedy = (
            "Raise finetune.held_out, give more conversations whose questions differ, or leave "
            "conversations out of evaluate.tasks."
        )
        raise DataError(f"{len(asked)} held-out conversations", "evaluate", remedy)
    return sorted(asked, key=lambda each: place_in_draw(each.id))[:most]


def asked_that_fit(
    tokenizer: Tokenizer, asked: Sequence[Asked], context: int, max_tokens: int
) -> list[Asked]:
    """Those that leave the model room for their answer, and for `max_tokens` of its own."""
    return [
        each
        for each in asked
        if len(encode_prompt(tokenizer, each.prompt))
        + max(max_tokens, len(encode_answer(tokenizer, each.answer)))
        <= context
    ]


def measure_conversations(
    stage: Stage, asked: Sequence[Asked], *, max_tokens: int, seed: int
) -> Found:
    """Bits per byte of the given answers, chrF of greedy answers against them, share that ends.

    The bits are those of the answer's text and of the end of its turn, in the stage's own chat;
    the bytes those of the text in UTF-8.
    """
    tokenizer = stage.tokenizer
    prompts = [encode_prompt(tokenizer, each.prompt) for each in asked]
    given = [encode_answer(tokenizer, each.answer) for each in asked]
    bits = -score(stage.model, list(zip(prompts, given, strict=True))) / np.log(2)
    sizes = [max(1, len(each.answer.encode())) for each in asked]
    generations = generate(
        stage.model, prompts, max_new_tokens=max_tokens, stop_ids=tokenizer.stop_ids
    )
    texts = [tokenizer.decode(each.tokens).strip() for each in generations]
    scores = [chrf(text, each.answer) for text, each in zip(texts, asked, strict=True)]
    ended = [each.ended for each in generations]
    items: list[Item] = []
    for each, own_bits, size, text, value, end in zip(
        asked, bits.tolist(), sizes, texts, scores, ended, strict=True
    ):
        items += [
            Item(BITS, each.id, stage.name, score=own_bits / size, weight=float(size)),
            Item(CHRF, each.id, stage.name, answer=text, score=value),
            Item(ENDS, each.id, stage.name, correct=end),
        ]
    per_byte = ratio_interval(bits.tolist(), [float(size) for size in sizes], seed=seed)
    return Found(
        [
            measured(BITS, stage.name, per_byte, unit="bits/byte"),
            measured(CHRF, stage.name, bootstrap_interval(scores, seed=seed), unit="chrF"),
            measured(ENDS, stage.name, share_interval(ended)),
        ],
        items,
    )


def measure_nearest_answers(
    asked: Sequence[Asked], conversations: Sequence[Conversation], seed: int
) -> Found:
    """chrF of the last answer in the training conversation whose questions share most words.

    Alike is the cosine of TF-IDF weights of words and word pairs in all that the user says.
    Without training conversations there is no such answer, and nothing is found.
    """
    known = [each for each in conversations if each.split == "train"]
    learnt = [" ".join(questions_of(each.messages)) for each in known]
    if not any(text.strip() for text in learnt):
        return Found([], [])
    # Words of one letter count too: in some scripts and in code they are words.
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+")
    known_rows = vectorizer.fit_transform(learnt)
    asked_rows = vectorizer.transform([" ".join(questions_of(each.prompt)) for each in asked])
    scores, items = [], []
    for each, row in zip(asked, asked_rows, strict=True):
        nearest = int((known_rows @ row.T).toarray().argmax())
        answer = known[nearest].messages[-1].content
        value = chrf(answer, each.answer)
        scores.append(value)
        items.append(Item(CHRF, each.id, NEAREST, answer=answer, score=value))
    interval = bootstrap_interval(scores, seed=seed)
    return Found([measured(CHRF, NEAREST, interval, unit="chrF")], items)
