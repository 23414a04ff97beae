"""`volano clean`: what nothing refers to any more."""

from pathlib import Path
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
    forget_history: Annotated[
        bool,
        typer.Option(
            "--forget-history", help="Releases keep only what stands now: no rollback behind it."
        ),
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Delete artifacts that no name stands for and nothing named was made from, and leftovers.

    What a release alone keeps is listed with the release that does.
    """
    from volano.cli.output import print_json, print_line, print_table, size
    from volano.core.errors import StoreError
    from volano.core.release import aliases, forget, history_of
    from volano.core.store import Store

    opened = Store(store)
    if opened.index is None:
        raise StoreError("no such store", str(opened.folder), "Name one with --store.")
    let_go = {history_of(alias) for alias in aliases(opened)} if forget_history else set()
    rows: list[tuple[str, int, Path]] = []
    kept: list[tuple[str, int, list[str]]] = []
    for each, holders in opened.unlabelled():
        if let_go.issuperset(holders):
            rows.append((opened.path_of(each), each.bytes, each.folder))
        else:
            kept.append((opened.path_of(each), each.bytes, [h for h in holders if h not in let_go]))
    for folder in opened.unfinished():
        amount = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
        rows.append((f"{folder.relative_to(opened.folder)} (unfinished)", amount, folder))
    if not plan:
        for alias in aliases(opened) if forget_history else []:
            forget(opened, alias)  # first: a history never names what is half deleted
        for _, _, folder in rows:
            opened.delete(folder)
    if json:
        print_json(
            [{"artifact": name, "bytes": amount, "deleted": not plan} for name, amount, _ in rows]
            + [
                {"artifact": name, "bytes": amount, "deleted": False, "held_by": holders}
                for name, amount, holders in kept
            ]
        )
        return
    _print_kept(kept, forget_history)
    if not rows:
        print_line("Nothing to delete: every artifact is in use.")
        return
    print_table(
        ["artifact", "size"], [(name, size(amount)) for name, amount, _ in rows], right=["size"]
    )
    total = size(sum(amount for _, amount, _ in rows))
    print_line(f"{total} would be freed; run without --plan." if plan else f"{total} freed.")


def _print_kept(kept: list[tuple[str, int, list[str]]], forget_history: bool) -> None:
    from volano.cli.output import print_line, print_table, size

    if not kept:
        return
    print_table(
        ["artifact", "size", "because"],
        [(name, size(amount), ", ".join(holders)) for name, amount, holders in kept],
        title="kept for a release alone",
        right=["size"],
    )
    remedy = "To let go of what a release stands for, promote another: volano promote."
    if not forget_history:
        remedy = f"To let go of what one can go back to: volano clean --forget-history. {remedy}"
    print_line(remedy)
