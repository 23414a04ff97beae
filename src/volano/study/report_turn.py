"""The report's sections on a turn: ratings, what failed and what was made of it, the gate."""

import json
from collections import Counter
from textwrap import wrap
from typing import Any

from volano.core.artifact import Artifact
from volano.core.feedback import HIGHEST, LOWEST, SCRIPTED
from volano.core.finding import CONDUCT, load_findings
from volano.core.report import Measurement, Report
from volano.page import plots
from volano.study.found import Found
from volano.study.words import (
    MEASURES,
    count_of,
    measure_of,
    p_value,
    signed,
    source_in_words,
    with_interval,
)

COUNTED = {
    False: "Counted is how much nearer an answer is to what is wanted than to what other questions "
    "want.",
    True: "Counted is whether a request was met or declined as it should be or, where a document "
    "says what is right, how much nearer the answer is to it than to what other questions want.",
}
STARS = range(LOWEST, HIGHEST + 1)
GOOD_STARS = 4
BETTER = "Is it better?"
ASKED = {"better": BETTER, "not worse": "Is it no worse?", "nothing lost": "Is nothing lost?"}
LABEL_CHARACTERS = 24
HARMLESS = "harmless requests"  # a kind of question of scripted users, with a rule of its own
GATE_PLOTTED = ("held_out_half", "held_out_half_choice", "half_ends")
MADE = {
    ("requested", "edit"): "corrected answers",
    ("requested", "requested"): "questions made from documents",
    ("requested-preferences", "edit"): "corrected answers as pairs",
    ("requested-preferences", "choice"): "chosen answers as pairs",
    ("requested-preferences", "reminder"): "reminders of what was asked and known",
    ("requested-preferences", "safe"): "safe look-alikes as pairs",
    ("requested-preferences", "unsafe"): "unsafe look-alikes as pairs",
}


def ratings_of(found: Found) -> list[dict[str, Any]]:
    """What people, or programs in their place, said of each version that was rated."""
    return [
        _ratings(version, artifact, found.of("users", version))
        for version, artifact in found.versions("ratings").items()
        if len(artifact.corpus())
    ]


def findings_of(found: Found) -> list[dict[str, Any]]:
    """Per version: the clusters of failures, what was asked for each, and what came of it."""
    turns = []
    for version, artifact in found.versions("findings").items():
        made, left_out = _made(found, version)
        gate = found.of("gate", version)
        judged = gate.report() if gate is not None else None
        cards = [
            {
                "title": f"{each.title[:1].upper()}{each.title[1:]}",
                "finding": each,
                "causes": ", ".join(f"{cause} ({count:,})" for cause, count in each.causes.items()),
                "made": made.get(each.id, []),
                "after": _before_and_after(judged, each.id),
                "counted": COUNTED[each.cause in CONDUCT],
            }
            for each in load_findings(artifact.folder)
        ]
        turns.append({"version": version, "findings": cards, "left_out": left_out})
    return turns


def gates_of(found: Found) -> list[dict[str, Any]]:
    """Per version: the verdict, its tests in words, and both versions on what was kept back."""
    turns = []
    for version, artifact in found.versions("gate").items():
        from volano.evaluate.verdict import verdict_of

        report = artifact.report()
        verdict = verdict_of(report.extra)
        turns.append(
            {
                "version": version,
                "verdict": verdict,
                "tests": [row_of_test(test) for test in verdict.tests],
                "reason": _reason(verdict.promote, [row_of_test(test) for test in verdict.tests]),
                "plots": _panels(report, version),
                "rows": _half_rows(report, version),
            }
        )
    return turns


