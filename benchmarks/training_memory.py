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

ROWS = (
    # parameters, vocabulary, context, rows, optimiser
    (1_400_000, 4096, 128, 32, "muon"),
    (3_500_000, 8192, 128, 16, "muon"),
    (10_000_000, 16_384, 512, 8, "muon"),
    (10_000_000, 16_384, 512, 8, "adamw"),
    (25_000_000, 16_384, 512, 4, "muon"),
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
    parameters: int, vocabulary: int, context: int, rows: int, optimiser: str
) -> dict[str, float | str]:
    from volano.core.bill import CLEAR_PEAK, peak_memory_bytes
    from volano.model.shape import shape_for
    from volano.pretrain.section import PretrainSection
    from volano.study.measured_rate import train_on_random_tokens
    from volano.study.recipe_plan import memory_of_section
    from volano.study.training_cost import size_of

    shape = shape_for(parameters, vocabulary, context)
    section = PretrainSection(batch_rows=rows, optimiser=optimiser)  # type: ignore[arg-type]
    small = shape_for(100_000, 512, 32)
    train_on_random_tokens(small, section.model_copy(update={"batch_rows": 1}), 32, steps=2)
    Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)
    before = peak_memory_bytes()
    train_on_random_tokens(shape, section, context, steps=3)
    measured = peak_memory_bytes() - before
    planned = memory_of_section(section, size_of(shape))
    return {
        "work": f"{shape.parameters / 1e6:.1f}M, context {context}, {rows} rows, {optimiser}",
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
