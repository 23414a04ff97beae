"""`volano recut`, `inspect` and `forget`: what a curated corpus is, and what else it could be."""

from typing import Annotated, Any

import typer

from volano.cli.run import DEFAULT_STORE, JsonOption, StoreOption


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    for verb in (recut, inspect, forget):
        app.command()(verb)


def recut(
    corpus: Annotated[str, typer.Argument(help="A curated corpus, such as python-docs/curated.")],
    settings: Annotated[
        list[str],
        typer.Argument(help="Settings of curation: quality.gopher_quality.min_words=30 …"),
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="Label of the result; default: CORPUS-recut.")
    ] = None,
    out: Annotated[str | None, typer.Option("--out", help="Also copy it to this folder.")] = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Apply other thresholds to a curated corpus; what it has measured is not measured again."""
    from pathlib import Path

    from volano.cli.output import duration, print_json, print_line, print_table
    from volano.cli.showing import print_mixture
    from volano.core.mixture import Mixture
    from volano.core.store import Store
    from volano.curate.funnel import funnel
    from volano.study.recut import recut as make
    from volano.study.single import check_out, copy_out

    opened = Store(store)
    former = opened.find(corpus)
    if out is not None:
        check_out(Path(out).absolute(), opened, f"{former.name.rpartition('/')[2]}-recut", [corpus])
    made = make(
        opened, former, settings, name=name, silent=json, explain=lambda line: print_line(line)
    )
    if out is not None:
        copy_out(made.artifact, Path(out).absolute())
    before, after = funnel(former.corpus()), funnel(made.artifact.corpus())
    mixture = Mixture.of(made.artifact.corpus())
    if json:
        print_json(
            {
                "artifact": opened.path_of(made.artifact),
                "digest": made.artifact.digest,
                "reused": made.reused,
                "bill": made.artifact.bill(),
                "before": [row._asdict() for row in before],
                "after": [row._asdict() for row in after],
                "mixture": mixture.plain() if mixture else None,
            }
        )
        return
    print_table(
        ["filter", "dropped before", "dropped now", "documents left before", "documents left now"],
        _beside(before, after),
        right=["dropped before", "dropped now", "documents left before", "documents left now"],
        title=f"{former.name} recut",
    )
    if mixture is not None:
        print_mixture(mixture.plain())
    how = "reused" if made.reused else f"made in {duration(made.artifact.bill()['seconds'])}"
    print_line(f"{how}: {opened.path_of(made.artifact)}, called {made.artifact.name}")


def _beside(before: list[Any], after: list[Any]) -> list[tuple[str, ...]]:
    names = [row.filter for row in after]
    names += [row.filter for row in before if row.filter not in names]
    old, new = ({row.filter: row for row in rows} for rows in (before, after))
    rows = []
    for name in names:
        pair = [each.get(name) for each in (old, new)]
        dropped = [f"{row.documents_dropped:,}" if row else "" for row in pair]
        left = [f"{row.documents:,}" if row else "" for row in pair]
        rows.append((name, *dropped, *left))
    return rows


def inspect(
    corpus: Annotated[str, typer.Argument(help="A curated corpus, such as python-docs/curated.")],
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")
    ] = 8100,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Look into a curated corpus in a browser: the funnel, every number, every document.

    It shows texts as they were collected and asks for no key, so it listens on this machine alone;
    from another one: ssh -L 8100:localhost:8100 THIS-MACHINE.
    """
    from volano.cli.output import print_line
    from volano.core.store import Store
    from volano.curate.inspected import Inspected
    from volano.curate.inspector import inspector
    from volano.serve.server import listen, run

    inspected = Inspected(Store(store).find(corpus))
    application = inspector(inspected)
    socket = listen("127.0.0.1", port, "Name another with --port.")
    try:
        address = f"http://127.0.0.1:{socket.getsockname()[1]}"
        print_line(f"{inspected.name}, {len(inspected.corpus):,} documents kept: {address}")
        print_line("Ctrl-C ends.")
        run(application, socket)
    finally:
        socket.close()


def forget(
    document: Annotated[str, typer.Argument(help="A document's id, as volano trace takes it.")],
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what holds it; forget nothing.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Leave a document out of every collection to come, and say what was made of it so far.

    Its file is not touched. What is run again is made without it; what never held it is reused.
    """
    from dataclasses import asdict

    from volano.cli.output import print_json, print_line, print_table
    from volano.core.deletion import forget_document
    from volano.core.errors import StoreError
    from volano.core.lineage import collected_text, trace_document
    from volano.core.release import aliases, current
    from volano.core.store import Store

    opened = Store(store)
    sightings = trace_document(opened, document)  # a name that nobody knows is told here
    text = collected_text(opened, document)
    if text is None:
        raise StoreError(
            "no collection of this store has taken it",
            document,
            "Feedback is erased by `volano feedback delete`; of a record, forget its documents.",
        )
    line = None if plan else forget_document(opened.folder, document, text)
    saw = {each.artifact for each in sightings if each.kind == "checkpoint"}
    released = {alias: current(opened, alias) for alias in aliases(opened)}
    serving = [f"@{alias}" for alias, its in released.items() if its and its.checkpoint in saw]
    if json:
        print_json(
            {
                "document": document,
                "forgotten": None if line is None else line.time,
                "artifacts": [asdict(each) for each in sightings],
                "releases": serving,
            }
        )
        return
    print_table(
        ["artifact", "kind", "", "detail"],
        [(each.artifact, each.kind, each.role, each.detail) for each in sightings],
        title=document,
    )
    if serving:
        print_line(f"{', '.join(serving)} saw it.")
    if line is None:
        print_line("It would be left out of every collection to come; run without --plan.")
        return
    print_line(f"Forgotten since {line.time}: no collection of this store takes it any more.")
    print_line(
        "Run again what made the artifacts above, and then `volano clean`: they hold it until then."
    )
