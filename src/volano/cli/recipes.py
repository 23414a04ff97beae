"""`volano recipes`: what ships, and a copy to start one's own from."""

from pathlib import Path
from typing import Annotated, Any

import typer

from volano.cli.run import JsonOption

recipes_app = typer.Typer(help="Recipes that ship with Volano.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.add_typer(recipes_app, name="recipes")


@recipes_app.callback()
def list_recipes(context: typer.Context, json: JsonOption = False) -> None:
    """List the shipped recipes: size, expected minutes, what each shows."""
    if context.invoked_subcommand is not None:
        return
    from volano.cli.output import print_json, print_table
    from volano.study.recipe import load_recipe, shipped_recipes

    found = {name: load_recipe(name) for name in shipped_recipes()}
    rows: list[dict[str, Any]] = []
    for name, recipe in found.items():
        pretrain = recipe.pretrain if recipe.base is None else None  # a finished one is not made
        vocabulary = recipe.tokenizer.vocabulary
        parameters = pretrain.model.shape(vocabulary).parameters if pretrain else 0
        tokens = pretrain.tokens if pretrain else 0
        rows.append(
            {
                "name": name,
                "parameters": parameters,
                "tokens": tokens,
                "minutes": recipe.about.minutes,
                "machine": recipe.about.machine,
                "shows": recipe.about.shows,
            }
        )
    if json:
        print_json(rows)
        return
    print_table(
        ["recipe", "parameters", "tokens", "minutes", "machine", "shows"],
        [
            (
                row["name"],
                f"{row['parameters'] / 1e6:.2f}M" if row["parameters"] else "",
                f"{row['tokens'] / 1e6:.2f}M" if row["tokens"] else "",
                f"{row['minutes']:g}",
                row["machine"],
                row["shows"],
            )
            for row in rows
        ],
        right=["parameters", "tokens", "minutes"],
    )


@recipes_app.command("copy")
def copy_recipe(
    name: Annotated[str, typer.Argument(help="A shipped recipe, such as laptop/python-docs.")],
    to: Annotated[Path | None, typer.Argument(help="File to write.")] = None,
) -> None:
    """Copy a shipped recipe to a file of your own."""
    from volano.cli.output import print_line
    from volano.core.errors import RecipeError
    from volano.core.files import atomic_path
    from volano.core.recipe import load_yaml
    from volano.study.recipe import recipe_path

    source = recipe_path(name)
    target = to or Path(f"{name.replace('/', '-')}.yaml")
    if target.is_dir():
        target = target / f"{name.replace('/', '-')}.yaml"
    if target.exists():
        raise RecipeError("this file exists", str(target), "Name another file.")
    with atomic_path(target) as unfinished:
        unfinished.write_bytes(source.read_bytes())
    asks = "ablate" in load_yaml(source)[0]
    print_line(f"{target} written. Edit it, then: volano {'ablate' if asks else 'run'} {target}")