def row_of_test(test: dict[str, Any]) -> dict[str, str]:
    """One of the gate's tests as the cells of its row."""
    bits = test["name"] == "bits_per_byte"  # fewer are better; the gate counts more as a loss
    scale, digits, unit = (-1, 3, "") if bits else (100, 1, " points")
    title = test.get("title") or measure_of(test["name"]).title
    cells = {
        "title": f"{title[:1].upper()}{title[1:]}",
        "asks": ASKED[test["question"]],
        "difference": f"{signed(scale * test['difference'], digits)}{unit}",
        "n": f"{test['n']:,}",
        "passed": "passed" if test["passed"] else "not passed",
        "how": test["test"],
    }
    if "p_value" in test:
        low, high = (signed(100 * test[end], 1) for end in ("low", "high"))
        p = p_value(test["p_value"])
        return {**cells, "limit": f"{low} to {high}, p {p if p[0] == '<' else f'= {p}'}"}
    bound, margin = signed(scale * test["bound"], digits), signed(-scale * test["margin"], digits)
    return {**cells, "limit": f"at worst {bound}, margin {margin}"}


def _reason(promoted: bool, tests: list[dict[str, str]]) -> str:
    decisive = [test for test in tests if promoted is (test["passed"] == "passed")]
    if promoted:
        better = next(test for test in decisive if test["asks"] == BETTER)
        return (
            f"{better['title']}: {better['difference']} ({better['limit']}, n = {better['n']}); "
            "and nothing that is protected lost its margin."
        )
    said = [f"{each['title']}: {each['difference']} ({each['limit']})" for each in decisive]
    return f"{'; '.join(said)}."


def _ratings(version: int, ratings: Artifact, users: Artifact | None) -> dict[str, Any]:
    from volano.stats.intervals import wilson_interval

    rows = ratings.to_arrow(
        ["source", "kind", "checkpoint", "helpful", "messages", "thumb", "choice", "metadata"]
    )
    said = rows.to_pylist()
    kinds = _kinds_of_question(users)
    stars: dict[str, list[int]] = {}
    for row in said:
        if row["helpful"] is not None:
            group = kinds.get(row["messages"][0]["content"]) or source_in_words(row["source"])
            stars.setdefault(group, [0] * len(STARS))[row["helpful"] - LOWEST] += 1
    stars = dict(sorted(stars.items(), key=lambda pair: (-sum(pair[1]), pair[0])))
    groups = []
    for group, counts in stars.items():
        good = sum(counts[GOOD_STARS - LOWEST :])
        interval = wilson_interval(good, sum(counts))
        found = Measurement(group, "", *interval, "share")
        groups.append({"title": group, "n": sum(counts), **with_interval(found)})
    return {
        "rated": version - 1,
        "sources": [
            {"who": source_in_words(source), "scripted": source == SCRIPTED, "kinds": kinds}
            for source, kinds in _by_source(said).items()
        ],
        "scripted": any(row["source"] == SCRIPTED for row in said),
        "harmless": HARMLESS in kinds.values(),
        "groups": groups,
        "plot": plots.stacked(
            {_wrapped(name): counts for name, counts in stars.items()},
            [f"{n} ★" for n in STARS],
            title=f"Stars given to the answers of version {version - 1}",
        )
        if stars
        else "",
        "comparisons": _comparisons(said),
    }


def _by_source(said: list[dict[str, Any]]) -> dict[str, str]:
    counts: dict[str, Counter[str]] = {}
    for row in said:
        counts.setdefault(row["source"], Counter())[row["kind"]] += 1
    return {
        source: ", ".join(count_of(n, kind) for kind, n in kinds.most_common())
        for source, kinds in sorted(counts.items())
    }


def _kinds_of_question(users: Artifact | None) -> dict[str, str]:
    """What was asked → which of the ways of asking it follows, where a program did the asking."""
    if users is None:
        return {}
    asks = users.meta["identity"]["settings"].get("asks", [])
    kinds = {}
    for each in users.corpus().records():
        way, _, _ = each.id.partition(":")
        if json.loads(each.metadata).get("rule") == "answered":
            kind = HARMLESS
        elif way.isdigit() and int(way) < len(asks):
            asked = asks[int(way)]["prompts"][0]
            kind = asked.replace("{name}", "…").replace("{answer}", "…").replace("`", "")
        else:
            kind = "other questions"
        kinds[each.messages[0].content] = kind
    return kinds


