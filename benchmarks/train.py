"""Pre-training beside the Trainer of transformers, in one run.

    make peers
    python benchmarks/train.py pretrain-10M                       # also pretrain-1M, pretrain-30M
    python benchmarks/train.py loss                               # held-out bits per byte, 3 seeds
    python benchmarks/train.py sft-lora sft-full --model FOLDER --conversations FILE.jsonl

Works `pretrain-*`: a Llama of that size, context 512, 16k vocabulary, on the source files of this
Python installation, packed into rows in which documents do not see each other; both sides read the
same rows and begin with the same weights. Each side is a process of its own and the sides take
turns: a round is one run of each. Figures are medians over rounds of the median step, start-up left
out and shown apart. `--rounds`, `--steps`; `--sides` by a part of their names; `--json`.
"""

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "build" / "train_peers" / "bin" / "python"
KEPT = ROOT / "build" / "benchmarks"
CONTEXT, VOCABULARY, ROWS = 512, 16_384, 8
SIZES = {"pretrain-1M": 1_000_000, "pretrain-10M": 10_000_000, "pretrain-30M": 30_000_000}

TUNED = {"sft-lora": True, "sft-full": False}  # by an adapter
WORKS = [*SIZES, *TUNED, "loss"]
CONVERSATIONS = 8  # a step
TEXT_BYTES = 24_000_000


class Side(NamedTuple):
    """Who trains, and how. `settings` are those of our section, or of the peer's arguments."""

    name: str
    ours: bool
    settings: dict[str, Any]


PRETRAIN = [
    Side("volano fp32", True, {"precision": "float32"}),
    Side("volano fp32 adamw", True, {"precision": "float32", "optimiser": "adamw"}),
    Side("volano bf16", True, {"precision": "bfloat16"}),
    Side("volano fp32 compiled", True, {"precision": "float32", "compile": True}),
    Side("Trainer fp32 (its default)", False, {}),
    Side("Trainer autocast bf16", False, {"bf16": True}),
    Side("Trainer fp32 compiled", False, {"torch_compile": True}),
    Side("Trainer autocast bf16 compiled", False, {"bf16": True, "torch_compile": True}),
]

_FASTEST = {"gradient_checkpointing": False, "train_sampling_strategy": "group_by_length"}
TUNE = [
    Side("volano", True, {}),
    Side("volano fp32", True, {"precision": "float32"}),
    Side("volano bf16", True, {"precision": "bfloat16"}),
    Side("volano fp32, a row at a time", True, {"precision": "float32", "one_row": True}),
    Side("SFTTrainer (its default: bf16, checkpointing)", False, {}),
    Side("SFTTrainer fp32", False, {"bf16": False}),
    Side("SFTTrainer fp32, by length, no checkpointing", False, {"bf16": False, **_FASTEST}),
    Side("SFTTrainer bf16, by length, no checkpointing", False, {"bf16": True, **_FASTEST}),
    Side("SFTTrainer fp32, packed, no checkpointing", False, {
        "bf16": False, "packing": True, "gradient_checkpointing": False,
    }),
]  # fmt: skip


class Run(NamedTuple):
    """What one process has found."""

    tokens_per_second: float
    startup_seconds: float  # until the steps that are counted begin
    peak_bytes: int
    losses: list[float]


