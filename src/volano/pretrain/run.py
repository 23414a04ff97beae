"""One pre-training run: packed tokens in, a checkpoint that transformers loads out."""

from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path

import numpy as np

from volano.core.records import Document
from volano.core.step import Context
from volano.model.bits_per_byte import bits_per_byte
from volano.model.decoder import Decoder, initialise
from volano.model.device import device_for
from volano.model.huggingface import save_checkpoint
from volano.pretrain.bigrams import start_from_bigrams
from volano.pretrain.induction import add_induction_head
from volano.pretrain.milestones import Milestones, beginnings
from volano.pretrain.objective import LanguageModelling
from volano.pretrain.rereading import rereading_note
from volano.pretrain.section import PretrainSection, Start
from volano.pretrain.training_texts import bill_of_run
from volano.text.stream import TokenShards, TokenStream
from volano.text.tokenizer import Tokenizer
from volano.train.distributed import as_first
from volano.train.dynamics import LabelBytes
from volano.train.loop import train

HELD_OUT = "held_out_bits_per_byte"


def pretrain(
    section: PretrainSection,
    *,
    tokens: Path,
    tokenizer: Tokenizer,
    held_out: Sequence[Document],
    context: Context,
) -> None:
    """Train and write the checkpoint, its metrics and the documents it saw into the folder."""
    shards = TokenShards(tokens)
    shards.check(tokenizer)
    stream = TokenStream(
        shards,
        steps=section.steps,
        batch_rows=section.batch_rows,
        seed=context.seed,
        mixture=section.mixture,
        curriculum=section.reading(),
    )
    model = Decoder(section.model.shape(tokenizer.vocabulary))
    begin(model, section.start, stream, context.seed)
    model.to(device_for(context))

    groups = np.array([getattr(each, section.evaluate_by) for each in held_out])
    texts = [each.text for each in held_out]

    def validate() -> Mapping[str, float]:
        found = bits_per_byte(model, tokenizer, texts)
        by_group = {
            f"{HELD_OUT}.{group}": found.of(groups == group).value for group in np.unique(groups)
        }
        return {HELD_OUT: found.value, **by_group}

    lengths = tokenizer.byte_lengths()
    prompts = section.milestone_prompts or beginnings(held_out)
    milestones = Milestones(
        model,
        tokenizer,
        prompts,
        fractions=section.milestones,
        steps=stream.steps,
        tokens=section.milestone_tokens,
    )
    with context.progress("pretrain", stream.steps * stream.tokens_per_step, "tokens") as bar:
        if (reread := rereading_note(stream.epochs())) is not None:
            bar.tell(reread)
        if section.milestones and not prompts:
            bar.tell("no milestones: nothing is held out to go on with; set milestone_prompts")
        result = train(
            model,
            LanguageModelling(section.z_loss),
            stream,
            section,
            seed=context.seed,
            workers=context.workers,
            scratch=context.scratch,
            bar=bar,
            validate=validate if held_out else None,
            label_bytes=LabelBytes(lengths) if lengths is not None else None,
            guessing=log(model.config.vocabulary),
            sampler=milestones,
            best=section.weights == "best",
        )
    save_checkpoint(context.folder, model, tokenizer)
    result.save(context.folder)
    context.bill |= result.bill()
    context.bill["parameters"] = model.config.parameters
    for kind, epochs in stream.epochs().items():
        context.bill[f"epochs.{kind}"] = epochs
    if section.curriculum is not None:
        context.bill |= _bill_of_parts(stream)
    if not section.mixture and stream.evenly:  # else some rows are read more often than others
        rounds = stream.steps * stream.batch_rows / stream.shards.rows
        context.bill |= bill_of_run(tokens, rounds)


def begin(model: Decoder, start: Start, stream: TokenStream, seed: int) -> None:
    """The weights before the first step, equal in all processes of the run."""
    initialise(model, seed)
    if start != "random":
        start_from_bigrams(model, stream.shards, stream.rows)
    if start == "induction":
        add_induction_head(model, stream.shards.end_of_text_id)
    as_first(model)


def _bill_of_parts(stream: TokenStream) -> dict[str, float]:
    """How often each part of a curriculum reads each kind over, and what an anneal may read."""
    found = {
        f"epochs.{part}.{kind}": round(epochs, 4)
        for part, kinds in stream.epochs_of_parts().items()
        if len(stream.parts) > 1
        for kind, epochs in kinds.items()
    }
    return found | ({"anneal_share": round(stream.best_share(), 4)} if stream.best_share() else {})
