"""`volano plan`: what would it take? One word for things that a bill answers too late.

`corpus` scales the curation of a sample, `training` is arithmetic on a model and its tokens,
`recipe` is all that a recipe trains, and `ladder` trains small models to say how good the next will
be. The first word may be left out before a corpus with `--bytes` and before a recipe: no corpus has
a plan without a size, and no recipe one with it. `--ladder` says it as well as the word.
"""

from typing import Any

import typer
from typer.core import TyperGroup

from volano.cli import plan_corpus, plan_ladder, plan_recipe, plan_training

SIZE = "--bytes"
LADDER = "--ladder"


class _Plans(TyperGroup):
    """Puts `corpus`, `recipe` or `ladder` before what names one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            sized = any(each.partition("=")[0] == SIZE for each in args)
            if LADDER in args:
                args = ["ladder", *(each for each in args if each != LADDER)]
            else:
                args = ["corpus" if sized else "recipe", *args]
        return super().parse_args(ctx, args)


def register(main: typer.Typer) -> None:
    """Add the verbs of this file."""
    app = typer.Typer(
        name="plan",
        cls=_Plans,
        no_args_is_help=True,
        help="What it would take: a recipe's training (`plan laptop/python-docs`), a corpus of "
        "another size (`plan NAME --bytes 10TB`), any model (`plan training`); and how good the "
        "next size will be (`plan laptop/python-docs --ladder`). Which stages a run would reuse: "
        "`run --plan`.",
    )
    for verb in (plan_recipe, plan_corpus, plan_training, plan_ladder):
        verb.register(app)
    main.add_typer(app)
