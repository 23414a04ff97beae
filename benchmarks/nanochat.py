"""Pre-training beside nanochat's own script, in one run: speed, and bits per byte of held-out text.

    make peers
    git clone https://github.com/karpathy/nanochat FOLDER
    python benchmarks/nanochat.py --nanochat FOLDER
    python benchmarks/nanochat.py --nanochat FOLDER --sides volano nanochat --steps 120

nanochat runs its own scripts.base_train as runs/runcpu.sh calls it (heads of 64, full windows), in
an environment of its own; ours is the loop that recipes run, with the defaults of `pretrain` and,
as nanochat has it, a head of its own. Both have the same width, layers, heads, context, vocabulary,
rows and steps, and read the same passages of this Python's modules, each by a tokenizer that its
own trainer has learnt from them. Feed-forward: nanochat 4 x width in two matrices, ours 3 x width
in three; nanochat has tables of value embeddings besides.

A round is one run of each side, with one seed of weights and order. Tokens per second are of the
median step; `other_seconds` is all the rest of the time from start to end: imports, packing,
compiling (torch keeps what it has compiled, so the first round alone pays in full), the checkpoint.
Bits per byte: both over all UTF-8 bytes of the same held-out passages, each passage told to begin
a document; a token holds more bytes with nanochat's tokenizer than with ours, see bytes_per_token.
Rates: nanochat's are its defaults, or a multiple of them after a short warm-up
(`nanochat-rates-x4`); ours are not tuned. `--seeds`, `--steps`, `--rows`, `--depth`; `--json`.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
PEERS = HERE.parent / "build" / "nanochat_peers" / "bin" / "python"
KEPT = HERE.parent / "build" / "benchmarks" / "nanochat"
CONTEXT, VOCABULARY, HEAD_WIDTH = 512, 16_384, 64
# nanochat drops what is left of a document where it cuts a row, so it is meant for documents
# shorter than a row: of whole modules it would read the first lines alone.
PASSAGE_CHARACTERS = 1000
HELD_OUT_BYTES, TRAIN_BYTES = 200_000, 12_000_000
ROW_GROUP = 1024
STEP = re.compile(r"^step \d+/.* dt: ([\d.]+)ms", re.MULTILINE)


class Side(NamedTuple):
    """Who trains, and how. `settings` are those of our section, or of nanochat_peer.py."""

    ours: bool
    settings: dict[str, Any]


SIDES = {
    "volano": Side(True, {}),
    "volano-compiled": Side(True, {"compile": True}),
    "volano-bigrams": Side(True, {"start": "bigrams"}),
    "volano-induction": Side(True, {"start": "induction"}),
    "nanochat": Side(False, {}),
    "nanochat-eager": Side(False, {"compile": False}),
    # Its 40 steps of warm-up are for thousands of steps: here as large a share as ours.
    "nanochat-warmup": Side(False, {"warmup_fraction": 0.02}),
    **{
        f"nanochat-rates-x{factor}": Side(False, {"warmup_fraction": 0.02, "rates": factor})
        for factor in (2, 4, 8)
    },
}


class Run(NamedTuple):
    """What one run of a side has shown."""

    tokens_per_second: float
    wall_seconds: float  # from the start of the process to its end, all included
    other_seconds: float  # of these, what is no median step
    processor_seconds: float
    peak_bytes: int
    bits_per_byte: float
    bytes_per_token: float


def main() -> None:
    """Measure all sides."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nanochat", type=Path, help="folder of a clone")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of each round")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rows", type=int, default=8, help=f"of a step, of {CONTEXT} tokens each")
    parser.add_argument("--depth", type=int, default=4, help="layers; width is 64 times that")
    parser.add_argument(
        "--sides",
        nargs="+",
        choices=SIDES,
        default=list(SIDES),
        metavar="SIDE",
        help=", ".join(SIDES),
    )
    parser.add_argument("--quick", action="store_true", help="one round of four steps")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.nanochat is None or not (options.nanochat / "scripts" / "base_train.py").exists():
        parser.error("--nanochat: name the folder of a clone of nanochat")
    if options.quick:
        options.seeds, options.steps = [1], 4
    if options.steps < 3:
        parser.error("--steps: at least 3, or there is no median step")
    if not PEERS.exists():
        sys.exit("benchmarks/nanochat.py: what nanochat imports is not there: make peers")
    clone = options.nanochat.resolve()
    prepare(clone)
    shape = {name: getattr(options, name) for name in ("depth", "rows", "steps")}
    runs: dict[str, list[Run]] = {name: [] for name in options.sides}
    for seed in options.seeds:
        for name, mine in runs.items():
            mine.append(measure(name, clone, seed, shape))
            print(f"{seed}: {name}: {mine[-1]}", file=sys.stderr, flush=True)
    rows = [_row(name, runs) for name in runs]
    told = [f"{shape}, context {CONTEXT}, vocabulary {VOCABULARY:,}, {os.cpu_count()} cores"]
    told += ["  ".join(f"{key} {value}" for key, value in row.items()) for row in rows]
    print(json.dumps(rows, indent=2) if options.json else "\n".join(told))


def prepare(clone: Path) -> None:
    """Passages and both tokenizers, made once and kept below build/."""
    if (KEPT / "ours").exists():
        return
    from volano.text.tokenizer import train_tokenizer

    held_out, train = _texts()
    KEPT.mkdir(parents=True, exist_ok=True)
    for name, texts in (("held_out", held_out), ("train", train)):
        pq.write_table(pa.table({"text": texts}), KEPT / f"{name}.parquet")
    with tempfile.TemporaryDirectory() as scratch:
        base = _base(Path(scratch), seed=0)
        (base / "tokenizer").unlink(missing_ok=True)
        command = [str(PEERS), "-m", "scripts.tok_train", f"--vocab-size={VOCABULARY}"]
        _run(command, clone, {"NANOCHAT_BASE_DIR": str(base)})
        (base / "tokenizer").rename(KEPT / "theirs")
    train_tokenizer(train, vocabulary=VOCABULARY).save(KEPT / "ours")


