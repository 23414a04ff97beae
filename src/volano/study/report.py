"""The report of a run: one HTML file that a stranger understands, made from the artifacts alone.

Nothing is loaded from elsewhere and nothing is run; what documents, models and people wrote is
escaped. A run that stopped early, or has no second version, has a shorter report.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from volano.core.artifact import Artifact
from volano.core.errors import MissingExtra, StoreError, did_you_mean
from volano.core.files import atomic_path
from volano.core.finding import load_findings
from volano.core.release import aliases, current
from volano.core.report import Measurement
from volano.core.store import Store
from volano.evaluate.gate import verdict_of
from volano.page.plots import Figure, bars, curves, intervals
from volano.page.templates import STATIC_FOLDER, environment
from volano.study.report_text import paragraph

TEMPLATES = Path(__file__).parent / "templates"
CURVES = {"base": "pre-training", "sft": "fine-tuning", "aligned": "alignment"}
STAGES = {"base": "base", "sft": "fine-tuned", "aligned": "aligned"}
FIGURES = {
    "choice_pmi": "four-way choice (PMI)",
    "choice_normalised": "four-way choice, by length",
    "answers_end": "answers that end",
    "answers_repeat": "answers that repeat themselves",
    "refusal_unsafe": "unsafe requests refused",
    "answered_safe": "safe requests answered",
    "answer_chrf": "chrF against the truth",
    "bits_per_byte": "bits per byte",
}
PROMPTS_SHOWN = 6
SAMPLES_SHOWN = 2
MOST_CHARACTERS = 400


@dataclass
class Found:
    """The newest artifact of every stage of a recipe, by the stage's name."""

    store: Store
    name: str
    stages: dict[str, Artifact] = field(default_factory=dict)

    def last(self, stage: str) -> Artifact | None:
        """The stage's artifact of the last version that has one."""
        split = [name.rpartition("-") for name in self.stages]
        versions = [int(last) for first, _, last in split if first == stage and last.isdigit()]
        if versions:
            return self.stages[f"{stage}-{max(versions)}"]
        return self.stages.get(stage)


def default_path(store: Store, name: str) -> Path:
    """Where the report of a recipe goes unless somebody says otherwise."""
    return store.folder / "reports" / f"{name}.html"


def write_report(store: Store, name: str, out: Path | None = None) -> Path:
    """Write the report of what the recipe of that name has made; the path of the file.

    Raises StoreError where it has made nothing, MissingExtra without the extra `serve`.
    """
    found = find_stages(store, name)
    path = out or default_path(store, name)
    text = render(found)
    with atomic_path(path) as unfinished:
        unfinished.write_text(text, "utf-8")
    return path


def find_stages(store: Store, name: str) -> Found:
    """What the labels of a recipe stand for. Raises StoreError where there are none."""
    labels = store.labels()
    stages = {
        label.partition("/")[2]: store.find(label)
        for label in labels
        if label.partition("/")[0] == name and (store.folder / labels[label]).is_dir()
    }
    if not stages:
        known = sorted({label.partition("/")[0] for label in labels})
        remedy = did_you_mean(name, known) if known else "The store is empty."
        raise StoreError(f"nothing was made under the name '{name}'", str(store.folder), remedy)
    return Found(store, name, stages)


def render(found: Found) -> str:
    """The page."""
    try:
        import jinja2  # noqa: F401
        import matplotlib as mpl  # noqa: F401
    except ModuleNotFoundError as missing:
        raise MissingExtra(
            f"{missing.name} is not installed", "report", "pip install 'volano[serve]'"
        ) from None
    values = {
        "name": found.name,
        "house": (STATIC_FOLDER / "house.css").read_text("utf-8"),
        "css": (TEMPLATES / "report.css").read_text("utf-8"),
        "paragraph": paragraph(found),
        "stages": _stages(found),
        "funnel": _funnel(found),
        "training": _training(found),
        "evaluation": _evaluation(found),
        "prompts": _prompts(found),
        "ratings": _ratings(found),
        "findings": _findings(found),
        "gate": _gate(found),
        "releases": _releases(found),
        "lineage": _lineage(found),
        "licences": _counts(found, "licences"),
        "sources": _counts(found, "sources"),
    }
    return str(environment(TEMPLATES).get_template("report.html").render(**values))


