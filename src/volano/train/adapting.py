"""Training an adapter in the place of the whole model, for whatever phase asks for it.

The base is frozen and held once, in the type that matmuls run in. What a phase publishes is the
whole model, so that everything behind it takes it as it takes any other; the adapter alone lies in
`adapter/`, for servers that hold one base and many adapters.
"""

from pathlib import Path

import torch

from volano.core.artifact import COMMIT, Artifact
from volano.core.errors import DataError
from volano.core.progress import Bar
from volano.model.adapter import (
    ADAPTER_FOLDER,
    Adapter,
    attach,
    hold_once,
    load_adapter,
    merge,
    save_adapter,
)
from volano.model.decoder import Decoder
from volano.model.huggingface import load_checkpoint
from volano.model.layer import Joined
from volano.text.chat import END, ROLE_TOKENS
from volano.text.tokenizer import Tokenizer
from volano.train.compute import compute_dtype
from volano.train.section import AdaptedSection

PRETRAINED = "pretrain"  # the step that makes a base of documents, in which nobody chats


def begin_adapter(
    model: Decoder, section: AdaptedSection, seed: int, tokenizer: Tokenizer | None = None
) -> Adapter | None:
    """Freeze the model under a fresh adapter, where the section asks for one.

    Raises DataError where the chat of `tokenizer` could not be learnt: see `_refuse_new_tokens`.
    """
    if section.lora is None:
        return None
    if tokenizer is not None:
        _refuse_new_tokens(model, tokenizer)
    lora = section.lora
    adapter = Adapter(lora.rank, lora.alpha, tuple(lora.targets), lora.dropout)
    attach(model, adapter, seed)
    hold_once(model, compute_dtype(section.precision, model.head_weight.device))
    return adapter


def end_adapter(model: Decoder, adapter: Adapter, base: Path, folder: Path) -> Decoder:
    """Write the adapter below `folder`; the base from its file, which was never rounded, with the
    adapter merged in. `model` is empty afterwards: two whole models would not have to fit."""
    save_adapter(folder / ADAPTER_FOLDER, model, adapter, base=base.name)
    for module in model.modules():
        if isinstance(module, Joined):
            module.kept = None
    model.to("meta")
    merged = load_checkpoint(base)
    load_adapter(merged, folder / ADAPTER_FOLDER)
    merge(merged)
    return merged


def warn_of_new_chat(base: Path, bar: Bar) -> None:
    """Say where the base under an adapter was pre-trained here, on documents alone: the tokens of
    the chat are in its vocabulary, each with numbers of its own that no text has ever taught."""
    if not (base / COMMIT).is_file():
        return
    if Artifact.open(base).meta.get("identity", {}).get("step") == PRETRAINED:
        bar.tell(
            "the tokens of the chat are new to this base, and lora freezes their embeddings: "
            "train the whole model (lora: off) first."
        )


def _refuse_new_tokens(model: Decoder, tokenizer: Tokenizer) -> None:
    """An import that adds the tokens of a chat gives all of them one row, the mean of the others.

    Below an adapter the rows are frozen: the model could never tell user from assistant, nor learn
    to end. A chat that came with the model is taken as taught.
    """
    if tokenizer.keeps_its_chat:
        return
    tokens = (END, *ROLE_TOKENS.values())
    rows = model.model.embed_tokens.weight.detach()[[tokenizer.special_id(t) for t in tokens]]
    for place, token in enumerate(tokens):
        for other in range(place):
            if torch.equal(rows[place], rows[other]):
                raise DataError(
                    f"{tokens[other]} and {token} are new to the model, and lora freezes them",
                    "lora",
                    "Train the whole model (lora: off), or take one that has a chat of its own "
                    "and keep it (base_chat: kept).",
                )
