"""What packing loses, beside other ways to fill rows, and what reading costs beside a step.

    python benchmarks/loader.py CORPUS|TEXTS.jsonl[.gz] … [--kind function] [--vocabulary 8192]
        [--context 128] [--parameters 3.5M --parameters 10M] [--batch-rows 16] [--quick] [--json]

A tokenizer is learnt from the texts. Ours is packed and counted as training reads it; the others
fill rows with the same documents: `first fit` and `next fit` the same pieces in the order of the
texts, `padded` one piece a row, `cut` all tokens end to end, as GPT-2 and most since are trained:
it pads nothing and parts documents that would fit into a row (Ding et al. 2024). Then the median
seconds of `stream.batch` beside those of a step: forward, loss, backward and update.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from volano.core.corpus import Corpus
from volano.core.jsonlines import BadLine, read_records
from volano.core.recipe import read_count
from volano.text.pack import BLOCK_TOKENS, best_fit, pack_documents
from volano.text.stream import TokenShards, TokenStream
from volano.text.tokenizer import Tokenizer, train_tokenizer

Texts = list[tuple[str, str]]


def main() -> None:
    """Measure each corpus and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("corpora", nargs="+", help="corpus folders, or JSONL files with `text`")
    parser.add_argument("--kind", help="of the documents of a corpus; default: all")
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--parameters", action="append", help="of a model whose step is timed")
    parser.add_argument("--batch-rows", type=int, default=16)
    parser.add_argument("--quick", action="store_true", help="three steps")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = []
    for each in options.corpora:
        with tempfile.TemporaryDirectory() as folder:
            report.append(measured(Path(each), Path(folder), options))
        if not options.json:
            print(table(report[-1]), flush=True)
    if options.json:
        print(json.dumps(report, indent=2))


def read(path: Path, kind: str | None) -> Texts:
    """The texts, with ids; shuffled once, as files of one kind often stand in an order of size."""
    if path.is_dir():
        rows = Corpus.open(path).to_arrow(["id", "text", "split", "kind"]).to_pylist()
        texts = [
            (row["id"], row["text"])
            for row in rows
            if row["split"] == "train" and kind in (None, row["kind"])
        ]
    else:

        def record_of(values: dict[str, Any], where: str) -> tuple[str, str]:
            if not isinstance(values.get("text"), str):
                raise BadLine("no text")
            return where, str(values["text"])

        texts = list(read_records([path], record_of)[0])
    random.Random(0).shuffle(texts)
    return texts


