"""The report's sections on making: the wheel, its cost, what came from what, how to repeat it."""

import io
from typing import Any

from volano.core.artifact import Artifact
from volano.core.finding import FINDINGS_FILE, load_findings
from volano.core.release import aliases, current
from volano.curate.quality_section import QUALITY_RULES
from volano.study.found import FIRST, Found, split_version
from volano.study.words import PHASES, count_of, duration, size
from volano.train.section import OF_WHOLE_MODEL

DIGEST_CHARACTERS = 12
# Stage → the section of a recipe that holds its settings.
SECTIONS = {
    "collected": "collect",
    "planted": "plant",
    "curated": "curate",
    "tokenizer": "tokenizer",
    "base": "pretrain",
    "sft": "finetune",
    "aligned": "align",
    "report": "evaluate",
}
# Of the stages of a phase, the one that tells most.
MAIN = (
    "collected", "curated", "tokens", "base", "conversations", "preferences", "ratings",
    "requested", "findings", "gate",
)  # fmt: skip
TURN_SECTIONS = {"users": "users", "ratings": "feedback", "findings": "diagnose", "gate": "gate"}


def wheel_of(found: Found) -> list[dict[str, Any]]:
    """A row of phases per version, each with its time and what came out."""
    return [
        {
            "version": version,
            "phases": [
                {
                    "phase": phase,
                    "seconds": duration(sum(_seconds(each) for _, each in made)),
                    "content": _content_of_phase(dict(made), version),
                }
                for (of, phase), made in _by_phase(found).items()
                if of == version
            ],
        }
        for version in [FIRST, *found.turns()]
    ]


def cost_of(found: Found) -> dict[str, Any]:
    """Seconds and peak memory per phase and stage, from the bills."""
    phases: list[dict[str, Any]] = []
    for (version, phase), made in _by_phase(found).items():
        seconds = sum(_seconds(each) for _, each in made)
        memory = max(_memory(each) for _, each in made)
        phases.append(
            {
                "title": phase,
                "version": version,
                "seconds": seconds,
                "time": duration(seconds),
                "memory": size(memory) if memory else "",
                "stages": [_stage_cost(name, each) for name, each in made],
            }
        )
    bills = [artifact.bill() for artifact in found.stages.values()]
    whole = sum(phase["seconds"] for phase in phases)
    return {
        "phases": [{**each, "share": each["seconds"] / max(whole, 1e-9)} for each in phases],
        "seconds": whole,
        "time": duration(whole),
        "memory": size(max((_memory(each) for each in found.stages.values()), default=0)),
        "size": size(sum(artifact.bytes for artifact in found.stages.values())),
        "machines": sorted({str(bill["machine"]) for bill in bills if "machine" in bill}),
        "finished": max((str(bill.get("finished", "")) for bill in bills), default="")[:10],
    }


def lineage_of(found: Found) -> dict[str, Any]:
    """Each artifact with what it was made from; the straight line from sources to release."""
    rows = [
        {
            "stage": name,
            "kind": artifact.kind,
            "content": content_of(name, artifact),
            "digest": artifact.digest[:DIGEST_CHARACTERS],
            "inputs": [each["name"].partition("/")[2] for each in artifact.parents.values()],
        }
        for name, artifact in found.ordered()
    ]
    return {"rows": rows, "line": _line(found), "strangers": found.strangers()}


def releases_of(found: Found) -> list[dict[str, Any]]:
    """The aliases that stand for a version of this recipe, and whether it is the one shown."""
    rows = []
    shown = {artifact.digest for artifact in found.versions("released").values()}
    for alias in aliases(found.store):
        standing = current(found.store, alias)
        if standing is not None and standing.name.startswith(f"{found.name}/"):
            stage, version = split_version(standing.name.partition("/")[2])
            title = f"version {version}" if stage == "released" else standing.name
            if standing.digest not in shown:
                title = (
                    f"an earlier {title} ({standing.digest[:DIGEST_CHARACTERS]}), not shown here"
                )
            rows.append({"alias": alias, "title": title, "reason": standing.reason})
    return rows


def settings_of(found: Found) -> str:
    """A recipe with every setting that bears identity, as the artifacts record them, in YAML."""
    recipe: dict[str, Any] = {"name": found.name}
    seeds = [artifact.meta["identity"]["seed"] for artifact in found.stages.values()]
    recipe["seed"] = next((each for each in seeds if each is not None), 0)
    for stage, section in SECTIONS.items():
        artifact = found.of(stage)
        recipe[section] = "off" if artifact is None else settings_in_effect(artifact)
    base = found.of("base")
    if base is not None and base.meta["identity"]["step"] == "import":
        del recipe["pretrain"]
    if recipe["collect"] == "off":
        del recipe["collect"]  # what cannot be switched off was given
    for section in ("plant", "curate", "tokenizer"):
        if recipe[section] == "off":
            del recipe[section]
    turns = found.turns()
    if turns:
        for stage, section in TURN_SECTIONS.items():
            artifact = found.of(stage, turns[0])
            if artifact is not None:
                recipe[section] = settings_in_effect(artifact)
        recipe["turn"] = _turn_settings(found, turns[0])
    return _yaml(recipe)


