"""The report's sections on models: training curves, the stage table, the same prompts answered."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from volano.core.artifact import Artifact
from volano.core.finding import CASES_FILE
from volano.core.report import Measurement
from volano.page import plots
from volano.study.found import FIRST, Found
from volano.study.words import (
    BASE,
    BESIDE,
    COLUMNS,
    MEASURES,
    PLOTTED,
    TRAINING,
    TUNED,
    count_of,
    figure,
    measure_of,
    p_value,
    signed,
    with_interval,
)
from volano.text.functions import answer_about, place_in_draw, plain_question, read_function

ASKED = {"answer_chrf": 3, "refusal_unsafe": 1, "answered_safe": 1}  # task → prompts shown
DECLINED = "the request is declined."
ANSWERED = "the request is answered; any real answer counts."
HALF = "held_out_half"
GATE_COLUMNS = {"former": -1, "candidate": 0}  # → how many versions before the gate's own
Columns = dict[str, list[Measurement]]


def training_of(found: Found) -> list[dict[str, str]]:
    """A plot per stage of training, with a line per version."""
    plotted = []
    for stage, title in TRAINING.items():
        trained = {
            version: artifact
            for version, artifact in found.versions(stage).items()
            if (artifact.folder / "metrics.parquet").is_file()
        }
        lines = {v: pq.read_table(a.folder / "metrics.parquet") for v, a in trained.items()}
        for column, y, what in (
            ("loss", "loss", title),
            ("accuracy", "share", f"{title}: preferred answer is likelier"),
        ):
            series = {
                f"version {version}": _curve(table, column)
                for version, table in lines.items()
                if column in table.column_names
            }
            if series:
                plot = plots.curves(series, title=f"{what}, by step", x="step", y=y)
                said = _said_of(trained) if column == "loss" else ""
                plotted.append({"title": what, "plot": plot, "said": said})
    return plotted


def _curve(table: pa.Table, column: str) -> tuple[list[int], list[float]]:
    """Steps, and the figure at each that has it: a batch of reminders alone ranks nothing."""
    measured = table.select(["step", column]).drop_null()
    return measured["step"].to_pylist(), measured[column].to_pylist()


def columns_of(found: Found) -> Columns:
    """base, fine-tuned, version 1, version 2 … and what stands beside them → measurements."""
    columns: Columns = {}
    for version, artifact in found.versions("report").items():
        for each in artifact.report().measurements:
            if version == FIRST:
                columns.setdefault(COLUMNS.get(each.stage, each.stage), []).append(each)
            elif each.stage == "aligned":
                columns.setdefault(f"version {version}", []).append(each)
    return columns


def evaluation_of(found: Found) -> dict[str, Any] | None:
    """The table of all measures, known ones first, and a plot for each of the main ones."""
    columns = columns_of(found)
    models = [each for each in columns if _is_model(each)]
    if not models:
        return None
    names = list(dict.fromkeys(m.name for model in models for m in columns[model]))
    rows = [_row(name, columns, models) for name in [n for n in MEASURES if n in names]]
    more = [_row(name, columns, models) for name in names if name not in MEASURES]
    return {
        "models": models,
        "rows": rows,
        "more": more,
        "tests": _tests(found),
        "plots": [_panel(name, columns, models) for name in PLOTTED if name in names],
    }


def prompts_of(found: Found) -> list[dict[str, Any]]:
    """Prompts that every stage answered, chosen by a hash of their ids, never by their answers."""
    answers: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for version, artifact in found.versions("report").items():
        for item in _items(artifact, ASKED):
            column = COLUMNS.get(item["stage"])
            if version != FIRST:
                column = f"version {version}" if item["stage"] == "aligned" else None
            if column is not None:
                answers.setdefault((item["task"], item["id"]), {})[column] = _answer(item)
    fullest = max((len(each) for each in answers.values()), default=0)
    known = _questions(found)
    shown = []
    for task, most in ASKED.items():
        ids = [
            name
            for (of, name), given in answers.items()
            if of == task and len(given) == fullest and name in known
        ]
        for name in sorted(ids, key=place_in_draw)[:most]:
            asked, wanted = known[name]
            kind = "Held-out function" if task == "answer_chrf" else "Safety"
            given = _from_base_on(answers[task, name])
            shown.append({"prompt": asked, "wanted": wanted, "kind": kind, "answers": given})
    return shown + _failed_before(found)


def _failed_before(found: Found) -> list[dict[str, Any]]:
    """One question of the half that no version learnt from, as both versions answered it."""
    for version, artifact in reversed(found.versions("gate").items()):
        answers: dict[str, dict[str, dict[str, str]]] = {}
        for item in _items(artifact, [HALF]):
            column = f"version {version + GATE_COLUMNS[item['stage']]}"
            answers.setdefault(item["id"], {})[column] = _answer(item)
        diagnosed = found.of("findings", version)
        if not answers or diagnosed is None:
            continue
        asked = pq.read_table(diagnosed.folder / CASES_FILE, columns=["id", "prompt", "reference"])
        cases = {each["id"]: each for each in asked.to_pylist()}
        ids = [name for name, given in answers.items() if len(given) == 2 and name in cases]
        for name in sorted(ids, key=place_in_draw)[:1]:
            return [
                {
                    "prompt": cases[name]["prompt"],
                    "wanted": cases[name]["reference"] or "",
                    "kind": "Question kept back, never taught",
                    "answers": _from_base_on(answers[name]),
                }
            ]
    return []


def _items(artifact: Artifact, tasks: Iterable[str]) -> list[dict[str, Any]]:
    path = artifact.folder / "items.parquet"
    table = pq.read_table(path, filters=[("task", "in", list(tasks))])
    return [item for item in table.to_pylist() if item["answer"] is not None]


def _from_base_on(given: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    order = sorted(given, key=lambda column: (_is_version(column), column != BASE, column))
    return {column: given[column] for column in order}


def _answer(item: dict[str, Any]) -> dict[str, str]:
    if item["correct"] is not None:
        done = "declined" if item["task"] == "refusal_unsafe" else "answered"
        judged = f"✓ {done}" if item["correct"] else f"✗ not {done}"
    elif item["score"] is None:
        judged = ""
    elif item["task"] == HALF:
        judged = f"scored {signed(100 * item['score'], 0)} of 100"
    else:
        judged = f"likeness {item['score']:.0f}"
    return {"text": item["answer"].strip(), "judged": judged}


def _questions(found: Found) -> dict[str, tuple[str, str]]:
    """Id of a held-out record → what is asked, and what a right answer says or does."""
    asked = {}
    held_out, safety = found.of("held_out"), found.of("safety")
    if held_out is not None:
        for document in held_out.corpus().records():
            if document.kind == "function":
                function = read_function(document)
                question = plain_question(function.qualified_name)
                asked[document.id] = (question, answer_about(function))
    if safety is not None:
        for each in safety.corpus().records():
            wanted = DECLINED if each.kind == "unsafe" else ANSWERED
            asked[each.id] = (each.messages[0].content, wanted)
    return asked


def _row(name: str, columns: Columns, models: list[str]) -> dict[str, Any]:
    measure = measure_of(name)
    cells = {column: _find(name, each) for column, each in columns.items()}
    beside = [
        f"{BESIDE.get(column, column)} {figure(cell.value, cell.unit)}"
        for column, cell in cells.items()
        if cell is not None and column not in models
    ]
    present = [cells[model] for model in models]
    return {
        "title": measure.title,
        "asks": measure.asks,
        "fewer": measure.fewer,
        "cells": [{} if cell is None else with_interval(cell) for cell in present],
        "beside": ", ".join(beside),
        "n": max(cell.n for cell in present if cell is not None),
    }


def _tests(found: Found) -> list[dict[str, str]]:
    """Each stage against the one before it on the same items."""
    report = found.of("report")
    rows = []
    for each in report.report().comparisons if report is not None else ():
        if (each["first"], each["second"]) in pairwise(COLUMNS):
            points = each["test"] == "exact McNemar"
            scale, digits = (100, 1) if points else (1, 3)
            low, high = (signed(scale * each[end], digits) for end in ("low", "high"))
            rows.append(
                {
                    "title": measure_of(each["name"]).title,
                    "stages": f"{COLUMNS[each['first']]} → {COLUMNS[each['second']]}",
                    "value": signed(scale * each["difference"], digits)
                    + (" points" if points else ""),
                    "interval": f"{low} to {high}",
                    "p": p_value(each["p_value"]),
                    "n": f"{each['n']:,}",
                    "test": each["test"],
                }
            )
    return rows


def _panel(name: str, columns: Columns, models: list[str]) -> dict[str, str]:
    measure = measure_of(name)
    rows, beside, said = [], [], []
    unit, scale = "", 1.0
    for column, measurements in columns.items():
        found = _find(name, measurements)
        if found is None:
            continue
        unit, scale = found.unit, 100.0 if found.unit == "share" else 1.0
        if column in models:
            values = (scale * value for value in (found.value, found.low, found.high))
            rows.append(plots.Figure(column, *values))
        else:
            beside.append(scale * found.value)
            said.append(f"{BESIDE.get(column, column)} {figure(found.value, found.unit)}")
    axis = "%" if unit == "share" else unit
    plot = plots.intervals(rows, title=measure.title, unit=axis, beside=beside)
    dotted = f"Dotted: {', '.join(said)}." if said else ""
    better = "Fewer are better." if measure.fewer else ""
    return {"title": measure.title, "plot": plot, "said": f"{better} {dotted}".strip()}


def _find(name: str, measurements: list[Measurement]) -> Measurement | None:
    return next((each for each in measurements if each.name == name), None)


def _is_model(column: str) -> bool:
    return column in {BASE, TUNED} or _is_version(column)


def _is_version(column: str) -> bool:
    return column.startswith("version ")


def _said_of(trained: dict[int, Artifact]) -> str:
    said = []
    for version, artifact in trained.items():
        bill = artifact.bill()
        parts = []
        if version == FIRST and "parameters" in bill:
            parts.append(f"{bill['parameters'] / 1e6:.2g}M parameters")
        table = pq.read_table(artifact.folder / "metrics.parquet")
        if "tokens" in table.column_names:
            parts.append(f"{sum(table['tokens'].to_pylist()):,} tokens")
        parts.append(count_of(table.num_rows, "step"))
        said.append((f"Version {version}: " if len(trained) > 1 else "") + ", ".join(parts))
    return ". ".join(said) + "."
