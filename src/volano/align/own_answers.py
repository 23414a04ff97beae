"""A model's own words in safety pairs, in the place of those written for the set.

A written answer to a safe prompt teaches more than "do not refuse this": a small model also tries
to write like it, cannot, and falls into loops. Its own answer differs from what it says already in
nothing, so the pair is about the refusal alone; and what an unsafe prompt rejects is then what
this model would really have said.

An answer that says nothing or loops is no example for anyone: a safe prompt that gets one makes no
pair. The rule is the one that evaluation counts answers by (text/answers.py); both halves of the
set are judged by it, and no test prompt is asked here.

Source: on-policy pairs after Guo et al. 2024 (direct alignment from online AI feedback).
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from volano.core.engine import available_cores
from volano.core.records import Message, Preference
from volano.core.step import Context
from volano.model.decoder import Decoder
from volano.model.generate import generate
from volano.text.answers import answers_the_question
from volano.text.chat import END, encode_prompt
from volano.text.tokenizer import Tokenizer

MAX_ANSWER_TOKENS = 40
PROMPTS_AT_ONCE = 64


def with_own_answers(
    pairs: Sequence[Preference], model: Decoder, tokenizer: Tokenizer, context: Context
) -> list[Preference]:
    """Safety pairs whose answer, chosen or rejected, is the model's greedy one.

    Unsafe pairs keep the written answer where the model says nothing at all; safe ones are left
    out where its answer is no example.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(context.workers or available_cores())
    try:
        answers: list[str] = []
        with context.progress("own answers", len(pairs), "prompts") as bar:
            for begin in range(0, len(pairs), PROMPTS_AT_ONCE):
                part = pairs[begin : begin + PROMPTS_AT_ONCE]
                answers += _answers(part, model, tokenizer)
                bar.advance(len(part))
    finally:
        torch.set_num_threads(threads)
    made = []
    for pair, answer in zip(pairs, answers, strict=True):
        own = (Message("assistant", answer),)
        if pair.kind == "unsafe":
            made.append(replace(pair, rejected=own) if answer else pair)
        elif answers_the_question(answer):
            made.append(replace(pair, chosen=own))
    return made


def _answers(pairs: Sequence[Preference], model: Decoder, tokenizer: Tokenizer) -> list[str]:
    room = model.config.context - 1
    generations = generate(
        model,
        [encode_prompt(tokenizer, pair.prompt)[-room:] for pair in pairs],
        max_new_tokens=MAX_ANSWER_TOKENS,
        stop_ids=(tokenizer.end_of_text_id, tokenizer.special_id(END)),
    )
    return [tokenizer.decode(each.tokens).strip() for each in generations]
