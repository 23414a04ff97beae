"""What a run would do: per stage, whether it is reused, and if not, why it is made anew."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from volano.core.artifact import Artifact
from volano.core.errors import StoreError
from volano.core.store import Order, Store
from volano.evaluate.verdict import verdict_of
from volano.study.recipe import Recipe
from volano.study.run import check_phase, missing_input, order_of
from volano.study.wheel import Stage
from volano.study.whole import stages_with, whole_stages


@dataclass(frozen=True)
class Intention:
    """What would happen to one stage. `seconds` is what it took the last time, if known."""

    stage: str
    phase: str
    reuse: bool
    why: str
    seconds: float | None


def plan(
    recipe: Recipe,
    store: Store,
    given: Mapping[str, Artifact] | None = None,
    stages: Sequence[Stage] | None = None,
    *,
    only: str | None = None,
) -> list[Intention]:
    """The intentions of a whole run, or of the stages given; nothing is made.

    `only` names the phase that is told of, as `run_only` would make it. A version that the gate has
    refused already is not going to be released.
    """
    if stages is None:
        stages = stages_with(only, recipe, store) if only else whole_stages(recipe, store)
    if only is not None:
        check_phase(only, stages)
    present = dict(given or {})
    rebuilt: set[str] = set()
    intentions = []
    for stage in stages:
        if stage.name in present or _is_refused(stage, present):
            continue
        former = _former(store, f"{recipe.name}/{stage.name}")
        seconds = former.bill().get("seconds") if former else None
        changed = [source for source in stage.inputs.values() if source in rebuilt]
        found = None
        missing = missing_input(stage, recipe)
        if missing is not None:
            why = f"{missing.where}: {missing.what}. {missing.remedy}"
        elif changed:
            why = f"its input {', '.join(changed)} is made anew"
        else:
            order = order_of(stage, recipe, store, present)
            found = store.existing(order)
            why = "same settings and inputs" if found else _why(order, former)
        if found is None:
            rebuilt.add(stage.name)
        else:
            present[stage.name] = found
            seconds = 0.0
        intentions.append(Intention(stage.name, stage.phase, found is not None, why, seconds))
    return [each for each in intentions if only in {None, each.phase}]


def _is_refused(stage: Stage, present: Mapping[str, Artifact]) -> bool:
    gate = present.get(stage.inputs.get("gate", ""))
    return gate is not None and not verdict_of(gate.report().extra).promote


def differences(old: Any, new: Any, key: str = "") -> list[str]:
    """Where two trees of settings differ, as `a.b: old → new`."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for name in sorted({*old, *new}):
            path = f"{key}.{name}" if key else name
            found += differences(old.get(name, "absent"), new.get(name, "absent"), path)
        return found
    if isinstance(old, dict) or isinstance(new, dict):  # a section that one of them has
        switched = ("on" if isinstance(each, dict) else _switched(each) for each in (old, new))
        return [f"{key}: {' → '.join(switched)}"]
    return [] if old == new else [f"{key}: {_written(old)} → {_written(new)}"]


def _switched(value: Any) -> str:
    return "off" if value in (None, False, "absent") else _written(value)


def _written(value: Any) -> str:
    """As a recipe has it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "not set" if value is None else str(value)


def _former(store: Store, name: str) -> Artifact | None:
    try:
        return store.find(name)
    except StoreError:
        return None


def _why(order: Order, former: Artifact | None) -> str:
    if former is None:
        return "never made"
    old, new = former.meta["identity"], order.identity()
    reasons = differences(old["settings"], new["settings"])
    if old["version"] != new["version"]:
        reasons.append(f"step version {old['version']} → {new['version']}")
    if old["seed"] != new["seed"]:
        reasons.append(f"seed: {old['seed']} → {new['seed']}")
    if old["listing"] != new["listing"]:
        reasons.append("what it reads outside the store has changed")
    changed = [
        name for name, digest in new["parents"].items() if old["parents"].get(name) != digest
    ]
    if changed:
        reasons.append(f"its input {', '.join(changed)} has another content")
    return "; ".join(reasons) or "its folder was deleted or damaged"