def versions_of(found: Found) -> list[tuple[str, str]]:
    """Package → version, as provenance records them; several where stages were made by several."""
    versions: dict[str, set[str]] = {}
    for artifact in found.stages.values():
        for package, version in artifact.meta.get("provenance", {}).items():
            versions.setdefault(package, set()).add(version)
    return [(package, ", ".join(sorted(each))) for package, each in sorted(versions.items())]


def content_of(name: str, artifact: Artifact) -> str:
    """What an artifact holds, in a few words."""
    if artifact.kind == "corpus" and (artifact.folder / "manifest.json").is_file():
        manifest = artifact.corpus().manifest
        return count_of(int(manifest["records"]), str(manifest["record"]))
    bill = artifact.bill()
    if artifact.kind == "checkpoint" and "parameters" in bill:
        return f"{bill['parameters'] / 1e6:.2g}M parameters"
    stage, _ = split_version(name)
    if stage == "gate" and "verdict" in artifact.report().extra:
        return "promote" if artifact.report().extra["verdict"]["promote"] else "refuse"
    if (artifact.folder / FINDINGS_FILE).is_file():
        return count_of(len(load_findings(artifact.folder)), "finding")
    if artifact.kind == "report":
        return count_of(len(artifact.report().measurements), "figure")
    return size(artifact.bytes)


def _content_of_phase(made: dict[str, Artifact], version: int) -> str:
    for stage in MAIN:
        name = stage if version == FIRST else f"{stage}-{version}"
        if name in made:
            return content_of(name, made[name])
    return ""


def _by_phase(found: Found) -> dict[tuple[int, str], list[tuple[str, Artifact]]]:
    phases: dict[tuple[int, str], list[tuple[str, Artifact]]] = {}
    for name, artifact in found.ordered():
        stage, version = split_version(name)
        phases.setdefault((version, PHASES.get(stage, stage)), []).append((name, artifact))
    # A turn is told in the order of the wheel, whatever its stages wait for.
    order = list(dict.fromkeys(PHASES.values()))
    turning = ["serve and rate", "diagnose", *order]

    def place(key: tuple[int, str]) -> tuple[int, int]:
        version, phase = key
        names = order if version == FIRST else list(dict.fromkeys(turning))
        if version != FIRST:  # it is released after the gate
            names = [each for each in names if each != "release"] + ["release"]
        return version, names.index(phase) if phase in names else len(names)

    return {key: phases[key] for key in sorted(phases, key=place)}


def _line(found: Found) -> list[dict[str, str]]:
    version = max([FIRST, *found.turns()])
    names = ["collected", "curated", "tokens", "base", "sft", "aligned"]
    if version > FIRST:
        names += [f"{name}-{version}" for name in ("ratings", "findings", "sft", "aligned", "gate")]
    if found.of("released", version) is not None:
        names.append("released" if version == FIRST else f"released-{version}")
    return [
        {
            "stage": name,
            "digest": found.stages[name].digest[:DIGEST_CHARACTERS],
            "content": content_of(name, found.stages[name]),
        }
        for name in dict.fromkeys(names)
        if name in found.stages
    ]


def _stage_cost(name: str, artifact: Artifact) -> dict[str, str]:
    bill = artifact.bill()
    memory = _memory(artifact)
    return {
        "stage": name,
        "time": f"{duration(_seconds(artifact))}{_sittings(bill)}" if bill else "",
        "processor": duration(float(bill.get("processor_seconds", 0))) if bill else "",
        "memory": size(memory) if memory else "",
        "size": size(artifact.bytes),
    }


def _sittings(bill: dict[str, Any]) -> str:
    if "sittings" not in bill:
        return ""
    killed = bill["sittings_killed"]
    lost = f", {killed} killed and not counted" if killed else ""
    return f" in {bill['sittings']} sittings{lost}"


def _seconds(artifact: Artifact) -> float:
    return float(artifact.bill().get("seconds", 0.0))


def _memory(artifact: Artifact) -> int:
    return int(artifact.bill().get("peak_memory_bytes", 0))


def settings_in_effect(artifact: Artifact) -> Any:
    """Its settings, but for those that have no effect beside the others: a recipe refuses them."""
    settings = dict(artifact.meta["identity"]["settings"])
    quality = settings.get("quality")
    if isinstance(quality, dict) and "rules" in quality:
        unused = {*QUALITY_RULES}.difference(quality["rules"])
        settings["quality"] = {key: each for key, each in quality.items() if key not in unused}
    if settings.get("lora"):
        settings = {key: each for key, each in settings.items() if key not in OF_WHOLE_MODEL}
    return settings


def _turn_settings(found: Found, version: int) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    tuned, mixed = found.of("sft", version), found.of("conversations", version)
    asked = found.of("requested", version)
    if tuned is not None:
        settings |= {
            key: each for key, each in settings_in_effect(tuned).items() if key == "epochs"
        }
        start = tuned.parents.get("base", {}).get("name", "")
        settings["start"] = "base" if start.endswith("/base") else "sft"
    if mixed is not None:
        settings |= settings_in_effect(mixed)
    if asked is not None:
        settings |= settings_in_effect(asked)
    return settings


def _yaml(value: dict[str, Any]) -> str:
    from ruamel.yaml import YAML

    writer = YAML()
    writer.width = 90
    writer.default_flow_style = False
    written = io.StringIO()
    writer.dump(value, written)
    return written.getvalue()
