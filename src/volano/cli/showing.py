"""What `volano show` prints of each kind of artifact."""

from collections.abc import Callable
from dataclasses import asdict
from itertools import groupby
from typing import Any

from volano.cli.dynamics import print_training, training_of
from volano.cli.output import duration, print_json, print_line, print_table, size, time_of_day

EXCERPT_CHARACTERS = 160
FEW_RECORDS, MOST_RECORDS = (
    5,
    20,
)  # of the quarantine: printed, and in JSON; --sample may ask for more
MOST_GROUPS = 40  # of a mixture


def show_store(store: Any, as_json: bool) -> None:
    """All artifacts, the name that stands for each, and every release's history."""
    from volano.core.release import aliases, current, release_history

    releases = aliases(store)
    standing = {
        alias: promotion.checkpoint for alias in releases if (promotion := current(store, alias))
    }
    labelled = set(store.labels().values())
    rows = [
        {
            "artifact": store.path_of(each),
            "kind": each.kind,
            "bytes": each.bytes,
            "seconds": each.bill().get("seconds"),
            "current": store.path_of(each) in labelled,
            "releases": [f"@{a}" for a, path in standing.items() if path == store.path_of(each)],
        }
        for each in store.artifacts()
    ]
    if as_json:
        print_json(rows)
    elif not rows:
        print_line(f"{store.folder}: no artifacts yet. Make some: volano run tiny/python-docs")
    else:
        print_table(
            ["artifact", "kind", "size", "made in", "current"],
            [
                (
                    row["artifact"],
                    row["kind"],
                    size(row["bytes"]),
                    duration(row["seconds"]),
                    "yes" if row["current"] else "",
                )
                for row in rows
            ],
            right=["size", "made in"],
        )
        for alias in releases:
            print_history(f"@{alias}", release_history(store, alias))


def print_history(release: str, history: list[Any]) -> None:
    """What a release stood for, oldest first; the last line says what it stands for now."""
    print_table(
        ["time", "action", "checkpoint", "reason", "gate"],
        [
            (
                time_of_day(each.time),
                each.action,
                each.checkpoint,
                each.reason,
                each.gates or "",
            )
            for each in history
        ],
        title=f"{release} stands for {history[-1].checkpoint}",
        whole=["time"],
    )


def show_artifact(
    store: Any,
    artifact: Any,
    sample: int,
    dropped_by: str | None,
    as_json: bool,
    history: list[Any],
    tokenizer: Any = None,
) -> None:
    """One artifact: a corpus with funnel and samples, a report with its table, else its files.

    `history` is that of the release by which it was named, if it was; a tokenizer counts the tokens
    of the funnel.
    """
    if artifact.kind == "report" and not as_json:
        from volano.cli.reports import print_report

        print_report(artifact, store)
        if "arms" in artifact.report().extra:
            from volano.cli.ablate import print_models

            print_models(store, artifact)
        return
    plain: dict[str, Any] = {
        "artifact": store.path_of(artifact),
        "kind": artifact.kind,
        "name": artifact.name,
        "fingerprint": artifact.fingerprint,
        "digest": artifact.digest,
        "settings": artifact.meta["identity"]["settings"],
        "parents": artifact.parents,
        "bill": artifact.bill(),
    }
    if history:
        plain["history"] = [asdict(each) for each in history]
    if artifact.kind == "corpus":
        _add_corpus(plain, artifact, sample, dropped_by, tokenizer)
    elif artifact.kind == "tokens":
        _add_mixture(plain, artifact)
    elif artifact.kind == "report":
        plain["report"] = asdict(artifact.report())
        if "arms" in artifact.report().extra:
            from volano.cli.ablate import models_of

            plain["models"] = models_of(store, artifact)
    elif artifact.kind == "checkpoint":
        plain["training"] = training_of(artifact.folder)
    if as_json:
        print_json(plain)
        return
    print_line(f"{plain['artifact']}  ({artifact.kind}, {size(artifact.bytes)})")
    if artifact.kind == "corpus":
        _print_corpus(plain, sample)
        return
    rows = [(name, size(each["bytes"])) for name, each in artifact.meta["files"].items()]
    print_table(["file", "size"], rows, right=["size"])
    if "mixture" in plain:
        _print_packed_mixture(plain["mixture"])
    if "training" in plain:
        print_training(plain["training"], plain["bill"])


def _add_corpus(
    plain: dict[str, Any], artifact: Any, sample: int, dropped_by: str | None, tokenizer: Any
) -> None:
    corpus = artifact.corpus()
    plain["manifest"] = corpus.manifest
    plain["quarantine"] = corpus.quarantine().slice(0, max(MOST_RECORDS, sample)).to_pylist()
    _add_mixture(plain, artifact)
    if "decision" not in corpus.groups():
        return
    from volano.core.errors import DataError, did_you_mean
    from volano.curate.decision import FILTERS
    from volano.curate.funnel import funnel, funnel_tokens, samples

    if dropped_by is not None and dropped_by not in FILTERS:
        raise DataError(
            f"no filter '{dropped_by}'", "--dropped-by", did_you_mean(dropped_by, FILTERS)
        )
    from volano.curate.boilerplate import cut_samples

    filters = FILTERS if dropped_by is None else (dropped_by,)
    if sample and dropped_by in (None, "boilerplate"):
        plain["boilerplate"] = [each._asdict() for each in cut_samples(corpus, 3 * sample)]
    rows = funnel(corpus)
    plain["funnel"] = [row._asdict() for row in rows]
    if tokenizer is not None:
        from volano.core.progress import progress

        with progress("count tokens", rows[0].documents, "documents") as bar:

            def encode(texts: list[str]) -> list[list[int]]:
                found: list[list[int]] = tokenizer.encode_batch(texts)
                bar.advance(len(texts))
                return found

            tokens = funnel_tokens(corpus, rows, encode)
        for row, count in zip(plain["funnel"], tokens, strict=True):
            row["tokens"] = count
    found = samples(corpus, per_filter=sample, filters=filters) if sample else []
    plain["samples"] = [each._asdict() for each in found]


