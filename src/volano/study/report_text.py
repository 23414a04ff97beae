"""What happened, in one paragraph: sentences whose every number comes from an artifact."""

from typing import Any

from volano.core.feedback import SCRIPTED
from volano.core.finding import load_findings
from volano.core.report import Report
from volano.study.found import Found
from volano.study.words import count_of, measure_of

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def paragraph(found: Found) -> str:
    """The sentences that the artifacts allow, in the order of the wheel."""
    sentences = [_data(found), _models(found)]
    for version in found.turns():
        sentences += [_people(found, version), _failures(found, version), _verdict(found, version)]
    return " ".join(sentence for sentence in sentences if sentence)


def _data(found: Found) -> str:
    collected, curated = found.of("collected"), found.of("curated")
    if collected is None:
        return ""
    manifest = collected.corpus().manifest
    places = count_of(len(manifest["sources"]), "source")
    said = f"{len(collected.corpus()):,} documents were collected from {places}"
    if curated is None:
        return f"{said}."
    megabytes = curated.corpus().manifest["text_bytes"] / 1e6
    return f"{said}; {len(curated.corpus()):,} of them ({megabytes:.1f} MB) were fit to learn from."


def _models(found: Found) -> str:
    base = found.of("base")
    if base is None:
        return ""
    if base.meta["identity"]["step"] == "import":
        done = ["A finished language model was taken in"]
    else:
        parameters = base.bill().get("parameters")
        of = f" of {parameters / 1e6:.2g} million parameters" if parameters else ""
        done = [f"A language model{of} was trained on them from nothing"]
    if found.of("sft") is not None:
        done.append("taught to answer questions")
    if found.of("aligned") is not None:
        done.append("aligned to decline what would harm people")
    said = done[0] if len(done) == 1 else f"{', '.join(done[:-1])} and {done[-1]}"
    report = found.of("report")
    if report is None:
        return f"{said}."
    refused = report.report().find("refusal_unsafe", "aligned")
    answered = report.report().find("answered_safe", "aligned")
    if refused is None or answered is None:
        return f"{said}."
    return (
        f"{said}: this is version 1. Of requests that it had never seen it declines "
        f"{percent(refused.value)} of the unsafe ones and answers {percent(answered.value)} "
        f"of the harmless ones.{_price(report.report())}"
    )


def percent(share: float) -> str:
    """A whole number, unless it would claim all or none."""
    rounded = f"{100 * share:.0f}"
    return f"{100 * share:.1f} %" if rounded in ("0", "100") and share % 1 else f"{rounded} %"


def _price(report: Report) -> str:
    """What alignment cost, where the intervals of the two stages lie apart."""
    before, after = (report.find("choice_pmi", stage) for stage in ("sft", "aligned"))
    if before is None or after is None or after.high >= before.low:
        return ""
    return (
        f" That has its price: of four answers it finds the right one in {percent(after.value)} "
        f"of cases, where the fine-tuned model did in {percent(before.value)}."
    )


def _people(found: Found, version: int) -> str:
    ratings = found.of("ratings", version)
    if ratings is None:
        return ""
    table = ratings.to_arrow(["source", "request_id", "helpful"]).to_pylist()
    asked: dict[str, set[str]] = {}
    for row in table:
        asked.setdefault(row["source"], set()).add(row["request_id"])
    scripted = len(asked.pop(SCRIPTED, ()))
    others = sum(map(len, asked.values()))
    said = []
    if scripted:
        said.append(
            f"Scripted users (a program, no person) put {count_of(scripted, 'question')} to "
            f"version {version - 1} over HTTP and rated each answer"
        )
    if others:
        said.append(f"{'people' if said else 'People'} judged {count_of(others, 'answer')}")
    stars = [row["helpful"] for row in table if row["helpful"] is not None]
    if not said:
        return ""
    sentence = ", and ".join(said)
    if not stars:
        return f"{sentence}."
    poor = sum(each <= 2 for each in stars) / len(stars)
    return f"{sentence}: {100 * poor:.0f} % got one or two stars of five."


def _failures(found: Found, version: int) -> str:
    artifact = found.of("findings", version)
    findings = load_findings(artifact.folder) if artifact is not None else []
    asked = [each for each in findings if each.request is not None]
    if not asked:
        return ""
    titles = "; ".join(each.title for each in asked)
    many = NUMBERS[len(asked)] if len(asked) < len(NUMBERS) else f"{len(asked)}"
    said = (
        f"What was to be mended fell into {many} group{'' if len(asked) == 1 else 's'} ({titles})"
    )
    made = []
    for stage, what in (("requested", "conversation"), ("requested-preferences", "pair")):
        corpus = found.of(stage, version)
        if corpus is not None and len(corpus.corpus()):
            made.append(f"{len(corpus.corpus()):,} {what}s")
    return f"{said}, and {' and '.join(made)} were made to mend it." if made else f"{said}."


def _verdict(found: Found, version: int) -> str:
    gate = found.of("gate", version)
    if gate is None:
        return ""
    verdict: dict[str, Any] = gate.report().extra["verdict"]
    tests = list(verdict["tests"])
    better = next((each for each in tests if each["question"] == "better"), None)
    said = f"Version {version} learnt from them"
    if better is not None and better["test"] != "none":
        low, high = (f"{100 * better[end]:.1f}" for end in ("low", "high"))
        points = f"{abs(100 * better['difference']):.1f} points"
        against = "better" if better["difference"] > 0 else "worse"
        said += (
            f". On the {better['n']:,} questions of these kinds that were kept back, it answers "
            f"{points} {against} (95 % interval {low} to {high})"
        )
    lost = [measure_of(name).title.lower() for name in verdict["lost"]]
    if verdict["promote"]:
        return f"{said}, and nothing that is protected lost its margin: it was promoted."
    lost += [each["title"] for each in tests if "title" in each and not each["passed"]]
    if lost:
        said += f", but a loss beyond the margin is not excluded of {' and '.join(lost)}"
    return f"{said}. It was not promoted."
