"""`volano show`, `trace`, `diff`: what is in an artifact, where data went, what sets two apart."""

from typing import Annotated, Any

import typer

from volano.cli.run import DEFAULT_STORE, JsonOption, StoreOption


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    for verb in (show, trace, diff):
        app.command()(verb)


def show(
    artifact: Annotated[
        str | None, typer.Argument(help="A name, path or fingerprint; without: all artifacts.")
    ] = None,
    sample: Annotated[
        int, typer.Option("--sample", min=0, help="Texts shown of what each filter dropped.")
    ] = 2,
    dropped_by: Annotated[
        str | None, typer.Option("--dropped-by", help="Show only what this filter dropped.")
    ] = None,
    clusters: Annotated[
        int,
        typer.Option(
            "--clusters", min=0, help="Show so many clusters of copies, the largest first."
        ),
    ] = 0,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="Count tokens in the funnel, too: a tokenizer, by name or folder."),
    ] = None,
    row: Annotated[
        int | None,
        typer.Option(min=0, help="Of packed tokens: the documents in this row, counted from 0."),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Show a store's artifacts, or one of them: funnel and samples, report, or files.

    A release such as @production also shows its history.
    """
    from volano.cli import showing
    from volano.core.store import Store

    opened = Store(store)
    if artifact is None:
        showing.show_store(opened, json)
    else:
        lines = _history(opened, artifact)
        if lines and not json:
            # First: it is there also where the checkpoint that the release stands for is gone.
            showing.print_history(artifact, lines)
        if clusters:
            from volano.cli.clusters import show_clusters

            show_clusters(_found(opened, artifact), clusters, json)
            return
        if row is not None:
            from volano.cli.rows import show_row

            show_row(opened, _found(opened, artifact), row, json)
            return
        counted = None if tokenizer is None else _tokenizer(opened, tokenizer)
        showing.show_artifact(
            opened, _found(opened, artifact), sample, dropped_by, json, lines, counted
        )


def trace(
    reference: Annotated[
        str, typer.Argument(help="A document id such as stdlib:json.dumps, or an artifact.")
    ],
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Of a document: every artifact and checkpoint that saw it. Of an artifact: all its data."""
    from volano.core.errors import StoreError
    from volano.core.store import Store

    opened = Store(store)
    try:
        artifact = opened.find(reference)
    except StoreError:
        artifact = None
    if artifact is not None:
        _trace_artifact(opened, artifact, json)
    else:
        _trace_document(opened, reference, json)


def diff(
    first: Annotated[str, typer.Argument(help="An artifact.")],
    second: Annotated[str, typer.Argument(help="Another.")],
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Say what sets two artifacts apart, down to settings and documents."""
    from dataclasses import asdict

    from volano.cli.output import print_json, print_line
    from volano.core.store import Store
    from volano.study.difference import difference

    opened = Store(store)
    found = difference(opened.find(first), opened.find(second))
    if json:
        print_json(asdict(found))
        return
    print_line("same content" if found.same_content else "different content")
    for title, lines in (
        ("settings", found.settings),
        ("inputs", found.inputs),
        ("versions", found.versions),
    ):
        for line in lines:
            print_line(f"  {title}: {line}")
    if found.only_first is not None:
        print_line(
            f"  records: {found.only_first:,} only in the first, {found.only_second:,} only in "
            f"the second, {found.changed_text:,} with another content"
        )
        for title, ids in (found.samples or {}).items():
            if ids:
                print_line(f"    {title}: {', '.join(ids)}")


def _tokenizer(store: Any, reference: str) -> Any:
    from pathlib import Path

    from volano.text.tokenizer import Tokenizer

    folder = Path(reference).expanduser()
    return Tokenizer.load(folder if folder.is_dir() else store.find(reference).folder)


def _history(store: Any, reference: str) -> list[Any]:
    from volano.core.release import release_history

    return release_history(store, reference[1:]) if reference.startswith("@") else []


def _trace_document(store: Any, document: str, as_json: bool) -> None:
    from dataclasses import asdict

    from volano.cli.output import print_json, print_line, print_table
    from volano.core.lineage import trace_document

    sightings = trace_document(store, document)
    if as_json:
        print_json([asdict(each) for each in sightings])
        return
    print_table(
        ["artifact", "kind", "", "detail"],
        [(each.artifact, each.kind, each.role, each.detail) for each in sightings],
        title=document,
    )
    seen = [each for each in sightings if each.kind == "checkpoint"]
    print_line(
        f"{len(seen)} checkpoint{'' if len(seen) == 1 else 's'} saw this document."
        if seen
        else "No checkpoint saw this document."
    )


def _trace_artifact(store: Any, artifact: Any, as_json: bool) -> None:
    from dataclasses import asdict

    from volano.cli.output import print_json, print_line, print_table
    from volano.core.lineage import ancestors, descendants, sources

    below, above = ancestors(store, artifact), descendants(store, artifact)
    totals = sources(store, artifact)
    if as_json:
        print_json(
            {
                "artifact": store.path_of(artifact),
                "made_from": [asdict(each) for each in below],
                "used_by": [asdict(each) for each in above],
                **totals,
            }
        )
        return
    print_line(store.path_of(artifact))
    for title, found in (("made from", below), ("used by", above)):
        print_table(
            [title, "kind", "as", "steps"],
            [(each.artifact, each.kind, each.input, each.depth) for each in found],
            right=["steps"],
        )
    for title, counts in totals.items():
        rows = sorted(counts.items(), key=lambda pair: -pair[1])
        print_table([title, "records"], [(n, f"{c:,}") for n, c in rows], right=["records"])


def _found(store: Any, reference: str) -> Any:
    """What a reference stands for; the name of an ablation for its verdicts."""
    from difflib import get_close_matches

    from volano.core.errors import StoreError

    try:
        return store.find(reference)
    except StoreError as problem:
        from volano.study.ablation_found import VERDICTS, verdicts_named

        verdicts = verdicts_named(store, reference)
        if verdicts is not None:
            return verdicts
        end = f"/{VERDICTS}"
        named = [each.removesuffix(end) for each in store.labels() if each.endswith(end)]
        near = get_close_matches(reference, named, n=1)
        if not near:
            raise
        raise StoreError(problem.what, problem.where, f"Did you mean '{near[0]}'?") from None
