"""`volano ablate`: which decision about the data mattered, by how much, and how sure that is."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from volano.cli.run import DEFAULT_STORE, JsonOption, StoreOption

MOST_WRITTEN = 1e4  # of a figure that is written out; a diverged arm has larger ones


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command()(ablate)


def ablate(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name, or a YAML file.")],
    axes: Annotated[
        list[str] | None,
        typer.Argument(
            help="Keys with the values to compare, such as curate.dedup.minhash=on,off (the first "
            "is compared with); a key with one value holds for every arm. A value with commas of "
            "its own stands in brackets, and `off` removes a section. Default: the axes of the "
            "recipe's section ablate."
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", help="Models trained of each arm. Default: the recipe's, or 3."),
    ] = None,
    documents: Annotated[
        int | None,
        typer.Option("--documents", min=2, help="Held-out documents of each domain, at most."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", help="Domains are a document's `kind` (the default) or `source`."),
    ] = None,
    match: Annotated[
        str | None,
        typer.Option(
            "--match",
            help="What arms have in common: `tokens` (the default: less text is read more often), "
            "`compute` (larger models read fewer tokens), or `documents` (each reads its text so "
            "often).",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            min=0.01,
            help="Give up tokens, then seeds, until all of it takes no more, the planning aside.",
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would be trained, and how long; make nothing.")
    ] = False,
    pilot: Annotated[
        bool,
        typer.Option(
            "--pilot",
            help="Train two seeds of the first arm and then plan: what seeds differ by is known. "
            "The ablation takes them over.",
        ),
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Train base models that differ in one decision, with several seeds each, and judge them.

    Every trial is an artifact: a second call trains nothing, and one that was stopped goes on.
    """
    from dataclasses import replace

    from volano.cli.notes import notes
    from volano.cli.output import print_line
    from volano.cli.report import write_of_ablation
    from volano.core.errors import RecipeError
    from volano.core.store import Store
    from volano.study.axes import arms_of

    if plan and pilot:
        raise RecipeError("makes nothing, and --pilot trains", "--plan", "Leave one of them out.")
    options = {
        "seeds": seeds, "match": match, "bits_per_byte.documents": documents, "bits_per_byte.by": by
    }  # fmt: skip
    keys = {each.partition("=")[0].strip() for each in axes or ()}
    for key, value in options.items():
        if value is not None and f"ablate.{key}" in keys:
            option = f"--{key.rpartition('.')[2]}"
            raise RecipeError(f"stands there twice, as {option} too", f"ablate.{key}", "Keep one.")
    settings = [f"ablate.{key}={value}" for key, value in options.items() if value is not None]
    arms = arms_of(recipe, [*(axes or []), *settings])
    # Behind the check of what was typed, as these take seconds to load.
    from volano.study.ablation import ablate as run_ablation
    from volano.study.ablation import plan_ablation

    ablation = plan_ablation(arms)
    opened = Store(store)

    from volano.study.ablation_budget import fit, fitted_before, given_up, keep_fitted
    from volano.study.ablation_pilot import make_data, train_pilot
    from volano.study.ablation_plan import reckon, scaled
    from volano.study.ablation_step import not_comparable

    def told(line: str) -> None:
        if not json:
            print_line(line)

    wanted, begun = ablation, None
    if minutes is not None:
        begun = fitted_before(wanted, minutes, opened)
        ablation = begun or ablation
    spent = 0.0
    if minutes is not None and begun is None and not plan and wanted.asked.match == "documents":
        told("How long each arm trains depends on how much text it has: making that first …")
        spent = make_data(wanted, opened, silent=json)
    planned = plan or pilot or (minutes is not None and begun is None)
    reckoned = reckon(ablation, opened, told, silent=json) if planned else None
    if minutes is not None and begun is None and reckoned is not None:
        ablation = fit(wanted, reckoned, minutes, opened, spent=spent)
        reckoned = scaled(reckoned, ablation, opened)
        if reckoned.unknown:
            told(f"The minutes are of training alone: {reckoned.unknown}")
        if reckoned.note:
            told(reckoned.note)
    less = given_up(wanted, ablation)
    ablation = replace(ablation, given_up=tuple(less))
    if less:
        as_begun = ", as when it was begun" if begun is not None else ""
        told(f"To take {minutes:g} minutes: {', '.join(less)}{as_begun}.")
    if minutes is not None and not plan:
        keep_fitted(wanted, ablation, minutes, opened)
    if pilot and reckoned is not None:
        train_pilot(ablation, opened, silent=json, told=told)
        reckoned = scaled(reckoned, ablation, opened)
    if reckoned is not None and (plan or pilot):
        _print_plan(ablation, reckoned, less, json)
        return
    noted: set[str] = set()

    def shown(arm: Any, data: Mapping[str, Any]) -> None:
        for name, artifact in data.items():
            path = opened.path_of(artifact)
            for note in notes(artifact, path) if path not in noted and not json else ():
                told(f"{arm.label}, {name}: {note}")
            noted.add(path)

    ablated = run_ablation(ablation, opened, silent=json, told=told, shown=shown)
    if not json:
        _print_verdicts(ablated, opened)
    page = write_of_ablation(opened, ablated.report, told=not json)
    if json:
        _print_json(ablated, opened, page, less)
    if not ablated.report.report().comparisons:
        raise not_comparable([each.failure for each in ablated.tried if each.trial.share == 1])


