"""`volano compare`: two models or reports on the same items, and what differs behind them."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from volano.cli.run import DEFAULT_STORE, JsonOption, StoreOption

MOST_LINES = 6  # of what differs in one artifact; `volano diff` shows all
MOST_NAMED = 3
EXCERPT_CHARACTERS = 100
# Items of the others are told by their title: answers that repeat: yes.
RIGHT_OR_WRONG = {
    "choice_pmi", "choice_normalised", "held_out_half_choice", "held_out_half_exact",
}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command()(compare)


def compare(
    first: Annotated[str, typer.Argument(help="A checkpoint of the store, or a report.")],
    second: Annotated[str, typer.Argument(help="Another of the same kind.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="Settings of evaluate, such as safety_prompts=400."),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            "--tasks",
            help="Tasks of the evaluation, apart by commas: bits_per_byte (the default), "
            "held_out_functions, conversations, safety.",
        ),
    ] = None,
    show: Annotated[
        int,
        typer.Option("--show", min=0, help="Of each task, items that were lost, and won, at most."),
    ] = 0,
    on: Annotated[
        list[str] | None,
        typer.Option("--on", help="Corpus to measure on. Default: what both were kept from."),
    ] = None,
    documents: Annotated[
        int | None,
        typer.Option("--documents", min=2, help="For bits per byte, of each domain. Default: 300."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", help="Domains are a document's `kind` (the default) or `source`."),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Compare two checkpoints, or two reports, item by item, and the data behind them.

    It tells of these two models; whether a way of making them is better takes `volano ablate`.
    """
    from volano.core.store import Store
    from volano.evaluate.section import DomainsSection
    from volano.study.compare import compare as compare_checkpoints
    from volano.study.compare import compare_reports, evaluation_of, tasks_named

    opened = Store(store)
    pair = opened.find(first), opened.find(second)
    _require_one_kind(*pair)
    if pair[0].kind == "report":
        given = {"--tasks": tasks, "--on": on, "--documents": documents, "--by": by}
        given |= {each: each for each in settings or ()}
        _refuse(given, "reports have been measured already", "Name two checkpoints")
        found = compare_reports(opened, *pair)
    else:
        chosen = tasks_named((tasks or "bits_per_byte").replace(" ", "").split(","))
        if "bits_per_byte" not in chosen:
            given = {"--documents": documents, "--by": by}
            _refuse(given, "only bits per byte have domains", "Add bits_per_byte to --tasks")
        others = [each for each in chosen if each != "bits_per_byte"]
        if not others:
            given = {each: each for each in settings or ()}
            _refuse(given, "bits per byte take --documents and --by", "Name other --tasks")
        values = {"documents": documents, "by": by}
        section = {name: value for name, value in values.items() if value is not None}
        found = compare_checkpoints(
            opened,
            *pair,
            section=DomainsSection.read(section, "volano compare"),
            tasks=chosen,
            evaluation=evaluation_of(others, settings or ()),
            on=[opened.find(each) for each in on or ()],
            silent=json,
        )
    _print_json(found, opened) if json else _print(found, opened, show)


def _require_one_kind(first: Any, second: Any) -> None:
    from volano.core.errors import StoreError

    for each in (first, second):
        if each.kind not in ("checkpoint", "report"):
            what = f"this is a {each.kind}, not a checkpoint"
            raise StoreError(what, each.name, "Name two checkpoints, or two reports.")
    if first.kind != second.kind:
        what = f"a {first.kind} beside a {second.kind}"
        where = f"{first.name} and {second.name}"
        raise StoreError(what, where, "Name two checkpoints, or two reports.")


def _refuse(given: dict[str, Any], why: str, remedy: str) -> None:
    from volano.core.errors import StoreError

    for option, value in given.items():
        if value is not None and value != []:
            raise StoreError(f"has no effect: {why}", option, f"{remedy}, or leave it out.")


def _print(found: Any, store: Any, show: int) -> None:
    from volano.cli.output import print_line, print_table

    columns = ["first", "second", "second − first", "95 % interval", "p", "p, Holm", "items"]
    parts = dict.fromkeys(each.of for each in found.rows)
    title = f"{store.path_of(found.first)} and {store.path_of(found.second)}"
    print_table(
        ["", *(["of"] if len(parts) > 1 else []), *columns, "the second is"],
        [
            (
                _title(each.task),
                *([each.of] if len(parts) > 1 else []),
                _figure(each.first, each),
                _figure(each.second, each),
                _signed(each.difference, each) + (" points" if each.unit == "share" else ""),
                f"[{_signed(each.low, each)}, {_signed(each.high, each)}]",
                f"{each.p_value:.2g}",
                f"{each.adjusted:.2g}",
                f"{each.n:,}",
                each.verdict,
            )
            for each in found.rows
        ],
        right=columns,
        title=f"{title}, {''.join(parts)}" if len(parts) == 1 and "" not in parts else title,
    )
    if found.first.digest == found.second.digest:
        print_line("Both have the same content, to the byte.")
    if found.measured_on:
        print_line(
            "Of these two models: whether the way in which one was made is better takes several "
            "seeds of each (volano ablate)."
        )
    for each in found.measured_on:
        print_line(f"Measured on {store.path_of(each.corpus)}: {each.why}.")
    _print_missing(found.missing)
    if show:
        _print_changes(found, show)
    _print_data(found)


