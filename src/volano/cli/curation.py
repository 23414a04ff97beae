"""`volano recut` and `inspect`: what a curated corpus is, and what else it could be."""

from typing import Annotated, Any

import typer

from volano.cli.run import DEFAULT_STORE, JsonOption, StoreOption


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    for verb in (recut, inspect):
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