def measured(path: Path, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of one corpus."""
    texts, context = read(path, options.kind), options.context
    tokenizer = train_tokenizer((text for _, text in texts), vocabulary=options.vocabulary)
    began = time.perf_counter()
    packed = pack_documents(folder, {"text": texts}, tokenizer, context=context)
    pack_seconds = time.perf_counter() - began
    shards = TokenShards(folder)
    check_seconds = timed(partial(shards.check, tokenizer))
    stored = sum((folder / name).stat().st_size for name in shards.meta["digests"])
    lengths = np.bincount(shards.document, shards.length).astype(int).tolist()
    pieces = [piece for length in lengths for piece in cut(length, context)]
    steps = 5 if options.quick else 200
    began = time.perf_counter()
    stream = TokenStream(shards, steps=steps, batch_rows=options.batch_rows, seed=1)
    stream_seconds = time.perf_counter() - began
    batch_seconds = median(timed(partial(stream.batch, step)) for step in range(steps))
    models = [
        step_of(int(read_count(size) or 0), tokenizer, stream, batch_seconds, options)
        for size in options.parameters or []
    ]
    return {
        "corpus": str(path),
        "documents": len(lengths),
        "tokens": packed.tokens,
        "mean_tokens": round(packed.tokens / len(lengths), 1),
        "padding": {
            "volano": packed.padding_fraction,
            "first fit": padding(first_fit(pieces, context), packed.tokens, context),
            "next fit": padding(next_fit(pieces, context), packed.tokens, context),
            "padded": padding(len(pieces), packed.tokens, context),
            "cut": padding(-(-packed.tokens // context), packed.tokens, context),
        },
        "documents_parted_by_cut": parted(lengths, context),
        "documents_that_fit": sum(length <= context for length in lengths) / len(lengths),
        "pack_seconds": pack_seconds,
        "fit_seconds": timed(lambda: best_fit([p for p in pieces if p < context], context)),
        "check_milliseconds": check_seconds * 1e3,
        "stored_megabytes": stored / 1e6,
        "stream_seconds": stream_seconds,
        "batch_milliseconds": batch_seconds * 1e3,
        "models": models,
    }


def cut(length: int, context: int) -> Iterator[int]:
    """The pieces that packing makes of a document."""
    yield from [context] * (length // context)
    if length % context:
        yield length % context


def padding(rows: int, tokens: int, context: int) -> float:
    """The share of positions without a token."""
    return 1 - tokens / (rows * context)


def first_fit(pieces: Sequence[int], context: int) -> int:
    """Rows where each piece goes to the first that has room for it: a tree over the rooms left."""
    size = 1 << max(1, (len(pieces) - 1).bit_length())
    room = [context] * (2 * size)
    used = 0
    for piece in pieces:
        node = 1
        while node < size:
            node = 2 * node if room[2 * node] >= piece else 2 * node + 1
        used = max(used, node - size + 1)
        room[node] -= piece
        while node > 1:
            node //= 2
            room[node] = max(room[2 * node], room[2 * node + 1])
    return used


def next_fit(pieces: Sequence[int], context: int) -> int:
    """Rows where a piece that does not fit into the last row begins another."""
    rows, room = 0, 0
    for piece in pieces:
        if piece > room:
            rows, room = rows + 1, context
        room -= piece
    return rows


def parted(lengths: Sequence[int], context: int) -> float:
    """Of documents that would fit into a row, the share that `cut` parts."""
    ends = np.cumsum(lengths)
    begins = ends - lengths
    fits = np.array(lengths) <= context
    apart = begins // context != (ends - 1) // context
    return float((apart & fits).sum() / max(fits.sum(), 1))


def step_of(
    parameters: int,
    tokenizer: Tokenizer,
    stream: TokenStream,
    batch_seconds: float,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """A step's seconds, and the loader's beside them."""
    import torch

    from volano.model.decoder import Decoder, initialise
    from volano.model.shape import shape_for
    from volano.pretrain.objective import LanguageModelling
    from volano.text.stream import Batch
    from volano.train.compute import compute_dtype
    from volano.train.optimiser import Optimiser
    from volano.train.section import TrainSection

    dtype = compute_dtype("auto")
    model = Decoder(shape_for(parameters, tokenizer.vocabulary, options.context)).compute_in(dtype)
    initialise(model, seed=1)
    optimiser = Optimiser(model, TrainSection(), dtype)
    objective = LanguageModelling(0.0)

    def step(number: int) -> None:
        batch = Batch(*map(torch.from_numpy, stream.batch(number)))
        objective.loss(model, batch).loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step(1.0)

    steps = 3 if options.quick else 15
    seconds = [timed(partial(step, number)) for number in range(steps)]
    middle = median(seconds[2:])
    return {
        "parameters": model.config.parameters,
        "threads": torch.get_num_threads(),
        "step_milliseconds": middle * 1e3,
        "loader_share": batch_seconds / middle,
    }


def timed(work: Callable[[], Any]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def table(report: dict[str, Any]) -> str:
    """The report of one corpus for a person."""
    told = ", ".join(f"{name} {share:.2%}" for name, share in report["padding"].items())
    lines = [
        f"{report['corpus']}: {report['documents']:,} documents, {report['tokens']:,} tokens, "
        f"{report['mean_tokens']} a document",
        f"  padding: {told}",
        f"  cut parts {report['documents_parted_by_cut']:.1%} of the documents that fit into a row "
        f"({report['documents_that_fit']:.1%} of all do)",
        f"  packed in {report['pack_seconds']:.1f} s, {report['fit_seconds']:.2f} s of them to fit "
        f"(blocks of {BLOCK_TOKENS / 1e6:g}M tokens); "
        f"{report['stored_megabytes']:.1f} MB checked in {report['check_milliseconds']:.0f} ms; "
        f"order in {report['stream_seconds'] * 1e3:.1f} ms, "
        f"a batch in {report['batch_milliseconds']:.2f} ms",
    ]
    lines += [
        f"  {each['parameters'] / 1e6:.1f}M parameters, {each['threads']} thread(s): a step in "
        f"{each['step_milliseconds']:.0f} ms, {each['loader_share']:.2%} of it the loader"
        for each in report["models"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
