"""What `volano show CHECKPOINT` prints of its training: milestones, spikes, what it cost."""

from itertools import groupby
from pathlib import Path
from typing import Any

from volano.cli.output import print_line, print_table

# The tables of a run have these names (train/dynamics.py, which needs torch beside it).
METRICS, SPIKES, SAMPLES = "metrics.parquet", "spikes.parquet", "samples.parquet"
ROWS = 8  # of the metrics, spread evenly over the steps
COLUMNS = {"loss": 3, "bits_per_byte": 3, "gradient_norm": 3, "learning_rate": 5}  # → digits
HELD_OUT = "held_out_bits_per_byte"
MOST_GROUPS = 8  # of held-out documents, in a line
SHOWN_SPIKES, SHOWN_DOCUMENTS = 5, 3


def training_of(folder: Path) -> dict[str, Any]:
    """Spikes, samples and some rows of the metrics; an imported checkpoint has none of them."""
    from volano.core.corpus import read_shard

    found: dict[str, Any] = {"metrics": [], "spikes": [], "samples": []}
    for key, name in (("metrics", METRICS), ("spikes", SPIKES), ("samples", SAMPLES)):
        if (folder / name).is_file():
            found[key] = read_shard(folder / name).to_pylist()
    rows = found["metrics"]
    spread = {round(place * (len(rows) - 1) / (ROWS - 1)) for place in range(ROWS)}
    found["metrics"] = [rows[place] for place in sorted(spread)] if rows else []
    found["steps"] = len(rows)
    return found


def print_training(training: dict[str, Any], bill: dict[str, Any]) -> None:
    """The course of the figures, what the model said at its milestones, and its spikes."""
    if training["metrics"]:
        _print_metrics(training["metrics"])
    for line in _cost(bill):
        print_line(line)
    for prompt, samples in _by_prompt(training["samples"]):
        rows = [
            (f"{each['step']:,}", f"{each['tokens']:,}", _one_line(each["continuation"]))
            for each in samples
        ]
        title = f"goes on with: {_one_line(prompt)}"
        print_table(["step", "tokens", "continuation"], rows, right=["step", "tokens"], title=title)
    _print_spikes(training["spikes"])


def _print_metrics(rows: list[dict[str, Any]]) -> None:
    columns = {name: digits for name, digits in COLUMNS.items() if name in rows[-1]}
    cells = [
        (f"{row['step']:,}", *(f"{row[name]:.{digits}f}" for name, digits in columns.items()))
        for row in rows
    ]
    names = ["step", *(name.replace("_", " ") for name in columns)]
    print_table(names, cells, right=names)
    last = rows[-1]
    if last.get(HELD_OUT) is not None:
        groups = [name for name in last if name.startswith(f"{HELD_OUT}.")]
        said = [f"{name.removeprefix(f'{HELD_OUT}.')} {last[name]:.3f}" for name in groups]
        more = f" and {len(said) - MOST_GROUPS} groups more" if len(said) > MOST_GROUPS else ""
        of = f" ({', '.join(said[:MOST_GROUPS])}{more})" if said else ""
        print_line(f"held out: {last[HELD_OUT]:.3f} bits per byte{of}")


def _cost(bill: dict[str, Any]) -> list[str]:
    parts = []
    if "tokens_per_second" in bill:
        parts.append(f"{bill['tokens_per_second']:,.0f} tokens/s")
    if "utilisation" in bill:
        ceiling = bill["matmul_flops_per_second"] / 1e9
        parts.append(f"{bill['utilisation']:.0%} of the {ceiling:,.0f} GFLOP/s of a matmul here")
    if "joules" in bill:
        parts.append(f"{bill['joules']:,.0f} J counted")
    if "joules_estimated" in bill:
        source = " from processor time" if bill.get("device", "cpu") == "cpu" else ""
        parts.append(f"{bill['joules_estimated']:,.0f} J estimated{source}")
    return [f"training: {', '.join(parts)}"] if parts else []


def _print_spikes(spikes: list[dict[str, Any]]) -> None:
    if not spikes:
        return
    print_line(f"{len(spikes):,} spike{'' if len(spikes) == 1 else 's'}:")
    for each in spikes[:SHOWN_SPIKES]:
        number = "not finite" if each["loss"] is None else f"{each['loss']:.3f}"
        usual = "" if each["median"] is None else f", usually {each['median']:.3f}"
        back = "" if each["action"] == "recorded" else f", {each['action']}"
        back += "" if each["back_to"] is None else f" to the weights of step {each['back_to']:,}"
        rest = len(each["documents"]) - SHOWN_DOCUMENTS
        more = f" and {rest} more" if rest > 0 else ""
        named = ", ".join(each["documents"][:SHOWN_DOCUMENTS])
        print_line(f"    step {each['step']:,}: loss {number}{usual}{back}: {named}{more}")
    if len(spikes) > SHOWN_SPIKES:
        print_line(f"    and {len(spikes) - SHOWN_SPIKES:,} more: --json has them all")


def _by_prompt(samples: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    places = {each["prompt"]: place for place, each in reversed(list(enumerate(samples)))}
    ordered = sorted(samples, key=lambda each: (places[each["prompt"]], each["step"]))
    return [(name, list(group)) for name, group in groupby(ordered, key=lambda e: e["prompt"])]


def _one_line(text: str) -> str:
    return " ".join(text.split())
