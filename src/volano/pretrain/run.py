"""One pre-training run: packed tokens in, a checkpoint that transformers loads out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from volano.core.step import Context
from volano.model.bits_per_byte import bits_per_byte
from volano.model.decoder import Decoder, initialise
from volano.model.huggingface import save_checkpoint
from volano.pretrain.bigrams import start_from_bigrams
from volano.pretrain.objective import LanguageModelling
from volano.pretrain.section import PretrainSection
from volano.pretrain.training_texts import bill_of_run
from volano.text.stream import TokenShards, TokenStream
from volano.text.tokenizer import Tokenizer
from volano.train.loop import train


def pretrain(
    section: PretrainSection,
    *,
    tokens: Path,
    tokenizer: Tokenizer,
    held_out: Sequence[str],
    context: Context,
) -> None:
    """Train and write the checkpoint, its metrics and the documents it saw into the folder."""
    stream = TokenStream(
        TokenShards(tokens),
        steps=section.steps,
        batch_rows=section.batch_rows,
        seed=context.seed,
        mixture=section.mixture,
    )
    model = Decoder(section.model.shape(tokenizer.vocabulary))
    initialise(model, context.seed)
    if section.start == "bigrams":
        start_from_bigrams(model, stream.shards, stream.rows)

    def validate() -> Mapping[str, float]:
        return {"held_out_bits_per_byte": bits_per_byte(model, tokenizer, held_out).value}

    with context.progress("pretrain", stream.steps * stream.tokens_per_step, "tokens") as bar:
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
        )
    save_checkpoint(context.folder, model, tokenizer)
    result.save(context.folder)
    context.bill |= result.bill()
    context.bill["parameters"] = model.config.parameters
    for kind, epochs in stream.epochs().items():
        context.bill[f"epochs.{kind}"] = epochs
    if not section.mixture:  # with one, rows of another kind are read more often
        rounds = stream.steps * stream.batch_rows / stream.shards.rows
        context.bill |= bill_of_run(tokens, rounds)
