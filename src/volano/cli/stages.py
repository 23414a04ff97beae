"""Lines and tables that a run prints: one line per finished stage, the stage table at its end."""

from collections.abc import Callable
from typing import Any

from volano.cli.notes import notes
from volano.cli.output import duration, print_json, print_line, print_table, size


def reporter(store: Any, as_json: bool) -> Callable[[Any], None]:
    """A function that prints one line per outcome."""

    def report(outcome: Any) -> None:
        if as_json:
            return
        how = "reused" if outcome.reused else f"made in {duration(outcome.seconds)}"
        path = store.path_of(outcome.artifact)
        print_line(f"  {outcome.stage.name:<18} {how:<18} {content(outcome.artifact):<34} {path}")
        for note in notes(outcome.artifact):
            print_line(f"    {note}")

    return report


def content(artifact: Any) -> str:
    """What an artifact holds, in a few words."""
    if artifact.kind == "corpus":
        manifest = artifact.corpus().manifest
        return f"{manifest['records']:,} {manifest['record']}s, {size(manifest['text_bytes'])}"
    return size(artifact.bytes)


def finish(outcomes: list[Any], store: Any, as_json: bool) -> None:
    """The stage table, and where to look next."""
    if as_json:
        print_json([as_plain(each, store) for each in outcomes])
        return
    print_table(
        ["stage", "phase", "", "seconds", "peak memory", "content"],
        [
            (
                each.stage.name,
                each.stage.phase,
                "reused" if each.reused else "made",
                f"{each.artifact.bill().get('seconds', 0):.1f}",
                size(each.artifact.bill().get("peak_memory_bytes", 0)),
                content(each.artifact),
            )
            for each in outcomes
        ],
        right=["seconds", "peak memory"],
    )
    for each in outcomes:
        if each.artifact.kind == "report":
            from volano.cli.reports import print_report

            print_report(each.artifact, store)


def as_plain(outcome: Any, store: Any) -> dict[str, Any]:
    """An outcome as JSON."""
    plain = {
        "stage": outcome.stage.name,
        "phase": outcome.stage.phase,
        "reused": outcome.reused,
        "seconds": round(outcome.seconds, 2),
        "artifact": store.path_of(outcome.artifact),
        "digest": outcome.artifact.digest,
        "bill": outcome.artifact.bill(),
        "notes": notes(outcome.artifact),
    }
    if outcome.artifact.kind == "report":
        from dataclasses import asdict

        plain["report"] = asdict(outcome.artifact.report())
    return plain