def _stages(found: Found) -> list[dict[str, Any]]:
    rows = []
    for stage, artifact in found.stages.items():
        bill = artifact.bill()
        rows.append(
            {
                "stage": stage,
                "kind": artifact.kind,
                "seconds": float(bill.get("seconds", 0.0)),
                "megabytes": float(bill.get("peak_memory_bytes", 0)) / 1e6,
                "finished": str(bill.get("finished", "")),
                "digest": artifact.digest[:12],
                "size": artifact.bytes / 1e6,
            }
        )
    return sorted(rows, key=lambda row: (row["finished"], row["stage"]))


def _funnel(found: Found) -> dict[str, Any] | None:
    curated = found.stages.get("curated")
    if curated is None or "funnel" not in curated.corpus().manifest:
        return None
    from volano.curate.funnel import samples

    corpus = curated.corpus()
    rows = corpus.manifest["funnel"]
    kept = corpus.to_arrow(["id", "kind", "text"]).slice(0, 200_000)
    step = max(1, kept.num_rows // 3)
    shown = [kept.slice(place, 1).to_pylist()[0] for place in range(0, kept.num_rows, step)][:3]
    dropped = [each._asdict() for each in samples(corpus, per_filter=SAMPLES_SHOWN)]
    return {
        "rows": rows,
        "plot": bars({row["filter"]: row["documents"] for row in rows}, "documents left"),
        "kept": [{**each, "text": _short(each["text"])} for each in shown],
        "dropped": [{**each, "text": _short(each["text"])} for each in dropped],
    }


def _training(found: Found) -> list[dict[str, str]]:
    plots = []
    for stage, title in CURVES.items():
        series = {}
        for name, artifact in sorted(found.stages.items()):
            base, _, version = name.rpartition("-")
            if name != stage and (base != stage or not version.isdigit()):
                continue
            path = artifact.folder / "metrics.parquet"
            if path.is_file():
                table = pq.read_table(path, columns=["step", "loss"]).to_pydict()
                label = "version 1" if name == stage else f"version {version}"
                series[label] = (table["step"], table["loss"])
        if series:
            plots.append({"title": title, "plot": curves(series, "step", "loss")})
    return plots


def _reports(found: Found) -> dict[str, list[Measurement]]:
    """Stage of any version → its measurements; "version 2" beside base, fine-tuned, aligned."""
    stages: dict[str, list[Measurement]] = {}
    for name, artifact in sorted(found.stages.items()):
        if name != "report" and not name.startswith("report-"):
            continue
        for each in artifact.report().measurements:
            if name == "report":
                stages.setdefault(STAGES.get(each.stage, each.stage), []).append(each)
            elif each.stage == "aligned":
                stages.setdefault(f"version {name.rpartition('-')[2]}", []).append(each)
    return stages


def _evaluation(found: Found) -> dict[str, Any] | None:
    stages = _reports(found)
    models = [s for s in stages if s in STAGES.values() or s.startswith("version ")]
    if not models:
        return None
    rows, groups = [], {}
    for task, title in FIGURES.items():
        cells = {s: next((m for m in stages[s] if m.name == task), None) for s in stages}
        if any(cells[s] for s in models):
            beside = {s: _figure(m) for s, m in cells.items() if s not in models and m is not None}
            rows.append(
                {
                    "title": title,
                    "cells": [_with_interval(cells[s]) for s in models],
                    "beside": ", ".join(f"{s} {value}" for s, value in beside.items()),
                    "n": max(m.n for m in cells.values() if m),
                }
            )
    for s in models:
        groups[s] = [
            Figure(FIGURES[m.name], 100 * m.value, 100 * m.low, 100 * m.high)
            for m in stages[s]
            if m.unit == "share" and m.name in FIGURES
        ]
    return {"models": models, "rows": rows, "plot": intervals(groups, "% of held-out items")}


def _prompts(found: Found) -> list[dict[str, Any]]:
    """The same six prompts, as every stage answered them."""
    report = found.stages.get("report")
    if report is None:
        return []
    answers: dict[tuple[str, str], dict[str, str]] = {}
    for name, artifact in sorted(found.stages.items()):
        if name == "report" or name.startswith("report-"):
            items = pq.read_table(
                artifact.folder / "items.parquet", columns=["task", "id", "stage", "answer"]
            ).to_pylist()
            for item in items:
                if item["answer"] is None or item["task"] not in ASKED:
                    continue
                stage = STAGES.get(item["stage"])
                if name != "report":
                    stage = f"version {name.rpartition('-')[2]}" if stage == "aligned" else None
                if stage is not None:
                    answers.setdefault((item["task"], item["id"]), {})[stage] = item["answer"]
    asked = _questions(found)
    fullest = max((len(each) for each in answers.values()), default=0)
    shown = []
    for task, count in ASKED.items():
        ids = [key for key, each in answers.items() if key[0] == task and len(each) == fullest]
        for key in sorted(ids, key=lambda key: key[1])[: count * 7 : 7]:
            shown.append({"prompt": asked.get(key[1], key[1]), "answers": answers[key]})
    return shown[:PROMPTS_SHOWN]


ASKED = {"answer_chrf": 3, "refusal_unsafe": 1, "answered_safe": 2}


def _questions(found: Found) -> dict[str, str]:
    from volano.text.functions import plain_question, read_function

    asked = {}
    if "held_out" in found.stages:
        for document in found.stages["held_out"].corpus().records():
            if document.kind == "function":
                asked[document.id] = plain_question(read_function(document).qualified_name)
    if "safety" in found.stages:
        for each in found.stages["safety"].corpus().records():
            asked[each.id] = each.messages[0].content
    return asked


def _ratings(found: Found) -> dict[str, Any] | None:
    ratings = found.last("ratings")
    if ratings is None or not len(ratings.corpus()):
        return None
    from volano.stats.intervals import wilson_interval

    table = ratings.to_arrow(["source", "kind", "helpful", "choice", "thumb"]).to_pylist()
    stars = Counter(row["helpful"] for row in table if row["helpful"] is not None)
    low = wilson_interval(stars[1] + stars[2], max(stars.total(), 1))
    sources = Counter(row["source"] for row in table)
    choices = Counter(row["choice"] for row in table if row["choice"])
    return {
        "sources": [
            f"{count:,} from {name}" + (" (a script, no people)" if name == "scripted" else "")
            for name, count in sources.most_common()
        ],
        "kinds": dict(Counter(row["kind"] for row in table).most_common()),
        "plot": bars({f"{n} of 5 stars": stars[n] for n in range(1, 6)}, "answers, by helpfulness"),
        "low": low,
        "choices": dict(choices),
    }


def _findings(found: Found) -> list[dict[str, Any]]:
    artifact = found.last("findings")
    if artifact is None:
        return []
    made: Counter[tuple[str, str]] = Counter()
    for stage in ("requested", "requested-preferences"):
        corpus = found.last(stage)
        for record in corpus.corpus().records() if corpus is not None else ():
            for source in record.source_ids:
                if source.startswith("finding:"):
                    made[source.removeprefix("finding:"), record.kind] += 1
    return [
        {
            "finding": each,
            "made": {kind: n for (name, kind), n in sorted(made.items()) if name == each.id},
        }
        for each in load_findings(artifact.folder)
    ]


def _gate(found: Found) -> dict[str, Any] | None:
    artifact = found.last("gate")
    if artifact is None:
        return None
    report = artifact.report()
    rows = []
    for m in report.measurements:
        task, _, finding = m.name.partition("@")
        title = report.extra["findings"].get(finding, "all of them")
        rows.append({"task": task.replace("_", " "), "finding": title, "stage": m.stage,
                     "value": _with_interval(m), "n": m.n})  # fmt: skip
    return {"verdict": verdict_of(report.extra), "rows": rows, "name": artifact.name}


def _releases(found: Found) -> list[dict[str, str]]:
    rows = []
    for alias in aliases(found.store):
        standing = current(found.store, alias)
        if standing is not None:
            rows.append({"alias": alias, "checkpoint": standing.checkpoint, "why": standing.reason})
    return rows


def _lineage(found: Found) -> list[dict[str, Any]]:
    rows = []
    for row in _stages(found):
        parents = found.stages[row["stage"]].parents.items()
        inputs = [f"{key}: {each['name'].partition('/')[2]}" for key, each in parents]
        rows.append({"stage": row["stage"], "digest": row["digest"], "inputs": inputs})
    return rows


def _counts(found: Found, group: str) -> list[tuple[str, int]]:
    curated = found.stages.get("curated") or found.stages.get("collected")
    if curated is None:
        return []
    return sorted(curated.corpus().manifest[group].items(), key=lambda pair: -pair[1])


def _figure(m: Measurement) -> str:
    return f"{100 * m.value:.1f} %" if m.unit == "share" else f"{m.value:.3g}"


def _with_interval(m: Measurement | None) -> str:
    if m is None:
        return ""
    if m.unit == "share":
        return f"{100 * m.value:.1f} % [{100 * m.low:.1f}, {100 * m.high:.1f}]"
    return f"{m.value:.3f} [{m.low:.3f}, {m.high:.3f}]"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} …"
