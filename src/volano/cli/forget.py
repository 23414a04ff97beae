"""`volano forget`: what is left out of every collection to come, and how that is taken back."""

from typing import Annotated, Any

import typer

from volano.cli.run import DEFAULT_STORE, JsonOption, StoreOption


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(forget)


def forget(
    document: Annotated[
        str | None, typer.Argument(help="A document's id, as volano trace takes it.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what holds it; forget nothing.")
    ] = False,
    listing: Annotated[
        bool, typer.Option("--list", help="What is forgotten, and since when.")
    ] = False,
    undo: Annotated[
        bool,
        typer.Option("--undo", help="Collect it again from now on; also takes an id of --list."),
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Leave a document out of every collection to come, and say what was made of it so far.

    Its file is not touched. What is run again is made without it; what never held it is reused.
    """
    from volano.core.errors import DataError
    from volano.core.store import Store

    opened = Store(store)
    if sum([listing, undo, plan]) > 1 or (document is None) != listing:
        what = "needs one document, or --list alone"
        remedy = "As in: volano forget DOCUMENT --plan, forget --undo DOCUMENT, forget --list."
        raise DataError(what, "volano forget", remedy)
    if document is None:
        _list(opened, json)
    elif undo:
        _take_back(opened, document, json)
    else:
        _forget(opened, document, plan, json)


def _forget(opened: Any, document: str, plan: bool, json: bool) -> None:
    from dataclasses import asdict

    from volano.cli.output import print_json, print_line, print_table
    from volano.core.deletion import forget_document
    from volano.core.errors import StoreError
    from volano.core.lineage import collected_text, trace_document
    from volano.core.release import aliases, current

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


def _list(opened: Any, as_json: bool) -> None:
    from volano.cli.output import print_json, print_line, print_table, time_of_day
    from volano.core.deletion import read_deletions
    from volano.core.forgotten import names_of

    lines = [each for each in read_deletions(opened.folder) if each.by == "document"]
    names = names_of(opened, lines) if lines else {}
    if as_json:
        print_json(
            [
                {
                    "id": each.id,
                    "document": names.get(each.id),
                    "forgotten": each.time,
                    "taken_back": each.undone or None,
                }
                for each in lines
            ]
        )
        return
    if not lines:
        print_line(f"{opened.folder}: nothing is forgotten.")
        return
    rows = []
    for each in lines:  # the store keeps no names: only what still holds a document knows it
        name = names.get(each.id, "(no collection holds it any more)")
        back = time_of_day(each.undone) if each.undone else ""
        rows.append((each.id, name, time_of_day(each.time), back))
    columns = ["id", "document", "forgotten", "taken back"]
    print_table(columns, rows, whole=["id", "forgotten", "taken back"])


def _take_back(opened: Any, document: str, as_json: bool) -> None:
    from volano.cli.output import print_json, print_line
    from volano.core.deletion import take_back

    line = take_back(opened.folder, document)
    if as_json:
        print_json({"id": line.id, "forgotten": line.time, "taken_back": line.undone})
        return
    print_line(f"Taken back ({line.id}): collections take it again from now on.")
    print_line("Run again what was made without it: what it was before is reused where it is left.")
