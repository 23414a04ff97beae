"""`volano clean`: what nothing refers to any more."""

from typing import Annotated

import typer

from volano.cli.run import DEFAULT_STORE, JsonOption, StoreOption


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command()(clean)


def clean(
    plan: Annotated[
        bool, typer.Option("--plan", help="List what would be deleted; delete nothing.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Delete artifacts that no name stands for and nothing named was made from, and leftovers."""
    from volano.cli.output import print_json, print_line, print_table, size
    from volano.core.errors import StoreError
    from volano.core.store import Store

    opened = Store(store)
    if opened.index is None:
        raise StoreError("no such store", str(opened.folder), "Name one with --store.")
    rows = [(opened.path_of(each), each.bytes, each.folder) for each in opened.unreferenced()]
    for folder in opened.unfinished():
        amount = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
        rows.append((f"{folder.relative_to(opened.folder)} (unfinished)", amount, folder))
    if not plan:
        for _, _, folder in rows:
            opened.delete(folder)
    if json:
        print_json(
            [{"artifact": name, "bytes": amount, "deleted": not plan} for name, amount, _ in rows]
        )
        return
    if not rows:
        print_line("Nothing to delete: every artifact is in use.")
        return
    print_table(
        ["artifact", "size"], [(name, size(amount)) for name, amount, _ in rows], right=["size"]
    )
    total = size(sum(amount for _, amount, _ in rows))
    print_line(f"{total} would be freed; run without --plan." if plan else f"{total} freed.")
