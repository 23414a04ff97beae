"""nanochat's side of benchmarks/nanochat.py: its own script trains, its own measure counts bits.

It is run by the Python that has what nanochat imports, from within the folder of its clone.

Shapes: B windows, T tokens of a window.
"""

import json
import os
import runpy
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

BATCH_TOKENS = 8192
IGNORED_LABEL = -1  # as nanochat's loss has it
RATES = {"embedding-lr": 0.3, "unembedding-lr": 0.008, "matrix-lr": 0.02}  # base_train's defaults


class Window(NamedTuple):
    """Tokens that are read at once; labels before `first_scored` an earlier window has scored."""

    tokens: list[int]
    first_scored: int


def main() -> None:
    """Train, or measure what training has left."""
    task = json.loads(sys.argv[1])
    # Its packages are in the folder that it is run from; here lies a module of the same name.
    sys.path[0] = os.getcwd()
    if task["do"] == "train":
        train(task)
    else:
        print(json.dumps(bits(task)))


def train(task: dict[str, Any]) -> None:
    """Run scripts.base_train. It seeds torch with 42: here with the seed of the round instead."""
    settings, steps = task["settings"], task["steps"]
    arguments = {
        "depth": task["depth"],
        "head-dim": task["head_width"],
        "window-pattern": "L",
        "max-seq-len": task["context"],
        "device-batch-size": task["rows"],
        "total-batch-size": task["rows"] * task["context"],
        "num-iterations": steps,
        "device-type": "cpu",
        # What it measures and says meanwhile is no training.
        "eval-every": -1,
        "core-metric-every": -1,
        "sample-every": -1,
    }
    if "warmup_fraction" in settings:
        arguments["warmup-steps"] = max(1, round(settings["warmup_fraction"] * steps))
    if "rates" in settings:
        arguments |= {name: rate * settings["rates"] for name, rate in RATES.items()}
    if not settings.get("compile", True):
        # Torch's own switch, TORCH_COMPILE_DISABLE, fails at the optimiser's fullgraph=True.
        torch.compile = _as_it_is
    sys.argv = ["base_train", *(f"--{name}={value}" for name, value in arguments.items())]
    seeded = torch.manual_seed
    torch.manual_seed = lambda _: seeded(task["seed"])
    runpy.run_module("scripts.base_train", run_name="__main__")


def _as_it_is(function: Any = None, **_: Any) -> Any:
    return function if function is not None else _as_it_is


def bits(task: dict[str, Any]) -> dict[str, float]:
    """Bits per byte of the held-out passages, by nanochat's evaluate_bpb, and bytes per token."""
    import pyarrow.parquet as pq
    from nanochat.checkpoint_manager import load_model
    from nanochat.loss_eval import evaluate_bpb
    from nanochat.tokenizer import get_token_bytes

    texts = pq.read_table(task["held_out"])["text"].to_pylist()
    model, tokenizer, _ = load_model("base", torch.device("cpu"), phase="eval")
    encoded = tokenizer.encode(texts, prepend=tokenizer.get_bos_token_id())
    found = [window for ids in encoded for window in windows(ids, task["context"])]
    pairs = list(batches(sorted(found, key=lambda window: len(window.tokens))))
    lengths = get_token_bytes(device="cpu")
    scored = [labels_BT[labels_BT != IGNORED_LABEL] for _, labels_BT in pairs]
    counted = sum(int(lengths[labels].sum()) for labels in scored)
    there = sum(len(text.encode()) for text in texts)
    assert counted == there, f"nanochat counts {counted:,} bytes, and there are {there:,}"
    tokens = sum(len(labels) for labels in scored)
    return {
        "bits_per_byte": evaluate_bpb(model, pairs, len(pairs), lengths),
        "bytes_per_token": there / tokens,
    }


def windows(ids: list[int], context: int) -> Iterator[Window]:
    """As volano.model.bits_per_byte reads a text: half a context apart, each label scored once.

    The first id says that a document begins, and is no label.
    """
    start = scored = 0
    while scored < len(ids) - 1:
        tokens = ids[start : start + context + 1]
        yield Window(tokens, scored - start)
        scored = start + len(tokens) - 1
        start += max(1, context // 2)


def batches(found: list[Window]) -> Iterator[tuple[Tensor, Tensor]]:
    """Tokens and labels, (B, T); windows come in the order of their lengths."""
    while found:
        # As many as fit with the longest of them, which is the last.
        size = 1
        while size < len(found) and (size + 1) * len(found[size].tokens) <= BATCH_TOKENS:
            size += 1
        batch, found = found[:size], found[size:]
        longest = max(2, len(batch[-1].tokens) - 1)  # nanochat reads no single token
        tokens_BT = torch.zeros(size, longest, dtype=torch.long)
        labels_BT = torch.full((size, longest), IGNORED_LABEL)
        for place, window in enumerate(batch):
            ids = torch.tensor(window.tokens)
            tokens_BT[place, : len(ids) - 1] = ids[:-1]
            first = window.first_scored
            labels_BT[place, first : len(ids) - 1] = ids[first + 1 :]
        yield tokens_BT, labels_BT


if __name__ == "__main__":
    main()
