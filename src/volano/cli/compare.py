"""`volano compare`: two base models on the same held-out text, and what differs behind them."""

from typing import Annotated, Any

import typer

from volano.cli.run import DEFAULT_STORE, JsonOption, StoreOption

MOST_LINES = 6  # of what differs in one artifact; `volano diff` shows all


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command()(compare)


def compare(
    first: Annotated[str, typer.Argument(help="A checkpoint of the store.")],
    second: Annotated[str, typer.Argument(help="Another.")],
    on: Annotated[
        str | None,
        typer.Option("--on", help="Corpus to measure on. Default: what both were kept from."),
    ] = None,
    documents: Annotated[
        int, typer.Option("--documents", min=2, help="Of each domain, at most.")
    ] = 300,
    by: Annotated[
        str, typer.Option("--by", help="Domains are a document's `kind` or `source`.")
    ] = "kind",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Compare two checkpoints document by document, and the data that they were made of.

    It tells of these two models; whether a way of making them is better takes `volano ablate`.
    """
    from volano.core.store import Store
    from volano.evaluate.section import DomainsSection
    from volano.study.compare import compare as run_comparison

    opened = Store(store)
    found = run_comparison(
        opened,
        opened.find(first),
        opened.find(second),
        section=DomainsSection.read({"documents": documents, "by": by}, "volano compare"),
        held_out=None if on is None else opened.find(on),
        silent=json,
    )
    _print_json(found, opened) if json else _print(found, opened)


def _print(found: Any, store: Any) -> None:
    from volano.cli.output import print_line, print_table

    print_table(
        ["bits per byte", "first", "second", "difference", "95 % interval", "p", "documents"],
        [
            (
                each.domain,
                f"{each.first:.4f}",
                f"{each.second:.4f}",
                f"{each.difference:+.4f}",
                f"[{each.low:+.4f}, {each.high:+.4f}]",
                f"{each.p_value:.2g}",
                str(each.n),
            )
            for each in found.domains
        ],
        right=["first", "second", "difference", "95 % interval", "p", "documents"],
        title=f"{store.path_of(found.first)} and {store.path_of(found.second)}",
    )
    seen = found.seen
    print_line(
        f"Documents read: {seen.both:,} by both, {seen.only_first:,} by the first alone"
        f"{_named(seen.only_first_by_source)}, {seen.only_second:,} by the second alone"
        f"{_named(seen.only_second_by_source)}."
    )
    for each in found.apart:
        for line in each.lines[:MOST_LINES]:
            print_line(f"  {each.step}: {line}")
        if len(each.lines) > MOST_LINES:
            print_line(f"  {each.step}: and {len(each.lines) - MOST_LINES} more")


def _named(by_source: Any) -> str:
    if not by_source:
        return ""
    first = ", ".join(f"{source} {count:,}" for source, count in list(by_source.items())[:3])
    return f" ({first}{', …' if len(by_source) > 3 else ''})"


def _print_json(found: Any, store: Any) -> None:
    from volano.cli.output import print_json

    print_json(
        {
            "first": store.path_of(found.first),
            "second": store.path_of(found.second),
            "domains": [each._asdict() for each in found.domains],
            "apart": {each.step: each.lines for each in found.apart},
            "seen": found.seen._asdict(),
        }
    )
