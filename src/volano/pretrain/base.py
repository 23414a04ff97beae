"""A finished checkpoint as the base: its weights as they are, its tokenizer able to chat."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import torch
from torch import Tensor

from volano.core.corpus import write_shard
from volano.model.decoder import Decoder
from volano.model.huggingface import load_checkpoint, save_checkpoint
from volano.pretrain.section import Chat
from volano.text.tokenizer import Tokenizer


class Taken(NamedTuple):
    """Sizes before the checkpoint was taken over, and how many special tokens were added."""

    tokenizer_tokens: int
    model_rows: int
    added_tokens: int


def import_checkpoint(source: Path, folder: Path, *, chat: Chat = "kept") -> Taken:
    """Write the checkpoint in `source` as a base of ours.

    One that has a chat template keeps it and gets no tokens, unless `chat` is "ours"; raises
    DataError where that template is of no known kind. Otherwise a token that the tokenizer lacks
    (see text/chat.py) is given the mean of all embeddings, padding left out: it is then about as
    likely as any other until fine-tuning teaches it. What the checkpoint was trained on is not
    known to us, so `seen` is empty.
    """
    model = load_checkpoint(source)
    tokenizer = Tokenizer.load(source)
    if tokenizer.keeps_its_chat and chat == "ours":
        tokenizer = tokenizer.with_our_chat()
    tokens, rows = tokenizer.vocabulary, model.config.vocabulary
    known = min(tokens, rows)
    added: list[int] = []
    if tokenizer.keeps_its_chat:
        _ = tokenizer.stop_ids  # raises where its chat cannot be learnt
    else:
        added = tokenizer.add_special_tokens()
    if tokenizer.vocabulary > model.config.vocabulary:
        model = with_vocabulary(model, tokenizer.vocabulary)
    _begin_at_the_mean(model, added, known)
    save_checkpoint(folder, model, tokenizer)
    seen = {"id": pa.array([], pa.string()), "tokens": pa.array([], pa.int64())}
    write_shard(folder / "seen.parquet", pa.table(seen))
    return Taken(tokens, rows, len(added))


def with_vocabulary(model: Decoder, vocabulary: int) -> Decoder:
    """The model with rows for more tokens; all other logits stay as they were."""
    grown = Decoder(replace(model.config, vocabulary=vocabulary))
    grown.to(model.head_weight.dtype)
    weights = model.state_dict()
    with torch.no_grad():
        for name, parameter in grown.state_dict().items():
            parameter.copy_(_grown(weights[name], len(parameter)))
    return grown.compute_in(model.compute_dtype)


def _begin_at_the_mean(model: Decoder, ids: list[int], known: int) -> None:
    """Give these tokens the mean of the first `known` rows, in a vocabulary that was padded too."""
    with torch.no_grad():
        for weight in {
            id(each): each for each in (model.model.embed_tokens.weight, model.head_weight)
        }.values():
            weight[ids] = weight[:known].mean(0)


def _grown(weight: Tensor, rows: int) -> Tensor:
    if len(weight) == rows:
        return weight
    return torch.cat([weight, weight.mean(0, keepdim=True).expand(rows - len(weight), -1)])
