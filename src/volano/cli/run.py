"""`volano run`: a whole recipe, or one phase of it, or only the plan."""

from pathlib import Path
from typing import Annotated, Any

import typer

from volano.core.step import Device

StoreOption = Annotated[
    Path, typer.Option("--store", help="Folder of artifacts.", envvar="VOLANO_STORE")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
DeviceOption = Annotated[
    Device, typer.Option("--device", help="auto takes CUDA where torch sees a device.")
]
DEFAULT_STORE = Path("runs")


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command()(run)


def run(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name, or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings, such as pretrain.tokens=5M.")
    ] = None,
    only: Annotated[
        str | None, typer.Option("--only", help="Make one phase; the rest must exist.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what is reused or made, and why; make nothing.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Turn the wheel: collect, curate, pre-train, fine-tune, align, evaluate, and once more."""
    from volano.core.store import Store
    from volano.study.recipe import load_recipe

    settings = load_recipe(recipe, overrides or [])
    opened = Store(store)
    if plan:
        from volano.study.plan import plan as plan_recipe

        print_plan(plan_recipe(settings, opened, only=only), json)
        return
    from volano.cli.stages import finish, reporter
    from volano.study.whole import run_only, run_whole

    if not json:
        print_heading(settings, opened)
    told = reporter(opened, json)
    if only is not None:
        finish(run_only(settings, opened, only, silent=json, report=told), opened, json)
        return
    outcomes, turned = run_whole(settings, opened, silent=json, report=told)
    finish(outcomes, opened, json)
    if turned is not None and not json:
        from volano.cli.report import write_and_tell
        from volano.cli.turn import print_turn

        print_turn(turned)
        write_and_tell(opened, settings.name)


def print_heading(recipe: Any, store: Any) -> None:
    """One line that says what runs and where."""
    from volano.cli.output import print_line

    minutes = f", about {recipe.about.minutes:g} minutes" if recipe.about.minutes else ""
    print_line(f"{recipe.name} into {store.folder}{minutes}")


def print_plan(intentions: Any, as_json: bool) -> None:
    """What would be reused and made, and why."""
    from dataclasses import asdict

    from volano.cli.output import duration, print_json, print_table

    if as_json:
        print_json([asdict(each) for each in intentions])
        return
    print_table(
        ["stage", "phase", "", "why", "last time"],
        [
            (
                each.stage,
                each.phase,
                "reuse" if each.reuse else "make",
                each.why,
                "" if each.reuse else duration(each.seconds) if each.seconds else "",
            )
            for each in intentions
        ],
        right=["last time"],
    )
