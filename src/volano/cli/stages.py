"""Lines and tables that a run prints: one line per finished stage, the stage table at its end."""

from collections.abc import Callable
from typing import Any

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


def notes(artifact: Any) -> list[str]:
    """What a user should know of an artifact without asking: records that could not be read, files
    that were passed over, ids that were changed, a filter that had nothing to compare with, where a
    mixture is not as it was wanted, and text that a run has read more often than that allows.
    """
    if artifact.kind == "checkpoint":
        return _over_limit(artifact.bill())
    if artifact.kind != "corpus":
        return []
    corpus = artifact.corpus()
    found = []
    quarantined = corpus.manifest.get("quarantined", 0)
    if quarantined:
        first = corpus.quarantine().slice(0, 1).to_pylist()[0]
        found.append(
            f"{quarantined:,} record{'' if quarantined == 1 else 's'} in quarantine, first "
            f"{first['where']}: {first['reason']}; all: volano show {artifact.name}"
        )
    passed_over = corpus.manifest.get("passed_over", {})
    if passed_over:
        first = ", ".join(f"{count:,} {what}" for what, count in list(passed_over.items())[:3])
        rest = sum(list(passed_over.values())[3:])
        found.append(f"passed over: {first}" + (f", {rest:,} others" if rest else ""))
    found += corpus.manifest.get("notes", [])  # what kinds of file were not read
    renamed = corpus.manifest.get("repeated_ids", 0)
    if renamed:
        what = "document bears" if renamed == 1 else "documents bear"
        found.append(f"{renamed:,} {what} an id that was taken, and got #2, #3 … behind it")
    if not corpus.manifest["records"] and artifact.name.endswith("/held_out"):
        found.append("nothing is held out: no test split, so nothing is decontaminated against")
    return found + mixture_notes(artifact)


def _over_limit(bill: dict[str, Any]) -> list[str]:
    most, limit = bill.get("most_group_epochs", 0), bill.get("max_epochs", 0)
    if most <= limit:
        return []
    return [
        f"mixture: the run goes over all that was packed more than once, and over some of its text "
        f"{most:.1f} times, where curate.mix.max_epochs is {limit:g}: lower pretrain.tokens"
    ]


def mixture_notes(artifact: Any) -> list[str]:
    """Where the mixture of a corpus is not as it was wanted."""
    from volano.core.mixture import Mixture

    mixture = Mixture.of(artifact.corpus())
    return [] if mixture is None else [f"mixture: {note}" for note in mixture.notes]


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

            print_report(each.artifact)


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
