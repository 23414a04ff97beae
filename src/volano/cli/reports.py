"""How a report is printed: figures, findings, a verdict of a gate, a ladder, an ablation."""

from collections.abc import Mapping
from typing import Any


def print_report(artifact: Any, store: Any) -> None:
    """The tables of a report artifact, which lies in that store."""
    from volano.cli.output import console

    report = artifact.report()
    if (artifact.folder / "findings.json").is_file():
        print_findings(artifact)
    elif "verdict" in report.extra:
        from volano.evaluate.verdict import verdict_of

        print_verdict(verdict_of(report.extra), artifact.name)
        _print_programs(report.extra, "cases")
    elif "ladder" in report.extra:
        from volano.cli.plan_ladder import print_ladder

        print_ladder(report, artifact.name)
    elif "arms" in report.extra:
        from volano.cli.ablate import print_ablation

        print_ablation(artifact, store)
    else:
        from volano.evaluate.table import report_tables

        for table in report_tables(report, artifact.bill(), artifact.name):
            console().print(table)


def print_findings(artifact: Any) -> None:
    """What fails, how often, why, and what data would mend it."""
    from volano.cli.output import print_line, print_table
    from volano.core.files import read_json
    from volano.core.finding import FINDINGS_FILE, load_findings

    _print_programs(read_json(artifact.folder / FINDINGS_FILE), "judged")
    found = load_findings(artifact.folder)
    if not found:
        print_line("Nothing fails often enough to be a finding.")
        return
    print_table(
        ["finding", "what", "cases", "held out", "of its kind", "of all judged"],
        [
            (
                each.id,
                each.title,
                f"{each.cases:,}",
                f"{each.held_out:,}",
                f"{each.alike:,}",
                f"{100 * each.share:.1f} % [{100 * each.low:.1f}, {100 * each.high:.1f}]",
            )
            for each in found
        ],
        title=f"What fails, of {found[0].judged:,} judged answers",
        right=["cases", "held out", "of its kind", "of all judged"],
    )
    for each in found:
        print_line(f"{each.id}, for example: {each.medoid}")
        print_line(f"    answered: {each.medoid_answer}")
        causes = ", ".join(f"{name} {count:,}" for name, count in each.causes.items())
        print_line(f"    causes: {causes}")
        if each.request is not None:
            print_line(f"    asks for up to {each.request.records:,} records. {each.request.what}")


def _print_programs(about: Mapping[str, Any], judged: str) -> None:
    from volano.cli.output import print_line

    scripted = about.get("scripted", 0)  # not counted in reports of former versions
    if scripted:
        print_line(f"{scripted:,} of {about[judged]:,} answers were rated by a program, no person.")


def print_verdict(verdict: Any, name: str) -> None:
    """A gate's tests and what follows from them."""
    from volano.cli.output import print_line, print_table

    print_table(
        ["test", "", "version to version", "limit", "n", ""],
        [_test_row(each) for each in verdict.tests],
        title=f"Gate {name}",
        right=["version to version", "n"],
    )
    print_line(f"{'promote' if verdict.promote else 'refuse'}: {verdict.reason}")
    for request in verdict.requests:
        print_line(f"    the next turn needs {request.records:,} {request.what}")


def _test_row(test: dict[str, Any]) -> tuple[str, ...]:
    bits = test["name"] == "bits_per_byte"  # fewer are better; the gate counts them as losses
    scale, unit, digits = (-1, "", 4) if bits else (100, " points", 1)
    if "p_value" in test:
        limit = f"p = {test['p_value']:.2g}"
    else:
        bound, margin = scale * test["bound"], abs(scale) * test["margin"]
        limit = f"at worst {bound:+.{digits}f}, margin {margin:.{digits}f}"
    return (
        test.get("title", test["name"].replace("_", " ")),
        test["question"],
        f"{scale * test['difference']:+.{digits}f}{unit}",
        limit,
        f"{test['n']:,}",
        "passed" if test["passed"] else "not passed",
    )
