"""What happened, in one paragraph: sentences whose every number comes from an artifact."""

from typing import TYPE_CHECKING

from volano.core.finding import load_findings
from volano.evaluate.gate import verdict_of

if TYPE_CHECKING:
    from volano.study.report import Found


def paragraph(found: "Found") -> str:
    """The sentences that the artifacts allow, in the order of the wheel."""
    return " ".join(
        sentence
        for sentence in (
            _data(found),
            _models(found),
            _people(found),
            _failures(found),
            _verdict(found),
        )
        if sentence
    )


def _data(found: "Found") -> str:
    collected, curated = found.stages.get("collected"), found.stages.get("curated")
    if collected is None:
        return ""
    said = f"{len(collected.corpus()):,} documents were collected"
    if curated is None:
        return f"{said}."
    megabytes = curated.corpus().manifest["text_bytes"] / 1e6
    return f"{said}, and {len(curated.corpus()):,} of them ({megabytes:.1f} MB) kept for training."


def _models(found: "Found") -> str:
    if "base" not in found.stages:
        return ""
    report = found.stages.get("report")
    said = "A small language model was trained on them from nothing"
    if "sft" in found.stages:
        said += ", taught to answer questions about them"
    if "aligned" in found.stages:
        said += ", and aligned to refuse what harms others"
    if report is None:
        return f"{said}."
    refused = report.report().find("refusal_unsafe", "aligned")
    answered = report.report().find("answered_safe", "aligned")
    if refused is None or answered is None:
        return f"{said}."
    return (
        f"{said}: version 1 refuses {100 * refused.value:.0f} % of unsafe requests that it has not "
        f"seen and answers {100 * answered.value:.0f} % of harmless ones that look like them."
    )


def _people(found: "Found") -> str:
    users, ratings = found.last("users"), found.last("ratings")
    if ratings is None:
        return ""
    if users is None:
        return f"People left {len(ratings.corpus()):,} judgements of its answers."
    return (
        f"A scripted user (a program, no person) asked {len(users.corpus()):,} questions over HTTP "
        "and rated each answer by the documentation."
    )


def _failures(found: "Found") -> str:
    artifact = found.last("findings")
    findings = load_findings(artifact.folder) if artifact is not None else []
    asked = [each for each in findings if each.request is not None]
    if not asked:
        return ""
    requested = found.last("requested")
    made = f"{len(requested.corpus()):,} new conversations" if requested else "new data"
    titles = "; ".join(each.title for each in asked)
    many = "cluster" if len(asked) == 1 else "clusters"
    return f"The failures fell into {len(asked)} {many} ({titles}), which were met with {made}."


def _verdict(found: "Found") -> str:
    gate = found.last("gate")
    if gate is None:
        return ""
    verdict = verdict_of(gate.report().extra)
    version = gate.name.rpartition("-")[2]
    done = "was promoted" if verdict.promote else "was not promoted"
    return f"Version {version}, trained on it, {done}: {verdict.reason}."