def passages(text: str) -> Iterator[str]:
    """Whole lines of a text, at most PASSAGE_CHARACTERS at a time but for a longer line."""
    held = ""
    for line in text.splitlines(keepends=True):
        if held and len(held) + len(line) > PASSAGE_CHARACTERS:
            yield held
            held = ""
        held += line
    if held.strip():
        yield held


def _texts() -> tuple[list[str], list[str]]:
    """Held-out and training passages, of different modules."""
    from train import module_texts

    held_out: list[str] = []
    train: list[str] = []
    into, left = held_out, HELD_OUT_BYTES
    for path, text in module_texts():
        if "encodings" in Path(path).parts:  # a hundred copies of one table
            continue
        if left <= 0 and into is train:
            break
        if left <= 0:
            into, left = train, TRAIN_BYTES
        into += passages(text)
        left -= len(text.encode())
    return held_out, train


def _base(scratch: Path, seed: int) -> Path:
    """A folder as nanochat has it below its cache: shards, the last held out, and its tokenizer."""
    shards = scratch / "base_data_climbmix"
    shards.mkdir(parents=True)
    train = pq.read_table(KEPT / "train.parquet")
    train = train.take(np.random.default_rng(seed).permutation(len(train)))
    pq.write_table(train, shards / "shard_00000.parquet", row_group_size=ROW_GROUP)
    (shards / "shard_00001.parquet").symlink_to(KEPT / "held_out.parquet")
    (scratch / "tokenizer").symlink_to(KEPT / "theirs")
    return scratch


def measure(name: str, clone: Path, seed: int, shape: dict[str, int]) -> Run:
    """Train once in a process of its own, then measure what it has left in another."""
    side = SIDES[name]
    with tempfile.TemporaryDirectory() as scratch:
        base = _base(Path(scratch), seed)
        task = shape | {"base": str(base), "seed": seed, "settings": side.settings}
        task |= {"tokenizer": str(KEPT / "ours"), "held_out": str(KEPT / "held_out.parquet")}
        task |= {"context": CONTEXT, "head_width": HEAD_WIDTH}
        environment = {"NANOCHAT_BASE_DIR": str(base)}
        python, script = (sys.executable, "ours") if side.ours else (str(PEERS), "peer")

        def call(do: str) -> tuple[str, float, Any]:
            command = [python, str(HERE / f"nanochat_{script}.py"), json.dumps(task | {"do": do})]
            return _run(command, clone, environment)

        said, wall, usage = call("train")
        if "| epoch: 2 " in said:
            sys.exit("nanochat has read all passages and began again: set fewer --steps")
        seconds = json.loads(_last(said)) if side.ours else step_seconds(said)
        found = json.loads(_last(call("bits")[0]))
    step = median(seconds[1:])
    return Run(
        tokens_per_second=shape["rows"] * CONTEXT / step,
        wall_seconds=wall,
        other_seconds=wall - shape["steps"] * step,
        processor_seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024,
        **found,
    )


def step_seconds(said: str) -> list[float]:
    """Seconds of each step that nanochat's script has printed."""
    return [float(found) / 1000 for found in STEP.findall(said)]


def _last(said: str) -> str:
    return said.strip().splitlines()[-1]


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[str, float, Any]:
    """What it printed, seconds, and what it used. Threads are left as each side has them."""
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    begin = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as error:
        process = subprocess.Popen(
            command, cwd=folder, env=inherited | environment, stdout=out, stderr=error
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)  # it is waited for: no second time
        out.seek(0)
        error.seek(0)
        if process.returncode != 0:
            sys.exit(f"{command} ended with {process.returncode}:\n{error.read()[-3000:]}")
        return out.read(), wall, usage


def _row(name: str, runs: dict[str, list[Run]]) -> dict[str, Any]:
    mine, first = runs[name], next(iter(runs.values()))  # the first side, round by round
    speeds = [run.tokens_per_second for run in mine]
    ratios = [a.tokens_per_second / b.tokens_per_second for a, b in zip(first, mine, strict=True)]
    walls = [b.wall_seconds / a.wall_seconds for a, b in zip(first, mine, strict=True)]
    bits = [run.bits_per_byte for run in mine]
    more = [b.bits_per_byte - a.bits_per_byte for a, b in zip(first, mine, strict=True)]
    return {
        "side": name,
        "tokens_per_second": round(median(speeds)),
        "spread": f"{min(speeds):.0f}-{max(speeds):.0f}",
        "first_over_it": round(median(ratios), 2),
        "ratio_spread": f"{min(ratios):.2f}-{max(ratios):.2f}",
        "wall_seconds": round(median(run.wall_seconds for run in mine), 1),
        "wall_over_first": f"{median(walls):.2f} ({min(walls):.2f}-{max(walls):.2f})",
        "other_seconds": [round(run.other_seconds, 1) for run in mine],
        "processor_seconds": round(median(run.processor_seconds for run in mine)),
        "peak_gigabytes": round(median(run.peak_bytes for run in mine) / 1e9, 2),
        "bytes_per_token": round(mine[0].bytes_per_token, 3),
        "bits_per_byte": round(mean(bits), 4),
        "seeds": [round(each, 4) for each in bits],
        "more_than_first": [round(each, 4) for each in more],
    }


if __name__ == "__main__":
    main()
