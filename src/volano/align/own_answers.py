"""A model's own words in safety pairs, in the place of those written for the set.

A written answer to a safe prompt teaches more than "do not refuse this": a small model also tries
to write like it, cannot, and falls into loops. Its own answer differs from what it says already in
nothing, so the pair is about the refusal alone; and what an unsafe prompt rejects is then what
this model would really have said.

An answer that says nothing or loops is no example for anyone: a safe prompt that gets one makes no
pair. The rule is the one that evaluation counts answers by (text/answers.py); both halves of the
set are judged by it, and no test prompt is asked here.

A later version is also reminded of the harmless requests that the one before it answered: what it
is asked to learn makes it answer these otherwise, and the pairs, in the first version's words, then
teach it to refuse more of everything (docs/log.md).

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
from volano.text.chat import encode_prompt
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
    answers = _all_answers("own answers", pairs, model, tokenizer, context)
    made = []
    for pair, answer in zip(pairs, answers, strict=True):
        own = (Message("assistant", answer),)
        if pair.kind == "unsafe":
            made.append(replace(pair, rejected=own) if answer else pair)
        elif answers_the_question(answer):
            made.append(replace(pair, chosen=own))
    return made


def reminders_of_answers(
    prompts: Sequence[Preference], former: Decoder, tokenizer: Tokenizer, context: Context
) -> list[Preference]:
    """Equal pairs of the former version's greedy answers to harmless prompts, where it met them.

    Nothing is preferred in them: alignment's likelihood term alone keeps what they say.
    """
    answers = _all_answers("reminders", prompts, former, tokenizer, context)
    made = []
    for prompt, answer in zip(prompts, answers, strict=True):
        if answers_the_question(answer):
            own = (Message("assistant", answer),)
            made.append(
                replace(
                    prompt,
                    id=f"reminder:{prompt.id}",
                    chosen=own,
                    rejected=own,
                    kind="reminder",
                    source_ids=prompt.source_ids[:1],
                )
            )
    return made


def _all_answers(
    title: str,
    pairs: Sequence[Preference],
    model: Decoder,
    tokenizer: Tokenizer,
    context: Context,
) -> list[str]:
    threads = torch.get_num_threads()
    torch.set_num_threads(context.workers or available_cores())
    try:
        answers: list[str] = []
        with context.progress(title, len(pairs), "prompts") as bar:
            for begin in range(0, len(pairs), PROMPTS_AT_ONCE):
                part = pairs[begin : begin + PROMPTS_AT_ONCE]
                answers += _answers(part, model, tokenizer)
                bar.advance(len(part))
    finally:
        torch.set_num_threads(threads)
    return answers


def _answers(pairs: Sequence[Preference], model: Decoder, tokenizer: Tokenizer) -> list[str]:
    room = model.config.context - 1
    generations = generate(
        model,
        [encode_prompt(tokenizer, pair.prompt)[-room:] for pair in pairs],
        max_new_tokens=MAX_ANSWER_TOKENS,
        stop_ids=tokenizer.stop_ids,
    )
    return [tokenizer.decode(each.tokens).strip() for each in generations]
