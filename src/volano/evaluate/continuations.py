"""What a base model says when it goes on with held-out documents; others judge it."""

from collections.abc import Sequence

from volano.core.records import Document
from volano.evaluate.section import ContinuationsSection
from volano.model.decoder import Decoder
from volano.model.generate import generate
from volano.text.functions import place_in_draw
from volano.text.tokenizer import Tokenizer


def continuations(
    section: ContinuationsSection,
    model: Decoder,
    tokenizer: Tokenizer,
    documents: Sequence[Document],
    seed: int,
) -> list[tuple[str, str]]:
    """Id of a document and one sampled continuation of its first tokens, the prompt left out.

    Documents are drawn by hash of their ids; those no longer than the prompt are passed over.
    """
    drawn = sorted(documents, key=lambda each: place_in_draw(each.id))[: section.documents]
    encoded = tokenizer.encode_batch([each.text for each in drawn])
    asked = [
        (each.id, [tokenizer.begin_of_text_id, *tokens[: section.prompt_tokens]])
        for each, tokens in zip(drawn, encoded, strict=True)
        if len(tokens) > section.prompt_tokens
    ]
    said = generate(
        model,
        [prompt for _, prompt in asked],
        max_new_tokens=section.tokens,
        temperature=section.temperature,
        stop_ids={tokenizer.end_of_text_id},
        seed=seed,
    )
    return [
        (identity, tokenizer.decode(each.tokens))
        for (identity, _), each in zip(asked, said, strict=True)
    ]