def _print_plan(ablation: Any, reckoned: Any, less: list[str], as_json: bool) -> None:
    from volano.cli.output import duration, print_json, print_line, print_table

    if as_json:
        asked = {"ablation": ablation.name, "seeds": list(ablation.seeds), "given_up": less}
        print_json(asked | reckoned.plain())
        return
    signal = reckoned.signal
    print_table(
        ["arm", "size", "seeds", "in the store", "parameters", "tokens", "training"],
        [
            (
                f"{each.arm.name}, half, for the signal" if each is signal else each.arm.name,
                each.arm.size,
                str(each.trials),
                str(each.reused),
                f"{each.parameters:,}" if each.parameters else "",
                f"{each.tokens:,}" if each.tokens else "",
                duration(each.seconds) if each.seconds else "",
            )
            for each in [*reckoned.arms, *([signal] if signal is not None else [])]
        ],
        right=["seeds", "in the store", "parameters", "tokens", "training"],
        title=f"{ablation.name}: {sum(each.trials for each in reckoned.arms)} trials",
    )
    print_line(reckoned.said_of_data())
    print_line(reckoned.said_of_minutes(duration))
    print_line(reckoned.said_of_noise())


def _print_verdicts(ablated: Any, store: Any) -> None:
    from volano.cli.output import print_line

    print_ablation(ablated.report, store)
    reused = sum(each.reused for each in ablated.tried)
    print_line(f"{len(ablated.tried)} trials, {reused} of them from the store.")
    print_line(f"Kept as {store.path_of(ablated.report)}.")


def print_ablation(verdicts: Any, store: Any) -> None:
    """The arms, each metric of each beside the first one's, and the trials that failed."""
    from volano.cli.output import print_line, print_table
    from volano.study.ablation_found import find_ablation, letter_of
    from volano.study.ablation_read import of_one_document, read_by
    from volano.study.ablation_words import few_items, more_seeds, said_of_seeds
    from volano.study.common_held_out import said_of_common
    from volano.study.held_out_overlap import said_of_overlap
    from volano.study.mixture_law import predicted

    report, name = verdicts.report(), verdicts.name
    found, extra = find_ablation(store, verdicts), report.extra
    letters = {arm: letter_of(place) for place, arm in enumerate(dict.fromkeys(extra["arms"]))}
    for arm, letter in letters.items():
        first = ", which the others are compared with" if letter == "A" else ""
        print_line(f"{letter}: {arm}{first}{read_by(found, arm)}")
    names = ["", *(each.name for each in report.measurements)]
    print_table(
        ["metric", "arm", "seeds", "value", "to A", "95 % interval", "p (Holm)", "verdict"],
        [
            (
                each.name if each.name != former else "",
                letters[each.stage],
                str(each.n),
                f"{each.value:#.4g}".rstrip("."),
                *_compared(report.comparisons, each),
            )
            for former, each in zip(names, report.measurements, strict=False)
        ]
        + [_failed(each, letters[each["arm"]], extra) for each in extra["failures"]],
        right=["seeds", "value", "to A", "95 % interval", "p (Holm)"],
        title=f"Ablation {name}",
    )
    if of_one_document(extra):
        print_line(of_one_document(extra))
    if extra.get("given_up"):
        print_line(f"To fit the minutes: {', '.join(extra['given_up'])}.")
    for arm, same in extra.get("alike", {}).items():
        print_line(f"Not trained: {arm}, which has the content of {same}.")
    if report.comparisons:
        count = len(report.comparisons)
        if count > 1:
            print_line(
                f"p, by which verdicts go, is adjusted for all {count} comparisons together "
                "(Holm); each interval is of its comparison alone."
            )
        more = more_seeds(report.comparisons)
        for line in filter(None, [more, *said_of_seeds(extra), *said_of_overlap(extra)]):
            print_line(line)
    if extra.get("common") is not None:
        print_line(said_of_common(extra["common"]))
    few = few_items(extra)
    if few:
        named = ", ".join(f"{name} ({n})" for name, n in few.items())
        print_line(f"Of so few items that others may say otherwise: {named}.")
    for metric, (n, most) in extra.get("items_in_common", {}).items():
        print_line(f"{metric}: of the {n:,} items that all arms were asked, of {most:,}.")
    for each in extra.get("crossings", []):
        better, worse = (", ".join(each[way]) for way in ("better", "worse"))
        where = f"better at {better} and worse at {worse}"
        print_line(f"The curves cross: {each['metric']} of {each['arm']} is {where}.")
    for each in predicted(found):
        print_line(each.said)
    for metric, signal in extra.get("signal", {}).items():
        if signal["fails"]:
            print_line(f"[{metric}] says nothing here: {'; '.join(signal['fails'])}.")
    for each in extra["failures"]:
        label = ", ".join(filter(None, [each["arm"], each["size"], f"seed {each['seed']}"]))
        print_line(f"Not measured, or not all of it: {label}: {each['failure']}")


