"""`volano plan recipe`: what training a recipe takes on this machine, beside the bill of a run."""

from typing import Annotated, Any

import typer

from volano.cli.run import DEFAULT_STORE, JsonOption, StoreOption

BESIDE, CPU = "plan / bill", "of processor"


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("recipe")(plan_recipe)


def plan_recipe(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name, or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings, such as pretrain.tokens=5M.")
    ] = None,
    by_bills: Annotated[
        bool,
        typer.Option(
            "--by-bills",
            help="Take rates from the bills of the last run, and measure none: for other settings "
            "of a recipe that has run.",
        ),
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            help="Reckon with an accelerator, such as H100, and measure nothing; without it a "
            "recipe of CUDA takes its own where there is none here.",
        ),
    ] = None,
    utilisation: Annotated[
        float | None,
        typer.Option(
            "--utilisation",
            min=0.001,
            max=1,
            help="Share of its peak that is reached; a published one of the device if left out.",
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say where tokens and rates are from.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Plan a recipe's training: parameters, FLOPs, memory, minutes; and its bill, once it has run.

    Rates are measured: each stage trains for some seconds on random tokens.
    """
    from volano.cli.output import tell
    from volano.core.store import Store
    from volano.study.recipe import load_recipe
    from volano.study.recipe_plan import plan_recipe as plan

    settings = load_recipe(recipe, overrides or [])
    found = plan(
        settings,
        Store(store),
        "bills" if by_bills else "measured",
        device=device,
        utilisation=utilisation,
        **({} if json else {"told": tell}),
    )
    if json:
        _print_json(found)
    else:
        _print(found, settings, explain)


def _print_json(found: Any) -> None:
    from dataclasses import asdict

    from volano.cli.output import print_json

    stages = [
        asdict(each)
        | {
            "bill_seconds": each.bill_seconds,
            "bill_processor_seconds": each.bill_processor_seconds,
            "ratio": each.ratio,
            "processor_ratio": each.processor_ratio,
        }
        for each in found.stages
    ]
    print_json(
        {
            "recipe": found.name,
            "reckoned_with": None if found.reckoned is None else found.reckoned.device.name,
            "stages": stages,
            "training_seconds": found.seconds,
            "unknown": found.unknown,
            "others_last_time": found.others,
        }
    )


def _print(found: Any, settings: Any, explain: bool) -> None:
    from volano.cli.output import duration, print_line, print_table, size

    if not found.stages:
        print_line(f"{found.name} trains and evaluates no model.")
        return
    whole = sum(each.flops or 0.0 for each in found.stages)
    rows = []
    for each in found.stages:
        row = [
            each.stage,
            f"{each.parameters / 1e6:.2f}M",
            "?" if each.tokens is None else f"{each.tokens:,.0f}",
            "?" if each.flops is None else f"{each.flops:.3g}",
            "?" if each.flops is None else f"{each.flops / whole:.0%}",
            size(each.memory_bytes) if each.memory_bytes else "",
            duration(each.seconds) if each.trained else "",
            duration(each.bill_seconds) if each.bill_seconds else "",
            _beside(each),
            f"{each.processor_ratio:.2f}" if each.processor_ratio else "",
        ]
        rows.append([*row, f"{each.tokens_from}; {each.rate_from}".strip("; ")] if explain else row)
    columns = ["parameters", "tokens", "FLOPs", "share", "memory", "plan", "bill", BESIDE, CPU]
    print_table(
        ["stage", *columns, *(["tokens and rate from"] if explain else [])],
        rows,
        right=columns,
        title=f"{found.name}: training on {_where(found)}",
    )
    if found.busy and any(each.processor_seconds for each in found.stages):
        print_line(
            f"Others keep this machine busy (load {found.busy:.1f}): it gives these times now, and "
            "shorter ones when it is idle."
        )
    print_line(f"All training: {duration(found.seconds)}.")
    for each in found.stages:
        for line in _epochs(each):
            print_line(line)
    if found.reckoned is not None:
        print_line(
            f"{found.reckoned.rate_from[0].upper()}{found.reckoned.rate_from[1:]}. A plan of what "
            "may be hoped for: small models and one device reach less (docs/devices.md)."
        )
    for stage in found.unknown:
        print_line(f"{stage}: {_why_unknown(found, stage)}")
    if found.others:
        spent = sum(found.others.values())
        print_line(f"Data, users, reports and gates took {duration(spent)} the last time.")
    elif settings.about.minutes and found.reckoned is None:
        print_line(
            f"With data and evaluation the recipe took {settings.about.minutes:g} minutes on "
            f"{settings.about.machine}."
        )


def _epochs(stage: Any) -> list[str]:
    """How often a stage reads its text over, where that is known, and whether it is too often."""
    from volano.pretrain.rereading import rereading_note

    if not stage.epochs:
        return []
    spoken = ", ".join(f"{kind} {each:.2g} times" for kind, each in stage.epochs.items())
    note = rereading_note(stage.epochs)
    told = f"{stage.stage} would read over what is packed: {spoken}."
    return [told] if note is None else [told, f"{stage.stage} {note}."]


def _where(found: Any) -> str:
    return "this machine" if found.reckoned is None else f"one {found.reckoned.device.name}"


def _beside(stage: Any) -> str:
    if stage.ratio is not None:
        return f"{stage.ratio:.2f}"
    return "other settings" if stage.bill_seconds and not stage.bill_settings else ""


def _why_unknown(found: Any, name: str) -> str:
    stage = next(each for each in found.stages if each.stage == name)
    if stage.tokens is None:
        return "how much it reads is unknown before its data are made; run the recipe once."
    return "no bill of it is in the store; leave --by-bills out to measure."
