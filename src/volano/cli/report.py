"""`volano report`: one page about what a recipe has made."""

from pathlib import Path
from typing import Annotated, Any

import typer

from volano.cli.run import DEFAULT_STORE, JsonOption, StoreOption


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command()(report)


def report(
    name: Annotated[str, typer.Argument(help="A recipe, or the name that its artifacts carry.")],
    out: Annotated[Path | None, typer.Option("--out", help="The file to write.")] = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Write one self-contained HTML page about what a recipe has made."""
    from volano.cli.output import print_json, print_line
    from volano.core.store import Store
    from volano.study.recipe import load_recipe, shipped_recipes
    from volano.study.report import write_report

    if name in shipped_recipes() or name.endswith((".yaml", ".yml")):
        name = load_recipe(name).name
    path = write_report(Store(store), name, out)
    if json:
        print_json({"report": str(path)})
    else:
        print_line(f"Report: {path}")


def write_and_tell(store: Any, name: str) -> None:
    """Write the report at the end of a run; a run does not fail for want of it."""
    from volano.cli.output import print_line
    from volano.core.errors import MissingExtra
    from volano.study.report import write_report

    try:
        print_line(f"Report: {write_report(store, name)}")
    except MissingExtra as missing:
        print_line(f"No report: {missing}")
