"""The page of an ablation: one HTML file with the question, the verdict and what both rest on.

Made from the verdicts and the store alone, at any later time. Nothing is loaded from elsewhere and
nothing is run; what documents and people wrote is escaped.
"""

from pathlib import Path
from typing import Any

from volano.core.artifact import Artifact
from volano.core.files import atomic_path
from volano.core.store import Store
from volano.study.ablation_found import FoundAblation, FoundTrial, find_ablation
from volano.study.found import Found
from volano.study.plan import differences
from volano.study.report import TEMPLATES, default_path, require_extra, without_pictures
from volano.study.report_origin import (
    DIGEST_CHARACTERS,
    settings_in_effect,
    settings_of,
    versions_of,
)

MOST_CHARACTERS = 100  # of a setting that differs
# Whose settings an arm may differ in.
STAGES = (
    "collected", "planted", "curated", "tokenizer", "tokens", "base", "conversations", "sft",
    "preferences", "aligned", "report",
)  # fmt: skip


def write_ablation_page(store: Store, verdicts: Artifact, out: Path | None = None) -> Path:
    """Write the page of an ablation; the path of the file, by default STORE/reports/NAME.html.

    Raises StoreError where `verdicts` are none, MissingExtra without the extra `serve`.
    """
    found = find_ablation(store, verdicts)
    path = out or default_path(store, found.name)
    text = render_ablation(found)
    with atomic_path(path) as unfinished:
        unfinished.write_text(text, "utf-8")
    return path


def render_ablation(found: FoundAblation) -> str:
    """The page: the same bytes for the same artifacts."""
    require_extra()
    from volano.page.templates import STATIC_FOLDER, environment

    css = [STATIC_FOLDER / "house.css", TEMPLATES / "report.css", TEMPLATES / "ablation.css"]
    template = environment(TEMPLATES).get_template("ablation.html")
    styles = "\n".join(each.read_text("utf-8") for each in css)
    return str(template.render(css=styles, **ablation_values(found)))


def ablation_figures(found: FoundAblation) -> dict[str, Any]:
    """What the page says, without its pictures, for programs."""
    require_extra()
    plain: dict[str, Any] = without_pictures(ablation_values(found))
    return plain


def ablation_values(found: FoundAblation) -> dict[str, Any]:
    """The sections of the page; one of what is not in the store is empty."""
    from volano.study import ablation_data, ablation_verdicts, ablation_words
    from volano.study.ablation_cost import cost_of
    from volano.study.ablation_curves import curves_of

    return {
        "name": found.name,
        "question": ablation_words.question_of(found),
        "headline": ablation_words.headline_of(found),
        "paragraphs": ablation_words.paragraphs_of(found),
        "arms": _arms(found),
        "sizes": [each for each in found.sizes if each],
        "forest": ablation_verdicts.forest_of(found),
        "metrics": ablation_verdicts.metrics_of(found),
        "values_by_seed": ablation_verdicts.seeds_of(found),
        "signal": ablation_verdicts.signal_of(found),
        "training": curves_of(found),
        "data": ablation_data.data_of(found),
        "cost": cost_of(found),
        "failures": ablation_words.failures_of(found),
        "alike": ablation_words.not_trained(found),
        "settings": _settings(found),
        "versions": versions_of(
            _as_run(found, [a for t in found.trials for a in (*t.measured, *t.behind)])
        ),
        "reference": found.store.path_of(found.verdicts),
        "digest": found.verdicts.digest[:DIGEST_CHARACTERS],
    }


def _arms(found: FoundAblation) -> list[dict[str, Any]]:
    """Each arm with its letter, its trials, and the settings in which it differs from the first."""
    first = found.of(found.arms[0])
    described: list[dict[str, Any]] = []
    for name in found.arms:
        trials = found.of(name)
        lines: list[str] = []
        if trials and first and name != found.arms[0]:
            lines = _between(first[0], trials[0])
            # A section that only the first lacks is told by no more than that: so are all like it.
            like = next((each for each in described if lines and each["differs"] == lines), None)
            if like is not None:
                apart = _between(found.of(like["name"])[0], trials[0])
                lines = [*lines, *(f"to {like['letter']}: {each}" for each in apart)]
        described.append(
            {
                "letter": found.letter(name),
                "name": name,
                "measured": sum(each.arm == name and bool(each.measured) for each in found.trials),
                "failed": sum(each.arm == name and bool(each.failure) for each in found.trials),
                "alike": name not in {each.arm for each in found.trials},
                "differs": lines,
            }
        )
    return described


def _between(one: FoundTrial, other: FoundTrial) -> list[str]:
    """The settings in which two trials differ, stage by stage."""
    mine, its = _by_stage(one), _by_stage(other)
    lines = []
    for stage in mine.keys() & its.keys():
        pair = [settings_in_effect(each[stage]) for each in (mine, its)]
        lines += [_cut(f"{stage}: {line}") for line in differences(*pair)]
    return sorted(lines)


def _cut(line: str) -> str:
    # A section that one arm alone has is told whole by its settings, at the foot of the page.
    return line if len(line) <= MOST_CHARACTERS else f"{line[:MOST_CHARACTERS].rstrip()} …"


def _by_stage(trial: FoundTrial) -> dict[str, Artifact]:
    stages: dict[str, Artifact] = {}
    for each in (*trial.measured, *trial.behind):
        stages.setdefault(each.name.rpartition("/")[2], each)
    return {name: each for name, each in stages.items() if name in STAGES}


def _settings(found: FoundAblation) -> str:
    """Of the first arm whose model is in the store, as a recipe; "" where none is."""
    trials = found.of(found.arms[0])
    if not trials:
        return ""
    return settings_of(Found(found.store, found.name, _by_stage(trials[0])))


def _as_run(found: FoundAblation, artifacts: list[Artifact]) -> Found:
    named = {each.fingerprint: each for each in [*artifacts, found.verdicts]}
    return Found(found.store, found.name, named)
