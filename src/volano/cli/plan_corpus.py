"""`volano plan corpus`: what another size would take, by the rates of a run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from volano.cli.run import DEFAULT_STORE, JsonOption, StoreOption

UNITS = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15,
         "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}  # fmt: skip

FEW_CORE_SECONDS = 60  # start-up is no longer most of it


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("corpus")(plan_corpus)


def plan_corpus(
    corpus: Annotated[
        str, typer.Argument(help="A curated corpus that shows the rates, such as sample.")
    ],
    size: Annotated[
        str, typer.Option("--bytes", help="Text to be curated, as collected: 10TB, 500GB …")
    ],
    keep: Annotated[
        str | None, typer.Option("--keep", help="Text wanted in the end: how much must go in?")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Cores that work at once.")] = 1,
    memory: Annotated[str, typer.Option("--memory", help="Memory of one worker.")] = "1GiB",
    price: Annotated[
        float | None,
        typer.Option("--price-per-core-hour", min=0, help="In any currency, for the total."),
    ] = None,
    simulation: Annotated[
        Path | None,
        typer.Option(
            "--simulation",
            help="What benchmarks/simulate_dedup.py --json has written: memory and time of the "
            "comparison, measured at sizes that a sample does not have.",
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print each figure's formula.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Plan the curation of a corpus of another size: core-hours, memory, disk, time and money.

    Rates come from the bills of CORPUS and of what it was made of.
    """
    from volano.core.store import Store
    from volano.study.scale import COMPARE_COST, Target, read_simulation, sample_of, scale_plan

    opened = Store(store)
    sample = sample_of(opened, opened.find(corpus))
    target = Target(
        text_bytes=read_size(size, "--bytes"),
        workers=workers,
        memory_bytes=read_size(memory, "--memory"),
        price_per_core_hour=price,
        keep_bytes=None if keep is None else read_size(keep, "--keep"),
    )
    cost = COMPARE_COST if simulation is None else read_simulation(simulation)
    figures = scale_plan(sample, target, cost)
    _print(sample, target, cost, figures, explain, json)


def read_size(text: str, option: str) -> int:
    """Bytes of a size such as 10TB or 1.5 GiB. Raises DataError for what is none."""
    import re

    from volano.core.errors import DataError

    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if found is None or found[2] not in UNITS or not float(found[1]):
        known = ", ".join(unit for unit in UNITS if unit)
        raise DataError(f"no size: '{text}'", option, f"Write a number and one of {known}.")
    return round(float(found[1]) * UNITS[found[2]])


def _print(
    sample: Any, target: Any, cost: Any, figures: list[Any], explain: bool, as_json: bool
) -> None:
    from dataclasses import asdict

    from volano.cli.output import print_json, print_line, print_table, size

    if as_json:
        minhash = None if sample.minhash is None else sample.minhash.identity()
        print_json(
            {
                "sample": asdict(sample) | {"minhash": minhash},
                "target": asdict(target),
                "compare": cost._asdict(),
                "figures": [asdict(each) for each in figures],
            }
        )
        return
    rows = [
        (each.name, _told(each), each.unit if each.unit != "bytes" else "", each.formula)
        for each in figures
    ]
    print_table(
        ["", "figure", "unit", *(["formula"] if explain else [])],
        rows if explain else [row[:-1] for row in rows],
        right=["figure"],
        title=f"{size(target.text_bytes)} of text, by the rates of {sample.name} "
        f"({sample.documents:,} documents, {size(sample.text_bytes)}; {sample.machine})",
    )
    if cost.seconds_per_document is None and "compare" in sample.core_seconds:
        print_line("Comparing takes more per document in a large corpus: give --simulation.")
    if "collect" not in sample.core_seconds:
        print_line("What collecting took is not known: its artifact is not in the store, or was")
        print_line("made in several sittings.")
    if (spent := sum(sample.core_seconds.values())) < FEW_CORE_SECONDS:
        print_line(
            f"The sample took {spent:.1f} core-seconds, much of them to start: take a larger."
        )
    print_line("Copies are rarer in a sample than in the whole: expect less to be kept.")


def _told(figure: Any) -> str:
    from volano.cli.output import size

    if figure.unit == "bytes":
        return size(figure.value)
    if figure.unit in ("documents", "parts"):
        return f"{figure.value:,.0f}"
    return f"{figure.value:,.2f}" if figure.value < 100 else f"{figure.value:,.0f}"
