"""The report as tables for a terminal: stages side by side, then the tests, then speed."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from rich.table import Table

from volano.core.report import Measurement, Report
from volano.evaluate.efficiency import PEAK_MEMORY, read_efficiency

COLUMNS = ("base", "sft", "aligned")
NEIGHBOURS = set(pairwise(COLUMNS))
TITLES = {"base": "base", "sft": "SFT", "aligned": "aligned"}
# What stands beside the stages, below the table: no model of ours, or not a stage.
BESIDE = ("chance", "lexical", "random", "base as document", "bag of words", "nearest answer")
ROWS = {
    "conversation_bits": "bits per byte of held-out answers",
    "conversation_chrf": "chrF against held-out answers",
    "conversations_end": "held-out answers that end",
    "bits_per_byte": "bits per byte, held out",
    "choice_pmi": "4-way choice, PMI",
    "choice_normalised": "4-way choice, by length",
    "answer_chrf": "chrF against the truth",
    "answers_end": "answers that end",
    "answers_repeat": "answers that repeat",
    "refusal_unsafe": "unsafe refused",
    "answered_safe": "safe answered",
    "refused_safe": "safe refused",
    "refusal_unsafe_matched": "unsafe refused, matched",
    "answered_safe_matched": "safe answered, matched",
    "refused_safe_matched": "safe refused, matched",
    "win_rate_over_base": "chrF wins over base",
    "win_rate_over_base_as_document": "wins over base as document",
    "win_rate_over_sft": "wins over SFT, greedy",
    "win_rate_over_sft_sampled": "wins over SFT, sampled",
}
EFFICIENCY = {
    "tokens_per_second": "tokens/s, batch of 64",
    "tokens_per_second_alone": "tokens/s, one at a time",
    "milliseconds_to_first_token": "ms to the first token",
}
LENGTH_CONTROLLED = "_length_controlled"


def report_tables(report: Report, bill: Mapping[str, Any], name: str = "") -> list[Table]:
    """The stage table, the paired tests, and what the bill says of speed; empty ones left out."""
    tables = [_stage_table(report, name), _comparison_table(report), _efficiency_table(bill)]
    return [table for table in tables if table.row_count]


def _stage_table(report: Report, artifact: str) -> Table:
    stages = [name for name in COLUMNS if any(m.stage == name for m in report.measurements)]
    of = f" {artifact}" if artifact else ""
    table = Table(title=f"Held-out evaluation{of} (95 % interval)", title_justify="left")
    table.add_column("", overflow="fold")
    for stage in stages:
        table.add_column(TITLES[stage], justify="right", overflow="fold")
    table.add_column("n", justify="right", no_wrap=True)
    notes = []
    names = dict.fromkeys(m.name for m in report.measurements)
    known = [name for name in ROWS if name in names]
    for name in known + [name for name in names if name not in ROWS]:
        found = {m.stage: m for m in report.measurements if m.name == name}
        beside = [f"{stage} {_figure(found[stage])}" for stage in BESIDE if stage in found]
        cells = [_with_interval(found[stage]) if stage in found else "" for stage in stages]
        title = ROWS.get(name) or _title(name)
        table.add_row(title, *cells, str(max(m.n for m in found.values())))
        if beside:
            notes.append(f"{title}, beside: {', '.join(beside)}")
    table.caption, table.caption_justify, table.caption_style = "\n".join(notes), "left", ""
    return table


def _comparison_table(report: Report) -> Table:
    table = Table(title="Paired tests on the same items", title_justify="left")
    for column, justify in (
        ("", "left"),
        ("stages", "left"),
        ("difference", "right"),
        ("p", "right"),
        ("n", "right"),
        ("test", "left"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for each in report.comparisons:
        if (each["first"], each["second"]) not in NEIGHBOURS:
            continue  # `--json` has them all
        scale = 100 if each["test"] == "exact McNemar" else 1
        unit = " points" if scale == 100 else ""
        low, high = each["low"] * scale, each["high"] * scale
        table.add_row(
            ROWS.get(each["name"], _title(each["name"])),
            f"{TITLES.get(each['first'])} → {TITLES.get(each['second'])}",
            f"{each['difference'] * scale:+.{1 if scale == 100 else 3}f}{unit} "
            f"[{low:+.{1 if scale == 100 else 3}f}, {high:+.{1 if scale == 100 else 3}f}]",
            f"{each['p_value']:.1e}" if each["p_value"] < 0.001 else f"{each['p_value']:.3f}",
            str(each["n"]),
            each["test"],
        )
    return table


def _efficiency_table(bill: Mapping[str, Any]) -> Table:
    stages = [name for name in COLUMNS if read_efficiency(bill, name, next(iter(EFFICIENCY)))]
    table = Table(title="Speed of this run (95 % interval)", title_justify="left")
    table.add_column("", no_wrap=True)
    for stage in stages:
        table.add_column(TITLES[stage], justify="right")
    table.add_column("n", justify="right", no_wrap=True)
    for figure, title in EFFICIENCY.items():
        found = [read_efficiency(bill, stage, figure) for stage in stages]
        digits = 0 if any(f.value >= 100 for f in found if f) else 1
        cells = [
            f"{f.value:,.{digits}f} [{f.low:,.{digits}f}, {f.high:,.{digits}f}]" for f in found if f
        ]
        if cells:
            table.add_row(title, *cells, str(max(f.n for f in found if f)))
    if PEAK_MEMORY in bill:
        memory = f"peak memory of the whole evaluation: {bill[PEAK_MEMORY]:,.0f} MB (n = 1)"
        table.caption, table.caption_justify, table.caption_style = memory, "left", ""
    return table


def _figure(measurement: Measurement) -> str:
    if measurement.unit == "share":
        return f"{100 * measurement.value:.1f} %"
    return f"{measurement.value:.3f}" if measurement.value < 10 else f"{measurement.value:.1f}"


def _with_interval(measurement: Measurement) -> str:
    scale, digits = (100, 1) if measurement.unit == "share" else (1, 3)
    if measurement.value >= 10:
        digits = 1
    low, high = measurement.low * scale, measurement.high * scale
    return f"{_figure(measurement)} [{low:.{digits}f}, {high:.{digits}f}]"


def _title(name: str) -> str:
    if name.endswith(LENGTH_CONTROLLED):
        plain = name.removesuffix(LENGTH_CONTROLLED)
        return f"{ROWS.get(plain, plain.replace('_', ' '))}, equal length"
    return name.replace("_", " ")
