"""What an ablation cost: each artifact once, under the arm that needs it or under what several
share."""

from typing import Any

from volano.core.artifact import Artifact
from volano.study.ablation_found import FoundAblation
from volano.study.words import PHASES, duration

SHARED, ALL = "shared", "in all"
JUDGED, MEASURED = "judge", "evaluate"


def cost_of(found: FoundAblation) -> dict[str, Any]:
    """Seconds and processor seconds by phase and arm, from the bills.

    What was made for several arms stands under `shared`, so nothing is counted twice. An artifact
    that was there before the ablation counts too, with what it cost when it was made.
    """
    needed: dict[str, tuple[Artifact, set[str]]] = {}
    for trial in (*found.trials, *found.signalling):
        for artifact in (*trial.measured, *trial.behind):
            needed.setdefault(artifact.fingerprint, (artifact, set()))[1].add(trial.arm)
    needed[found.verdicts.fingerprint] = (found.verdicts, set(found.arms))
    cells: dict[str, dict[str, list[Artifact]]] = {}
    for artifact, arms in needed.values():
        column = found.letter(next(iter(arms))) if len(arms) == 1 else SHARED
        cells.setdefault(_phase(artifact, found), {}).setdefault(column, []).append(artifact)
    order = list(dict.fromkeys([*PHASES.values(), MEASURED, JUDGED]))
    columns = [SHARED, *(found.letter(each) for each in found.arms), ALL]
    rows = [
        {"title": phase, "cells": [_cell(_in(cells[phase], column)) for column in columns]}
        for phase in sorted(
            cells, key=lambda each: order.index(each) if each in order else len(order)
        )
    ]
    everything = [artifact for artifact, _ in needed.values()]
    whole = [_cell([a for phase in cells.values() for a in _in(phase, each)]) for each in columns]
    bills = [each.bill() for each in everything]
    return {
        "columns": columns,
        "rows": rows,
        "whole": whole,
        "time": duration(_sum(everything, "seconds")),
        "processor": duration(_sum(everything, "processor_seconds")),
        "machines": sorted({str(each["machine"]) for each in bills if "machine" in each}),
        "finished": max((str(each.get("finished", "")) for each in bills), default="")[:10],
    }


def _phase(artifact: Artifact, found: FoundAblation) -> str:
    if artifact.fingerprint == found.verdicts.fingerprint:
        return JUDGED
    stage = artifact.name.rpartition("/")[2]
    return PHASES.get(stage, MEASURED if artifact.kind == "report" else stage)


def _in(cells: dict[str, list[Artifact]], column: str) -> list[Artifact]:
    if column == ALL:
        return [each for those in cells.values() for each in those]
    return cells.get(column, [])


def _cell(artifacts: list[Artifact]) -> dict[str, str]:
    if not artifacts:
        return {}
    return {
        "value": duration(_sum(artifacts, "seconds")),
        "interval": duration(_sum(artifacts, "processor_seconds")),
    }


def _sum(artifacts: list[Artifact], name: str) -> float:
    return sum(float(each.bill().get(name, 0.0)) for each in artifacts)
