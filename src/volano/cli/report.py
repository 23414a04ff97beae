"""`volano report`: one page about what a recipe has made."""

from pathlib import Path
from typing import Annotated, Any

import typer

from volano.cli.run import DEFAULT_STORE, JsonOption, StoreOption


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command()(report)


def report(
    recipe: Annotated[
        str,
        typer.Argument(help="A recipe, the name that its artifacts carry, or that of an ablation."),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="The file to write.")] = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Write one self-contained HTML page about what a recipe or an ablation has made."""
    from volano.cli.output import print_json, print_line
    from volano.core.errors import DataError
    from volano.core.store import Store
    from volano.study.ablation_found import find_ablation, verdicts_named
    from volano.study.ablation_page import ablation_figures, write_ablation_page
    from volano.study.found import find_stages
    from volano.study.report import figures_of, write_report

    if out is not None and out.is_dir():
        raise DataError("this is a folder", f"--out {out}", "Name a file.")
    opened = Store(store)
    verdicts = verdicts_named(opened, recipe)
    if verdicts is not None:
        page = write_ablation_page(opened, verdicts, out)
        if json:
            figures = ablation_figures(find_ablation(opened, verdicts))
            print_json({"report": str(page), **figures})
        else:
            print_line(f"Report: {page}")
        return
    name = _name_of(recipe, opened)
    path = write_report(opened, name, out)
    if json:
        print_json({"report": str(path), **figures_of(find_stages(opened, name))})
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


def write_of_ablation(store: Any, verdicts: Any, *, told: bool) -> str | None:
    """Write the page at the end of an ablation and say where, if `told`; None without the extra."""
    from volano.cli.output import print_line
    from volano.core.errors import MissingExtra
    from volano.study.ablation_page import write_ablation_page

    try:
        page = str(write_ablation_page(store, verdicts))
    except MissingExtra as missing:
        if told:
            print_line(f"No page: {missing}")
        return None
    if told:
        print_line(f"Page: {page}")
    return page


def _name_of(recipe: str, store: Any) -> str:
    """The name that a recipe's artifacts carry, whichever way the recipe is meant."""
    from volano.core.errors import RecipeError, did_you_mean
    from volano.study.recipe import load_recipe, shipped_recipes

    made = {label.partition("/")[0] for label in store.labels()}
    if recipe in made:
        return recipe
    if recipe in shipped_recipes() or recipe.endswith((".yaml", ".yml")):
        return str(load_recipe(recipe).name)
    known = sorted(made | set(shipped_recipes()))
    what = f"no recipe '{recipe}', and nothing was made under that name"
    raise RecipeError(what, str(store.folder), did_you_mean(recipe, known))
