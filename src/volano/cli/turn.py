"""`volano turn`, `promote`, `rollback`: the next version, and what an alias stands for."""

from typing import Annotated, Any

import typer

from volano.cli.run import DEFAULT_STORE, JsonOption, StoreOption

PRODUCTION = "production"  # as in core.release, which would cost every --help an Arrow import
AliasOption = Annotated[
    str,
    typer.Option(
        "--alias",
        help="The release, such as staging.",
        callback=lambda name: name.removeprefix("@"),
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    for verb in (turn, promote, rollback):
        app.command()(verb)


def turn(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name, or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings, such as turn.replay=4000.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what is reused or made, and why; make nothing.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Make the next version from feedback; promote it only if a paired test says it is better.

    Exit code 3 where the gate refuses.
    """
    from volano.study.serving import require_extra

    require_extra()
    from volano.cli.run import print_heading
    from volano.cli.stages import finish, reporter
    from volano.core.errors import GateRefused
    from volano.core.store import Store
    from volano.study.recipe import load_recipe
    from volano.study.turn import turn as turn_wheel

    settings, opened = load_recipe(recipe, overrides or []), Store(store)
    if plan:
        from volano.cli.run import print_plan
        from volano.study.plan import plan as plan_stages
        from volano.study.turn import next_stages

        print_plan(plan_stages(settings, opened, stages=next_stages(settings, opened)), json)
        return
    if not json:
        print_heading(settings, opened)
    turned = turn_wheel(settings, opened, silent=json, report=reporter(opened, json))
    if json:
        from volano.cli.output import print_json

        print_json(turn_as_plain(turned, opened))
    else:
        finish(turned.outcomes, opened, json)
        from volano.cli.report import write_and_tell

        print_turn(turned)
        write_and_tell(opened, settings.name)
    if turned.verdict is not None and not turned.verdict.promote:
        raise GateRefused(
            f"version {turned.version} is not promoted: {turned.verdict.reason}",
            f"gate-{turned.version}",
            f"What the next turn needs: volano show {settings.name}/gate-{turned.version}",
        )


def promote(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint's name, path or fingerprint.")],
    reason: Annotated[str, typer.Option("--reason", help="Kept in the history.")] = "by hand",
    without_card: Annotated[
        bool, typer.Option("--without-card", help="Though it carries no model card.")
    ] = False,
    alias: AliasOption = PRODUCTION,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Let a release stand for a checkpoint, with no gate asked."""
    from volano.core.release import promote as promote_checkpoint
    from volano.core.store import Store

    opened = Store(store)
    artifact = opened.find(checkpoint)
    if artifact.kind == "checkpoint" and not without_card:
        _require_card(opened, artifact)
    line = promote_checkpoint(opened, alias, artifact, reason=reason)
    _print_promotion(alias, line, json)


def rollback(
    alias: AliasOption = PRODUCTION,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Let a release stand for what it stood for before."""
    from volano.core.release import rollback as roll_back
    from volano.core.store import Store

    _print_promotion(alias, roll_back(Store(store), alias), json)


def _require_card(store: Any, artifact: Any) -> None:
    from volano.core.errors import StoreError
    from volano.study.release import CARD

    if (artifact.folder / CARD).is_file():
        return
    released = [
        each.name
        for each in store.artifacts()
        if each.kind == "checkpoint"
        and (each.folder / CARD).is_file()
        and any(parent["digest"] == artifact.digest for parent in each.parents.values())
    ]
    instead = (
        f"Promote {released[0]}, its released form, or" if released else "To do so all the same:"
    )
    raise StoreError("carries no model card", artifact.name, f"{instead} add --without-card.")


def print_turn(turned: Any) -> None:
    """What the turn came to."""
    from volano.cli.output import print_line

    for note in turned.notes:
        print_line(note)
    if turned.moved is not None:
        print_line(
            f"Promoted: version {turned.version} is {turned.verdict.reason}; the release stands "
            "for it now."
        )
    elif turned.verdict is not None and not turned.verdict.promote:
        print_line(f"Version {turned.version} is not promoted: {turned.verdict.reason}.")


def turn_as_plain(turned: Any, store: Any) -> dict[str, Any]:
    """A turn as JSON."""
    from dataclasses import asdict

    from volano.cli.stages import as_plain

    return {
        "version": turned.version,
        "promoted": turned.moved is not None,
        "verdict": asdict(turned.verdict) if turned.verdict else None,
        "notes": turned.notes,
        "stages": [as_plain(each, store) for each in turned.outcomes],
    }


def _print_promotion(alias: str, line: Any, as_json: bool) -> None:
    from dataclasses import asdict

    from volano.cli.output import print_json, print_line

    if as_json:
        print_json({"alias": alias, **asdict(line)})
    else:
        print_line(f"@{alias} stands for {line.checkpoint} ({line.reason})")