def models_of(store: Any, verdicts: Any) -> list[dict[str, Any]]:
    """Arm, size, seed, share of the tokens and model of every trial whose model is in the store."""
    from volano.study.ablation_found import find_ablation

    found = find_ablation(store, verdicts)
    return [
        {
            "arm": each.arm,
            "size": each.size,
            "seed": each.seed,
            "share_of_tokens": each.share,
            "model": store.path_of(each.model),
            "tokens_read": each.tokens_read,
            "epochs": each.epochs,
            "training_seconds": each.base.bill().get("training_seconds") if each.base else None,
        }
        for each in [*found.trials, *found.signalling]
        if each.model is not None
    ]


def print_models(store: Any, verdicts: Any) -> None:
    """Which model in the store is which arm's, by seed."""
    from volano.cli.output import print_table

    columns = ["arm", "size", "seed", "of the tokens", "model"]
    keys = ("arm", "size", "seed", "share_of_tokens", "model")
    rows = [tuple(str(each[key]) for key in keys) for each in models_of(store, verdicts)]
    print_table(columns, rows, right=["seed", "of the tokens"])


def _compared(comparisons: Any, of: Any) -> tuple[str, str, str, str]:
    from math import isfinite

    from volano.study.ablation_words import NONE_SEEN

    for each in comparisons:
        if (each["metric"], each["arm"]) == (of.name, of.stage):
            verdict = each["verdict"]
            if verdict == "no difference shown" and each["visible"] is None:
                verdict += f" ({NONE_SEEN})" if isfinite(each["difference"]) else ""
            elif verdict == "no difference shown":
                seen = f"would have seen {each['visible']:.2g}"
                verdict += f" ({seen if each['deviation'] else 'the same in every seed'})"
            if each.get("greyed"):
                verdict = f"[{verdict}]"
            return (
                _signed(each["difference"]),
                f"[{_signed(each['low'])}, {_signed(each['high'])}]",
                f"{each['adjusted']:.2g}",
                verdict,
            )
    return ("", "", "", "")


def _failed(failure: Mapping[str, Any], letter: str, extra: Mapping[str, Any]) -> tuple[str, ...]:
    """The row of a trial that failed, whole or in part."""
    half = failure.get("share", 1) < 1
    at = f" @ {failure['size']}" if failure["size"] else ""
    known = [
        arms
        for metric, arms in extra.get("half" if half else "values", {}).items()
        if metric.endswith(at)
    ]
    part = any(str(failure["seed"]) in arms.get(failure["arm"], {}) for arms in known)
    what = f"(failed{at}{', half of the tokens' if half else ''})"
    said = "not all measured" if part else "not measured"
    return (what, letter, f"seed {failure['seed']}", *[""] * 4, said)


def _signed(value: float) -> str:
    return f"{value:+.4f}" if abs(value) < MOST_WRITTEN else f"{value:+.3g}"


def _print_json(ablated: Any, store: Any, page: str | None, less: list[str]) -> None:
    from dataclasses import asdict

    from volano.cli.output import print_json
    from volano.study.ablation_data import funnels_of
    from volano.study.ablation_found import find_ablation
    from volano.study.mixture_law import predicted

    report, found = ablated.report.report(), find_ablation(store, ablated.report)
    print_json(
        {
            "report": store.path_of(ablated.report),
            "page": page,
            "measurements": [asdict(each) for each in report.measurements],
            "comparisons": list(report.comparisons),
            "models": models_of(store, ablated.report),
            "funnels": funnels_of(found),
            "predicted_mixture": [each._asdict() for each in predicted(found)],
            "given_up": less,
            **report.extra,
        }
    )
