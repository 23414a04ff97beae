"""Memory of our own training beside what `volano plan` says of it.

    python benchmarks/training_memory.py [--json]

Each row is a process of its own: it imports all it needs, builds a small model and trains it two
steps, so that libraries have taken their memory; then it marks its resident memory, and trains the
model of the row on random tokens. What the peak adds to the mark is compared with the plan's
weights, gradients, optimiser, activations and logits. The peak is the kernel's own (VmHWM).
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROWS: tuple[tuple[int, int, int, int, str, dict[str, Any]], ...] = (
    # parameters, vocabulary, context, rows, kind of section, its settings
    (1_400_000, 4096, 128, 32, "pretrain", {}),
    (3_500_000, 8192, 128, 16, "pretrain", {}),
    (10_000_000, 16_384, 512, 8, "pretrain", {}),
    (10_000_000, 16_384, 512, 8, "pretrain", {"optimiser": "adamw"}),
    (25_000_000, 16_384, 512, 4, "pretrain", {}),
    (25_000_000, 16_384, 512, 8, "pretrain", {"activations": "recomputed"}),
    (25_000_000, 16_384, 512, 8, "pretrain", {"accumulate": 8}),
    (25_000_000, 16_384, 512, 8, "pretrain", {"precision": "bfloat16"}),
    (25_000_000, 16_384, 512, 4, "finetune", {"context": 512}),
    (25_000_000, 16_384, 512, 8, "finetune", {"context": 512, "lora": {"rank": 16}}),
    (25_000_000, 16_384, 512, 4, "align", {"context": 512}),
    (60_000_000, 16_384, 256, 4, "pretrain", {"optimiser": "adamw", "accumulate": 4}),
)


def main() -> None:
    """Measure every row, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    parser.add_argument("--row", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row is not None:
        print(json.dumps(_measure(*ROWS[options.row])))
        return
    found = []
    for place in range(len(ROWS)):
        command = [sys.executable, __file__, "--row", str(place)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found.append(json.loads(done.stdout))
        if not options.json:
            print(_told(found[-1]), flush=True)
    if options.json:
        print(json.dumps(found, indent=2))


def _measure(
    parameters: int, vocabulary: int, context: int, rows: int, kind: str, settings: dict[str, Any]
) -> dict[str, float | str]:
    from volano.align.section import AlignSection
    from volano.core.bill import CLEAR_PEAK, peak_memory_bytes
    from volano.finetune.section import FinetuneSection
    from volano.model.shape import shape_for
    from volano.pretrain.section import PretrainSection
    from volano.study.measured_rate import train_on_random_tokens
    from volano.study.section_memory import memory_of_section
    from volano.study.training_cost import size_of
    from volano.train.section import TrainSection

    kinds: dict[str, type[TrainSection]] = {
        "pretrain": PretrainSection,
        "finetune": FinetuneSection,
        "align": AlignSection,
    }
    shape = shape_for(parameters, vocabulary, context)
    section = kinds[kind].read({"batch_rows": rows, **settings}, kind)
    small = shape_for(100_000, 512, 32)
    least = {"batch_rows": 1, "accumulate": 1, **({"context": 32} if kind != "pretrain" else {})}
    train_on_random_tokens(small, section.model_copy(update=least), 32, steps=2)
    Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)
    before = peak_memory_bytes()
    train_on_random_tokens(shape, section, context, steps=3)
    measured = peak_memory_bytes() - before
    planned = memory_of_section(section, size_of(shape)).total
    told = ", ".join(f"{name} {value}" for name, value in settings.items())
    return {
        "work": f"{shape.parameters / 1e6:.1f}M, context {context}, {rows} rows, {kind} {told}",
        "planned_bytes": planned,
        "measured_bytes": measured,
        "ratio": planned / measured,
    }


def _told(row: dict[str, float | str]) -> str:
    planned, measured = float(row["planned_bytes"]), float(row["measured_bytes"])
    return (
        f"{row['work']}: plan {planned / 1e6:,.0f} MB, measured {measured / 1e6:,.0f} MB, "
        f"ratio {float(row['ratio']):.2f}"
    )


if __name__ == "__main__":
    main()
