"""`volano plan ladder`: what the next size will lose, said before it is trained."""

from typing import Annotated, Any

import typer

from volano.cli.run import DEFAULT_STORE, JsonOption, StoreOption

NUMBERS = {"e": "E", "a": "A", "alpha": "α", "b": "B", "beta": "β"}
BASELINES = {
    "line_through_two": "straight line through two runs",
    "largest_run": "as the largest run",
}


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("ladder")(plan_ladder)


def plan_ladder(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name, or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings, such as pretrain.tokens=5M.")
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(
            "--sizes",
            help="Of the runs, by comma: parameters as pretrain.model.parameters has them (0.3M), "
            "or depths (d3). Default: up to four depths below the next.",
        ),
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option(
            "--tokens",
            help="Of the runs, by comma: each size is trained on each, from nothing. Default: an "
            "eighth, a quarter and half of pretrain.tokens.",
        ),
    ] = None,
    next_size: Annotated[
        str | None,
        typer.Option(
            "--next",
            help="The size that is predicted, then trained on pretrain.tokens. Default: the "
            "recipe's own.",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Runs of each size and number of tokens.")
    ] = 1,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0, help="Train nothing if it would take longer."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would be trained, and how long; make nothing.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Train small models, fit loss = E + A/N^α + B/D^β, predict the next size, then train that.

    Also `volano plan RECIPE --ladder`. Every run is an artifact: a second call trains nothing.
    """
    from volano.cli.output import print_line, tell
    from volano.cli.stages import reporter
    from volano.core.store import Store
    from volano.study.ladder import plan_ladder as planned
    from volano.study.ladder_run import check_minutes, climb, reckon
    from volano.study.recipe import load_recipe

    settings = load_recipe(recipe, overrides or [])
    ladder = planned(
        settings,
        sizes=_listed(sizes),
        tokens=[_count(each) for each in _listed(tokens)],
        next_size=next_size or "",
        seeds=seeds,
    )
    opened = Store(store)
    reckoned = reckon(ladder, opened, **({} if json else {"told": tell}))
    if plan:
        print_reckoned(ladder, reckoned, json)
    if minutes is not None:
        check_minutes(reckoned, minutes)
    if plan:
        return
    if not json:
        print_line(_heading(ladder, reckoned))
        _print_short(ladder)
    climbed = climb(
        ladder,
        opened,
        reckoned,
        silent=json,
        report=reporter(opened, json),
        told=lambda prediction: None if json else _tell(prediction, ladder, opened),
    )
    if json:
        _print_json(climbed, opened)
        return
    print_ladder(climbed.report, ladder.name)
    print_line(_order_of_events(climbed, opened))
    if climbed.epochs > 1:
        print_line(
            f"Some text is read {climbed.epochs:.1f} times, and the law takes every token as new: "
            "beyond some four readings it promises too much (Muennighoff et al. 2023)."
        )


def _listed(text: str | None) -> list[str]:
    return [] if text is None else [each.strip() for each in text.split(",")]


def _count(text: str) -> int:
    from volano.core.errors import RecipeError
    from volano.core.recipe import read_count

    count = read_count(text)
    if not isinstance(count, int) or count < 1:
        raise RecipeError(f"no count: '{text}'", "--tokens", "Write counts such as 250k,500k,1M.")
    return count


def _heading(ladder: Any, reckoned: list[Any]) -> str:
    from volano.cli.output import duration

    left = [each for each in reckoned if not each.reuse]
    many = f"{len(ladder.runs)} runs, then {ladder.next.label}"
    if not left:
        return f"{ladder.recipe.name}: a ladder of {many}; all are in the store."
    seconds = duration(sum(each.seconds for each in left))
    return f"{ladder.recipe.name}: a ladder of {many}; {len(left)} to train, about {seconds}."


def print_reckoned(ladder: Any, reckoned: list[Any], as_json: bool) -> None:
    """The runs with their sizes, tokens and minutes, before any is made."""
    from volano.cli.output import duration, print_json, print_line, print_table

    if as_json:
        print_json(
            {
                "recipe": ladder.recipe.name,
                "runs": [
                    {
                        "label": each.run.label,
                        "size": each.run.size,
                        "parameters": each.run.parameters,
                        "layers": each.run.shape.layers,
                        "width": each.run.shape.width,
                        "tokens": each.run.tokens,
                        "seed": each.run.seed,
                        "next": each.run is ladder.next,
                        "reuse": each.reuse,
                        "seconds": each.seconds,
                    }
                    for each in reckoned
                ],
                "training_seconds": sum(each.seconds for each in reckoned),
            }
        )
        return
    print_table(
        ["run", "size", "layers × width", "N", "D", "training"],
        [
            (
                "next" if each.run is ladder.next else str(place),
                each.run.size,
                f"{each.run.shape.layers} × {each.run.shape.width}",
                f"{each.run.parameters:,}",
                f"{each.run.tokens:,}",
                "in the store" if each.reuse else duration(each.seconds),
            )
            for place, each in enumerate(reckoned, 1)
        ],
        right=["run", "N", "D", "training"],
        title=f"{ladder.recipe.name}: a ladder",
    )
    print_line(
        f"All training: {duration(sum(each.seconds for each in reckoned))}, by steps of each size "
        "on this machine now; text, tokenizer and measuring come on top."
    )
    _print_short(ladder)


def _print_short(ladder: Any) -> None:
    from volano.cli.output import print_line
    from volano.study.ladder import ENOUGH_STEPS

    if ladder.fewest_steps < ENOUGH_STEPS:
        print_line(
            f"The shortest run has {ladder.fewest_steps} steps: so early the loss follows no law. "
            f"Give more --tokens, for {ENOUGH_STEPS} steps at least."
        )


def _tell(prediction: Any, ladder: Any, store: Any) -> None:
    from volano.cli.output import print_line

    report = prediction.report()
    said = _within(report.find("predicted", "next"))
    if _has_pattern(report):
        said += f" by the law, {_within(report.find('with_interaction', 'next'))} with interaction"
    print_line(f"Predicted for {ladder.next.label}: {said}, kept as {store.path_of(prediction)}.")


def _within(found: Any) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _has_pattern(report: Any) -> bool:
    interaction = report.find("interaction", "law")
    return not interaction.low <= 0 <= interaction.high


def print_ladder(report: Any, name: str) -> None:
    """The runs beside the law, its numbers, and the prediction beside what was measured, if it
    was."""
    from volano.cli.output import print_line, print_table

    ladder = report.extra["ladder"]
    print_table(
        ["N", "D", "held out", "law", "off"],
        [
            (
                f"{each['parameters']:,.0f}",
                f"{each['tokens']:,.0f}",
                f"{each['loss']:.3f}",
                f"{each['law']:.3f}",
                f"{each['law'] / each['loss'] - 1:+.1%}",
            )
            for each in ladder["runs"]
        ],
        right=["N", "D", "held out", "law", "off"],
        title=f"Ladder {name}: bits per byte of held-out text",
    )
    numbers = {key: report.find(key, "law") for key in NUMBERS}
    print_table(
        ["E + A/N^α + B/D^β", "value", "95 % interval", ""],
        [
            (
                NUMBERS[key],
                f"{each.value:.3g}",
                f"[{each.low:.3g}, {each.high:.3g}]",
                "hardly told by these runs" if key in ladder["weak"] else "",
            )
            for key, each in numbers.items()
        ],
        right=["value", "95 % interval"],
    )
    print_line(
        f"A run lies {report.find('noise', 'law').value:.1%} about the law (seed and misfit)."
    )
    _print_pattern(report)
    _print_next(report, ladder)


def _print_pattern(report: Any) -> None:
    from volano.cli.output import print_line

    if not _has_pattern(report):
        return
    found = report.find("interaction", "law")
    gains, side = ("more", "high") if found.value < 0 else ("less", "low")
    print_line(
        f"The misfit has a pattern: large models gain {gains} from tokens than the law lets them "
        f"({found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]). Beyond the runs in both, the "
        f"law says too {side} a loss: look at the row with interaction."
    )


def _print_next(report: Any, ladder: Any) -> None:
    from volano.cli.output import print_line, print_table

    measured = report.find("measured", "next")
    says = {"predicted": "the law"}
    if _has_pattern(report):
        says["with_interaction"] = "the law with interaction"
    rows = []
    for key, title in (says | BASELINES).items():
        found = report.find(key, "next")
        interval = f"[{found.low:.3f}, {found.high:.3f}]" if key in says else ""
        off = "" if measured is None else f"{found.value / measured.value - 1:+.2%}"
        rows.append((title, f"{found.value:.3f}", interval, off))
    print_table(
        ["says", "predicted", "95 % interval", "off"],
        rows,
        right=["predicted", "95 % interval", "off"],
        title=f"N = {ladder['next']['parameters']:,}, D = {ladder['next']['tokens']:,}",
    )
    if measured is not None:
        for key, title in says.items():
            found = report.find(key, "next")
            inside = found.low <= measured.value <= found.high
            print_line(
                f"{title}: predicted {_within(found)}, measured {measured.value:.3f}, inside the "
                f"interval: {'yes' if inside else 'no'}"
            )


def _order_of_events(climbed: Any, store: Any) -> str:
    from volano.cli.output import time_of_day

    prediction, trained = store.path_of(climbed.prediction), store.path_of(climbed.next)
    written = time_of_day(climbed.prediction.bill()["finished"])
    if climbed.came_first:
        return (
            f"{prediction} was written at {written}, when nothing of {trained} was in the store; "
            f"that was finished at {time_of_day(climbed.next.bill()['finished'])}."
        )
    return (
        f"{prediction} was written at {written}, when {trained} or a part of it was there already; "
        "nothing of it is among what the prediction was made of."
    )


def _print_json(climbed: Any, store: Any) -> None:
    from dataclasses import asdict

    from volano.cli.output import print_json

    report = climbed.report
    predicted, measured = report.find("predicted", "next"), report.find("measured", "next")
    print_json(
        {
            "prediction": store.path_of(climbed.prediction),
            "next": store.path_of(climbed.next),
            "outcome": store.path_of(climbed.outcome),
            "prediction_came_first": climbed.came_first,
            "reused": climbed.reused,
            "most_epochs": climbed.epochs,
            "inside": predicted.low <= measured.value <= predicted.high,
            "measurements": [asdict(each) for each in report.measurements],
            **report.extra["ladder"],
        }
    )