def _add_mixture(plain: dict[str, Any], artifact: Any) -> None:
    from volano.core.files import read_json
    from volano.core.mixture import MIXTURE_FILE

    path = artifact.folder / MIXTURE_FILE
    if path.is_file():
        plain["mixture"] = read_json(path)


def _print_corpus(plain: dict[str, Any], sample: int) -> None:
    manifest = plain["manifest"]
    print_line(f"{manifest['records']:,} records, {size(manifest['text_bytes'])} of text")
    kinds = ", ".join(f"{name} {count:,}" for name, count in manifest["kinds"].items())
    print_line(f"kinds: {kinds}")
    for note in manifest.get("notes", []):
        print_line(f"note: {note}")
    if "funnel" in plain:
        _print_funnel(plain["funnel"])
        if plain.get("boilerplate"):
            print_line("cut out as boilerplate:")
        for each in plain.get("boilerplate", []):
            line = each["line"][:EXCERPT_CHARACTERS]
            print_line(f"    {each['site']}, {each['documents']:,} documents: {line}")
        for filter_name, group in groupby(plain["samples"], key=lambda each: each["filter"]):
            print_line(f"dropped by {filter_name}:")
            for each in group:
                text = " ".join(each["text"].split())[:EXCERPT_CHARACTERS]
                print_line(f"    {each['id']} ({reason(each)}): {text}")
        if "mixture" in plain:
            print_mixture(plain["mixture"])
    else:
        rows = sorted(manifest["sources"].items(), key=lambda pair: -pair[1])[:40]
        print_table(["source", "records"], [(n, f"{c:,}") for n, c in rows], right=["records"])
    for what, count in manifest.get("passed_over", {}).items():
        print_line(f"passed over: {count:,} {what}")
    if manifest["quarantined"]:
        count = manifest["quarantined"]
        print_line(f"{count:,} record{'' if count == 1 else 's'} in quarantine:")
        shown = plain["quarantine"][: max(FEW_RECORDS, sample)]
        for each in shown:
            print_line(f"    {each['where']}: {each['reason']}")
        if len(shown) < count:
            print_line(f"    and {count - len(shown):,} more: --sample {count} shows all")


def reason(decision: dict[str, Any]) -> str:
    """Why a document was dropped: the rule or the other document, the value and the threshold."""
    parts = [decision["evidence"] or ""]
    if decision["value"] is not None and decision["threshold"] is not None:
        parts.append(f"{decision['value']:.3g} against {decision['threshold']:.3g}")
    return ", ".join(part for part in parts if part) or decision["filter"]


def _print_funnel(rows: list[dict[str, Any]]) -> None:
    cuts = [row.get("bytes_cut", 0) for row in rows]  # a corpus of before has no such field
    names = ["documents dropped", "bytes dropped", "documents left", "bytes left"]
    names += ["tokens left"] if "tokens" in rows[0] else []
    print_table(
        ["filter", *names, *(["bytes cut out"] if any(cuts) else [])],
        [
            (
                row["filter"],
                f"{row['documents_dropped']:,}",
                size(row["bytes_dropped"]),
                f"{row['documents']:,}",
                size(row["bytes"]),
                *([f"{row['tokens']:,}"] if "tokens" in row else []),
                *([size(cut) if cut else ""] if any(cuts) else []),
            )
            for row, cut in zip(rows, cuts, strict=True)
        ],
        right=[*names, "bytes cut out"],
    )


def print_mixture(mixture: dict[str, Any]) -> None:
    """How often training reads each group of a corpus, and where a wish was not met."""
    names = ["documents", "bytes", "natural share", "wanted share", "got share", "epochs"]
    _print_groups(
        mixture,
        names,
        lambda each: (
            f"{each['documents']:,}",
            size(each["bytes"]),
            *(f"{each[name]:.2%}" for name in ("natural_share", "wanted_share", "got_share")),
            f"{each['epochs']:.2f}",
        ),
        largest_by="bytes_read",
    )
    for note in mixture["notes"]:
        print_line(f"note: {note}")


def _print_packed_mixture(mixture: dict[str, Any]) -> None:
    _print_groups(
        mixture,
        ["documents", "tokens", "share", "epochs"],
        lambda each: (
            f"{each['documents']:,}",
            f"{each['tokens']:,}",
            f"{each['share']:.2%}",
            f"{each['epochs']:.2f}",
        ),
        largest_by="tokens",
    )


def _print_groups(
    mixture: dict[str, Any],
    columns: list[str],
    cells: Callable[[dict[str, Any]], tuple[str, ...]],
    *,
    largest_by: str,
) -> None:
    from volano.core.mixture import largest_first

    groups = mixture["groups"]
    shown = largest_first(groups, largest_by, MOST_GROUPS)
    rows = [(each["group"], *cells(each)) for each in shown]
    print_table([f"mixed by {mixture['by']}", *columns], rows, right=columns)
    if len(groups) > len(shown):
        print_line(f"and {len(groups) - len(shown):,} groups more: --json has them all")