def main() -> None:
    """Measure each work, or be one of the sides."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("works", nargs="*", help=", ".join(WORKS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="that are counted, of each run")
    parser.add_argument("--loss-steps", type=int, default=240, help="of 4,096 tokens")
    parser.add_argument("--model", type=Path, help="of sft-*: a folder with config.json")
    parser.add_argument("--conversations", type=Path, help="of sft-*: JSONL with `messages`")
    parser.add_argument("--sides", default="", help="only those whose names hold one of A|B")
    parser.add_argument("--quick", action="store_true", help="one round of two steps")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        from train_ours import run_ours, tune_ours

        task = json.loads(options.side)
        print(json.dumps((tune_ours if task["work"] in TUNED else run_ours)(task)))
        return
    if not options.works or not set(options.works) <= set(WORKS):
        parser.error("name works: " + ", ".join(WORKS))
    if set(options.works) & set(TUNED) and None in (options.model, options.conversations):
        parser.error("sft-* needs --model and --conversations")
    if options.quick:
        options.rounds, options.steps = 1, 2
    if not PEERS.exists():
        sys.exit("benchmarks/train.py: the peers are not there: make peers")
    found = {work: _measure(work, options) for work in options.works}
    print(json.dumps(found, indent=2) if options.json else "\n\n".join(map(_table, found.items())))


def _measure(work: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    if work == "loss":
        return _compare_losses(options)
    kinds = TUNE if work in TUNED else PRETRAIN
    sides = [side for side in kinds if named(side, options.sides)]
    task: dict[str, Any] = {"work": work, "steps": options.steps, "seed": 1, "rows": ROWS}
    if work in TUNED:
        task |= {"adapter": TUNED[work], "rows": CONVERSATIONS, "context": CONTEXT}
        task |= {"data": str(options.model), "conversations": str(options.conversations)}
    else:
        task |= {"data": str(prepare(SIZES[work]))}
    runs: dict[str, list[Run]] = {side.name: [] for side in sides}
    for number in range(options.rounds):
        for side in sides:
            run = run_side(side, task)
            runs[side.name].append(run)
            said = f"{run.tokens_per_second:,.0f} tokens/s, loss {run.losses[-1]:.3f}"
            print(f"{work} {number + 1}: {side.name}: {said}", file=sys.stderr, flush=True)
    return [_row(side.name, runs) for side in sides]


def named(side: Side, parts: str) -> bool:
    """Whether a side is asked for."""
    return any(part in side.name for part in parts.split("|"))


LOSS_SIDES = [
    Side("volano fp32", True, {"precision": "float32"}),
    Side("volano fp32 adamw", True, {"precision": "float32", "optimiser": "adamw"}),
    Side("Trainer fp32 (its default rate)", False, {}),
    *(
        Side(f"Trainer fp32, rate {rate}, cosine, warm-up", False, {
            "learning_rate": rate, "lr_scheduler_type": "cosine", "warmup_steps": 10,
            "adam_beta2": 0.95,
        })
        for rate in (1e-3, 3e-3, 1e-2)
    ),
]  # fmt: skip


def _compare_losses(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The smallest model on rows that are read once; the loss of the last tenth of them, which
    nobody has seen before, in nats a token."""
    folder = prepare(SIZES["pretrain-1M"])
    found: dict[str, list[float]] = {}
    for seed in (1, 2, 3):
        task = {"work": "loss", "steps": options.loss_steps, "seed": seed, "rows": ROWS}
        task |= {"data": str(folder), "first_row": seed * 1000, "init": str(_started(folder, seed))}
        for side in (side for side in LOSS_SIDES if named(side, options.sides)):
            losses = run_side(side, task).losses
            last = losses[-max(1, len(losses) // 10) :]
            found.setdefault(side.name, []).append(float(np.mean(last)))
            said = f"loss {seed}: {side.name}: {found[side.name][-1]:.4f}"
            print(said, file=sys.stderr, flush=True)
    first = next(iter(found.values()))
    return [
        {
            "side": name,
            "loss": round(float(np.mean(losses)), 4),
            "seeds": [round(each, 4) for each in losses],
            "more_than_first": [round(b - a, 4) for a, b in zip(first, losses, strict=True)],
        }
        for name, losses in found.items()
    ]


def _started(folder: Path, seed: int) -> Path:
    from volano.model.decoder import Decoder, initialise
    from volano.model.families import read_config
    from volano.model.huggingface import save_checkpoint

    model = Decoder(read_config(folder))
    initialise(model, seed)
    save_checkpoint(folder / f"seed-{seed}", model)
    return folder / f"seed-{seed}"


def run_side(side: Side, task: dict[str, Any]) -> Run:
    """One process; its figures. Both sides leave OpenMP as torch has it, but for our spins."""
    given = json.dumps(task | {"settings": side.settings})
    here = Path(__file__).parent
    command = (
        [sys.executable, str(here / "train.py"), "--side", given]
        if side.ours
        else [str(PEERS), str(here / "train_peer.py"), given]
    )
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{side.name} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return Run(**json.loads(done.stdout.strip().splitlines()[-1]))


def prepare(parameters: int) -> Path:
    """Rows, and a checkpoint of random weights, made once and kept below build/."""
    folder = KEPT / f"train-{parameters}-{VOCABULARY}-{CONTEXT}"
    if (folder / "rows.npz").exists():
        return folder
    from volano.model.decoder import Decoder, initialise
    from volano.model.huggingface import save_checkpoint
    from volano.model.shape import shape_for
    from volano.text.pack import pack_documents
    from volano.text.stream import TokenShards
    from volano.text.tokenizer import train_tokenizer

    texts = module_texts()
    tokenizer = train_tokenizer((text for _, text in texts), vocabulary=VOCABULARY)
    with tempfile.TemporaryDirectory() as scratch:
        packed = Path(scratch)
        pack_documents(packed, {"code": iter(texts)}, tokenizer, context=CONTEXT)
        shards = TokenShards(packed)
        order = np.random.default_rng(1).permutation(shards.rows)
        batch = shards.read(order)
    model = Decoder(shape_for(parameters, VOCABULARY, CONTEXT))
    initialise(model, seed=1)
    save_checkpoint(folder, model, tokenizer)
    np.savez(folder / "rows.npz", **batch._asdict())
    return folder


def module_texts() -> list[tuple[str, str]]:
    """Modules of the standard library, in the order of their names' hashes."""
    library = Path(sysconfig.get_paths()["stdlib"])
    paths = sorted(library.rglob("*.py"), key=lambda path: hash_of(str(path)))
    texts, held = [], 0
    for path in paths:
        if "site-packages" in path.parts or held > TEXT_BYTES:
            continue
        text = path.read_text("utf-8", "replace")
        if text.strip():
            texts.append((str(path), text))
            held += len(text)
    return texts


def hash_of(name: str) -> bytes:
    """A place in an order that has nothing to do with the name's beginning."""
    import hashlib

    return hashlib.sha256(name.encode()).digest()


def _row(name: str, runs: dict[str, list[Run]]) -> dict[str, Any]:
    mine = runs[name]
    first = next(iter(runs.values()))  # the first side, round by round
    ratios = [
        ours.tokens_per_second / theirs.tokens_per_second
        for ours, theirs in zip(first, mine, strict=True)
    ]
    speeds = [run.tokens_per_second for run in mine]
    return {
        "side": name,
        "tokens_per_second": round(median(speeds)),
        "spread": f"{min(speeds):.0f}-{max(speeds):.0f}",
        "first_over_it": round(median(ratios), 2),
        "ratio_spread": f"{min(ratios):.2f}-{max(ratios):.2f}",
        "startup_seconds": round(median(run.startup_seconds for run in mine), 1),
        "peak_gigabytes": round(median(run.peak_bytes for run in mine) / 1e9, 2),
        "loss": round(median(run.losses[-1] for run in mine), 4),
    }


def _table(found: tuple[str, list[dict[str, Any]]]) -> str:
    work, rows = found
    lines = [f"{work}, {os.cpu_count()} cores"]
    for row in rows:
        lines.append("  ".join(f"{key} {value}" for key, value in row.items()))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
