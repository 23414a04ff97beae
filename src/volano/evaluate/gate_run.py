"""One gate: both versions asked on the held-out half, and compared on all that was evaluated."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from volano.core.corpus import write_shard
from volano.core.engine import available_cores
from volano.core.feedback import SCRIPTED
from volano.core.finding import CASES_FILE, load_findings
from volano.core.report import Report
from volano.core.step import Context
from volano.evaluate.gate import decide, half_measurements
from volano.evaluate.half import (
    CHOICE,
    Choice,
    choices_among,
    held_out_cases,
    lexical_scores,
    measure_choices,
    measure_half,
)
from volano.evaluate.run import ITEM_SCHEMA, ITEMS_FILE, REPORT_FILE
from volano.evaluate.section import GateSection
from volano.evaluate.stage import Found, Item, Stage, kept, measured, without_error
from volano.evaluate.verdict import Verdict, plain
from volano.model.device import device_for
from volano.model.huggingface import load_checkpoint
from volano.stats.intervals import mean_interval
from volano.text.tokenizer import Tokenizer

EVALUATED_STAGE = "aligned"  # under which a version's report has its figures


def gate(
    section: GateSection,
    *,
    findings: Path,
    versions: Mapping[str, Path],
    reports: Mapping[str, Path],
    context: Context,
) -> None:
    """Write the verdict, the figures behind it and every single result.

    `versions` and `reports` map FORMER and CANDIDATE to folders; `findings` is a diagnosis's.
    """
    rows: list[dict[str, Any]] = pq.read_table(findings / CASES_FILE).to_pylist()
    known = load_findings(findings)
    addressed = [each for each in known if each.request is not None]
    cases = held_out_cases(rows, addressed)
    choices = choices_among(cases)
    threads = torch.get_num_threads()
    torch.set_num_threads(context.workers or available_cores())
    half: list[Item] = []
    device = device_for(context)
    try:
        with context.progress("gate", 2, "versions") as bar:
            for name, folder in versions.items():
                model = load_checkpoint(folder).to(device).eval()
                stage = Stage(name, model, Tokenizer.load(folder))
                measure = partial(_half, stage, cases, choices, section.max_answer_tokens)
                half += kept(context.scratch / f"{name}.json", measure).items
                bar.advance()
    finally:
        torch.set_num_threads(threads)
    rest = [item for name, folder in reports.items() for item in _items(folder, name)]
    finding_of = {str(case["id"]): str(case["alike"]) for case in cases}
    verdict = decide(
        half, rest, section, seed=context.seed, findings=addressed, finding_of=finding_of
    )
    measurements = half_measurements(half, cases, seed=context.seed)
    if len(choices) >= 2:
        lexical = mean_interval(lexical_scores(choices))
        measurements.append(measured(CHOICE, "lexical", lexical))
        measurements.append(without_error(CHOICE, "chance", 0.25, len(choices)))
    table = pa.Table.from_pylist([item._asdict() for item in [*half, *rest]], schema=ITEM_SCHEMA)
    write_shard(context.folder / ITEMS_FILE, table)
    Report(tuple(measurements), verdict.tests, _extra(verdict, known, rows)).save(
        context.folder / REPORT_FILE
    )


def _half(stage: Stage, cases: Sequence[Any], choices: Sequence[Choice], max_tokens: int) -> Found:
    items = measure_half(stage, cases, max_tokens=max_tokens)
    return Found([], items + (measure_choices(stage, choices) if choices else []))


def _extra(verdict: Verdict, known: Sequence[Any], rows: Sequence[Any]) -> dict[str, Any]:
    titles = {each.id: each.title for each in known if each.request is not None}
    scripted = sum(row["source"] == SCRIPTED for row in rows)
    about = {"findings": titles, "cases": len(rows), "scripted": scripted}
    return {"verdict": plain(verdict), **about}


def _items(folder: Path, version: str) -> list[Item]:
    rows = pq.read_table(folder / ITEMS_FILE).to_pylist()
    return [Item(**{**row, "stage": version}) for row in rows if row["stage"] == EVALUATED_STAGE]