def _print_missing(missing: Sequence[Any]) -> None:
    from volano.cli.output import print_line
    from volano.study.compare_items import LEAST

    for each in missing:
        if each.both:
            of = f" ({each.of})" if each.of else ""
            print_line(
                f"Not paired: {each.only_first:,} items of {_title(each.task)}{of} that only the "
                f"first has, {each.only_second:,} that only the second has; {each.both:,} in both"
                f"{', too few to compare' if each.both < LEAST else ''}."
            )
    for whose, field in (("first", "only_first"), ("second", "only_second")):
        by_stage: dict[str, list[int]] = {}
        for each in missing:
            if not each.both and getattr(each, field):
                by_stage.setdefault(each.of, []).append(getattr(each, field))
        told = [
            f"{of + ': ' if of else ''}{sum(counts):,} items of {_counted(len(counts), 'task')}"
            for of, counts in by_stage.items()
        ]
        if told:
            print_line(f"Not paired, as only the {whose} has them: {'; '.join(told)}.")


def _print_changes(found: Any, show: int) -> None:
    from itertools import groupby

    from volano.cli.output import print_line

    rows = {(each.task, each.of): each for each in found.rows}
    for key, group in groupby(found.changes, key=lambda each: (each.task, each.of)):
        changes = list(group)
        of = f" ({key[1]})" if key[1] else ""
        for is_lost, which in ((True, "better in the first"), (False, "better in the second")):
            some = [each for each in changes if each.lost == is_lost]
            if some:
                print_line(f"{_title(key[0])}{of}: {_counted(len(some), 'item')} {which}")
            for each in some[:show]:
                asked = found.asked.get(each.id)
                print_line(f"    {each.id}{f': {_line(asked)}' if asked else ''}")
                values = [_value(value, rows[key]) for value in (each.first, each.second)]
                answers = each.first_answer, each.second_answer
                if answers == (None, None):
                    print_line(f"        first {values[0]}, second {values[1]}")
                    continue
                for whose, value, answer in zip(("first", "second"), values, answers, strict=True):
                    print_line(f"        {whose} {value}: {_line(answer or '')}")


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT_CHARACTERS else f"{line[:EXCERPT_CHARACTERS]}…"


def _value(value: float, row: Any) -> str:
    if row.unit != "share":
        return _figure(value, row)
    yes, no = ("right", "wrong") if row.task in RIGHT_OR_WRONG else ("yes", "no")
    return yes if value else no


def _print_data(found: Any) -> None:
    from volano.cli.output import print_line

    seen = found.seen
    other = f" ({seen.other_text:,} of them with another text)" if seen.other_text else ""
    print_line(
        f"Documents read: {seen.both:,} by both{other}, {seen.only_first:,} by the first alone"
        f"{_named(seen.only_first_by_source)}, {seen.only_second:,} by the second alone"
        f"{_named(seen.only_second_by_source)}."
    )
    for whose, other, because in (
        ("first", "second", seen.only_first_because),
        ("second", "first", seen.only_second_because),
    ):
        for reason, count in because.items():
            print_line(f"  of the {whose}'s alone: {count:,} {reason} in the {other}")
    for each in found.apart:
        for line in each.lines[:MOST_LINES]:
            print_line(f"  {each.step}: {line}")
        if len(each.lines) > MOST_LINES:
            print_line(f"  {each.step}: and {len(each.lines) - MOST_LINES} more")


def _named(by_source: Any) -> str:
    if not by_source:
        return ""
    first = ", ".join(f"{source} {n:,}" for source, n in list(by_source.items())[:MOST_NAMED])
    return f" ({first}{', …' if len(by_source) > MOST_NAMED else ''})"


def _title(task: str) -> str:
    from volano.evaluate.table import ROWS

    return ROWS.get(task, task.replace("_", " "))


def _figure(value: float, row: Any) -> str:
    if row.unit == "share":
        return f"{100 * value:.1f} %"
    return f"{value:.4f}" if row.unit == "bits/byte" else f"{value:.3f}"


def _signed(value: float, row: Any) -> str:
    if row.unit == "share":
        return f"{100 * value:+.1f}"
    return f"{value:+.4f}" if row.unit == "bits/byte" else f"{value:+.3f}"


def _print_json(found: Any, store: Any) -> None:
    from volano.cli.output import print_json

    print_json(
        {
            "first": store.path_of(found.first),
            "second": store.path_of(found.second),
            "rows": [each._asdict() for each in found.rows],
            "measured_on": {
                each.need: {"corpus": store.path_of(each.corpus), "why": each.why}
                for each in found.measured_on
            },
            "missing": [each._asdict() for each in found.missing],
            "changes": [
                {**each._asdict(), "asked": found.asked.get(each.id)} for each in found.changes
            ],
            "apart": {each.step: each.lines for each in found.apart},
            "seen": found.seen._asdict(),
        }
    )