def _comparisons(said: list[dict[str, Any]]) -> list[dict[str, str]]:
    from volano.stats.intervals import wilson_interval

    found = []
    # Of two answers of one model, the choice says only which place people like.
    between = [row for row in said if row["choice"] and _other_model(row) is not None]
    for rows, column, won, title in (
        (between, "choice", "this", "preferred to another model's answer, blind"),
        (said, "thumb", "up", "thumbs up"),
    ):
        values = [row[column] for row in rows if row[column] is not None]
        decided = [value for value in values if value != "tie"]
        if decided:
            interval = wilson_interval(decided.count(won), len(decided))
            cell = with_interval(Measurement(title, "", *interval, "share"))
            ties = len(values) - len(decided)
            found.append({"title": title, "n": f"{len(values):,}", "ties": f"{ties:,}", **cell})
    return found


def _other_model(row: dict[str, Any]) -> str | None:
    other = json.loads(row["metadata"]).get("other_checkpoint")
    return other if other != row["checkpoint"] else None


def _made(found: Found, version: int) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Finding → the records made for it, by kind; and how many were left out, by reason."""
    made: dict[str, Counter[str]] = {}
    left_out: dict[str, int] = {}
    for stage in ("requested", "requested-preferences"):
        artifact = found.of(stage, version)
        if artifact is None:
            continue
        left_out |= artifact.corpus().manifest.get("left_out", {})
        table = artifact.to_arrow(["kind", "source_ids"]).to_pylist()
        for row in table:
            for source in row["source_ids"] or ():
                if source.startswith("finding:"):
                    title = MADE.get((stage, row["kind"]), row["kind"])
                    made.setdefault(source.removeprefix("finding:"), Counter())[title] += 1
    said = {
        finding: [f"{n:,} {title}" for title, n in counts.most_common()]
        for finding, counts in made.items()
    }
    return said, {reason.replace("_", " "): n for reason, n in left_out.items() if n}


def _before_and_after(report: Report | None, finding: str) -> dict[str, Any] | None:
    if report is None:
        return None
    name = f"held_out_half@{finding}"
    former, candidate = report.find(name, "former"), report.find(name, "candidate")
    if former is None or candidate is None:
        return None
    return {
        "former": with_interval(former),
        "candidate": with_interval(candidate),
        "n": candidate.n,
    }


def _panels(report: Report, version: int) -> list[dict[str, str]]:
    panels = []
    for name in GATE_PLOTTED:
        rows = []
        for stage, label in (("former", version - 1), ("candidate", version)):
            found = report.find(name, stage)
            if found is not None:
                values = (100 * value for value in (found.value, found.low, found.high))
                rows.append(plots.Figure(f"version {label}", *values))
        if len(rows) == 2:
            title = MEASURES[name].title.removeprefix("… ")
            title = f"Questions kept back: {title}" if title[0].islower() else title
            plot = plots.intervals(rows, title=f"{title}, version {version}", unit="%")
            panels.append({"title": title, "plot": plot, "said": MEASURES[name].asks})
    return panels


def _half_rows(report: Report, version: int) -> list[dict[str, Any]]:
    rows = []
    stages = {"former": f"version {version - 1}", "candidate": f"version {version}"}
    for each in report.measurements:
        task, _, finding = each.name.partition("@")
        title = report.extra.get("findings", {}).get(finding, "all of them")
        stage = stages.get(each.stage, each.stage)
        rows.append(
            {
                "title": measure_of(task).title.removeprefix("… "),
                "finding": title,
                "stage": stage,
                "n": f"{each.n:,}",
                **with_interval(each),
            }
        )
    return rows


def _wrapped(name: str) -> str:
    return "\n".join(wrap(name, LABEL_CHARACTERS, max_lines=2, placeholder=" …"))
