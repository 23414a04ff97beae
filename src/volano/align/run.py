"""One run of alignment: preferences and a fine-tuned model in, a checkpoint out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from volano.align.objective import PreferenceObjective
from volano.align.pairs import EncodedPair, PairStream
from volano.align.preferences import with_dropped_words
from volano.align.section import AlignSection
from volano.core.files import atomic_path
from volano.core.origin import keep_origin
from volano.core.records import Preference
from volano.core.step import Context
from volano.model.decoder import Decoder
from volano.model.device import device_for
from volano.model.huggingface import load_checkpoint, save_checkpoint
from volano.model.score import score
from volano.text.chat import EncodedConversation, encode_conversation
from volano.text.examples import fitting
from volano.text.tokenizer import Tokenizer
from volano.train.adapting import begin_adapter, end_adapter, warn_of_new_chat
from volano.train.loop import train

REFERENCE_FILE = "reference.npy"
SAFETY_KINDS = ("unsafe", "safe")


def align(
    section: AlignSection,
    *,
    preferences: Sequence[Preference],
    sft: Path,
    tokenizer: Tokenizer,
    context: Context,
) -> None:
    """Train and write the checkpoint, its metrics and the documents it saw into the folder.

    Raises DataError where no pair fits the model's context.
    """
    device = device_for(context)
    model = load_checkpoint(sft).to(device)
    drawn = [copy for each in preferences for copy in _copies(each, section)]
    encoded = [encode_pair(tokenizer, each) for each in drawn]
    longest = [max(pair, key=lambda side: len(side.ids)) for pair in encoded]
    found = fitting(longest, context=section.context_of(model.config.context), where="align.data")
    pairs = [encoded[place] for place in found.places]
    kept = [drawn[place] for place in found.places]
    stream = PairStream(
        pairs,
        _reference(model, pairs, context.scratch / REFERENCE_FILE),
        [each.origins for each in kept],
        padding_id=tokenizer.end_of_text_id,
        batch_pairs=section.batch_rows,
        epochs=section.epochs,
        seed=context.seed,
    )
    objective = PreferenceObjective(
        beta=section.beta, label_smoothing=section.label_smoothing, nll_weight=section.nll_weight
    )
    adapter = begin_adapter(model, section, context.seed, tokenizer)
    with context.progress("align", stream.tokens, "tokens") as bar:
        if adapter is not None:
            warn_of_new_chat(sft, bar)
        result = train(
            model,
            objective,
            stream,
            section,
            seed=context.seed,
            workers=context.workers,
            scratch=context.scratch,
            bar=bar,
        )
    if adapter is not None:
        model = end_adapter(model, adapter, sft, context.folder)
    save_checkpoint(context.folder, model, tokenizer)
    keep_origin(sft, context.folder)
    result.save(context.folder)
    context.bill |= result.bill()
    context.bill["parameters"] = model.config.parameters
    context.bill["pairs"] = len(pairs)
    context.bill["pairs_too_long"] = found.too_long


def _copies(preference: Preference, section: AlignSection) -> list[Preference]:
    if preference.kind not in SAFETY_KINDS:
        return [preference]
    return with_dropped_words(preference, section.safety_repeats, section.safety_word_dropout)


def encode_pair(tokenizer: Tokenizer, preference: Preference) -> EncodedPair:
    """Both sides as tokens; only the response is to be learnt, not earlier turns of the prompt."""
    prompt = len(encode_conversation(tokenizer, preference.prompt).ids)
    sides = []
    for response in (preference.chosen, preference.rejected):
        ids, is_answer = encode_conversation(tokenizer, [*preference.prompt, *response])
        sides.append(EncodedConversation(ids, [False] * prompt + is_answer[prompt:]))
    return EncodedPair(*sides)


def _reference(
    model: Decoder, pairs: Sequence[EncodedPair], kept_at: Path
) -> npt.NDArray[np.float32]:
    """Log-probabilities of the model as it is now, one row per pair; computed once and kept.

    A resumed run reads them again: its model is no longer the reference.
    """
    if kept_at.is_file():
        reference: npt.NDArray[np.float32] = np.load(kept_at)
        return reference
    completions, sides = [], []
    for place, (ids, is_answer) in enumerate(side for pair in pairs for side in pair):
        for begin, end in _answers(is_answer):
            completions.append((ids[:begin], ids[begin:end]))
            sides.append(place)
    totals = np.zeros(2 * len(pairs))
    np.add.at(totals, sides, score(model, completions))
    reference = totals.astype(np.float32).reshape(-1, 2)
    with atomic_path(kept_at) as unfinished, unfinished.open("wb") as stream:
        np.save(stream, reference)
    return reference


def _answers(is_answer: Sequence[bool]) -> list[tuple[int, int]]:
    """Begin and end of each stretch that the assistant says: what the policy is scored on."""
    edges = np.flatnonzero(np.diff([False, *is_answer, False]))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]
