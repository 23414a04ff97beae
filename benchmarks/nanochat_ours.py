"""Our side of benchmarks/nanochat.py: packing, the loop and the checkpoint of a recipe's steps."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from volano.model.bits_per_byte import bits_per_byte
from volano.model.config import DecoderConfig
from volano.model.decoder import Decoder
from volano.model.huggingface import load_checkpoint, save_checkpoint
from volano.pretrain.objective import LanguageModelling
from volano.pretrain.run import begin
from volano.pretrain.section import ModelSection, PretrainSection
from volano.text.pack import pack_documents
from volano.text.stream import Batch, TokenShards, TokenStream
from volano.text.tokenizer import Tokenizer
from volano.train.loop import train


class AskedStream(TokenStream):
    """Also says when each batch was asked for."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.asked: list[float] = []

    def batch(self, step: int) -> Batch:
        self.asked.append(time.monotonic())
        return super().batch(step)


def main() -> None:
    """Train, or measure what training has left; figures are the last line that is printed."""
    task = json.loads(sys.argv[1])
    print(json.dumps(train_ours(task) if task["do"] == "train" else bits_of_ours(task)))


def train_ours(task: dict[str, Any]) -> list[float]:
    """Pack, train and save as the steps of a recipe do; seconds of each step but the last."""
    base, heads = Path(task["base"]), task["depth"]
    tokenizer = Tokenizer.load(Path(task["tokenizer"]))
    texts = pq.read_table(base / "base_data_climbmix" / "shard_00000.parquet")["text"].to_pylist()
    documents = {"code": ((str(place), text) for place, text in enumerate(texts))}
    pack_documents(base / "tokens", documents, tokenizer, context=task["context"])
    section = PretrainSection(
        model=ModelSection(context=task["context"], tied=False),
        batch_rows=task["rows"],
        **task["settings"],
    )
    stream = AskedStream(
        TokenShards(base / "tokens"),
        steps=task["steps"],
        batch_rows=section.batch_rows,
        seed=task["seed"],
    )
    width = heads * task["head_width"]
    model = Decoder(
        DecoderConfig(
            vocabulary=tokenizer.vocabulary,
            width=width,
            layers=task["depth"],
            heads=heads,
            key_value_heads=heads,
            feed_forward=3 * width,  # as `pretrain` would take it for this width
            context=task["context"],
            tied=False,
        )
    )
    begin(model, section.start, stream, task["seed"])
    train(
        model,
        LanguageModelling(),
        stream,
        section,
        seed=task["seed"],
        scratch=base / "states",
    )
    save_checkpoint(base / "model", model, tokenizer)
    return [float(each) for each in np.diff(stream.asked)]


def bits_of_ours(task: dict[str, Any]) -> dict[str, float]:
    """Bits per byte of the held-out passages."""
    folder = Path(task["base"]) / "model"
    tokenizer = Tokenizer.load(folder)
    texts = pq.read_table(task["held_out"])["text"].to_pylist()
    found = bits_per_byte(load_checkpoint(folder), tokenizer, texts)
    tokens = sum(map(len, tokenizer.encode_batch(texts)))
    return {
        "bits_per_byte": found.value,
        "bytes_per_token": int(found.utf8_bytes.sum()) / tokens,
    }


if __name__ == "__main__":
    main()
