"""`volano dedup`: what settings of deduplication find, before they are used on a corpus."""

from typing import Annotated, Any

import typer

from volano.cli.run import JsonOption

BAR_CHARACTERS = 40
SHOWN_SUGGESTIONS = 3
STEPS = 20  # similarities 0, 0.05 … 1

app = typer.Typer(name="dedup", help="Deduplication: what its settings find.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """Deduplication: what its settings find."""


def register(main: typer.Typer) -> None:
    """Add the verbs of this file."""
    main.add_typer(app)


@app.command()
def curve(
    permutations: Annotated[
        int, typer.Option("--permutations", min=1, max=1024, help="Places of a signature.")
    ] = 112,
    bands: Annotated[
        int | None,
        typer.Option("--bands", min=1, help="Bands; without, those suggested for --similarity."),
    ] = None,
    similarity: Annotated[
        float,
        typer.Option(
            "--similarity", min=0.01, max=0.99, help="From which on pairs should be found."
        ),
    ] = 0.7,
    json: JsonOption = False,
) -> None:
    """Print how likely MinHash finds a pair by its Jaccard similarity, and suggest bands."""
    from volano.core.errors import DataError
    from volano.text.banding import banding_of, candidate_probability, suggested_bandings

    suggested = suggested_bandings(permutations, similarity)
    if bands is not None and permutations % bands:
        fitting = ", ".join(str(each.bands) for each in sorted(suggested, key=lambda s: s.bands))
        raise DataError(
            f"{bands} bands do not divide {permutations} permutations",
            "--bands",
            f"Take one of {fitting}.",
        )
    chosen = suggested[0] if bands is None else banding_of(permutations, bands, similarity)
    points = [place / STEPS for place in range(STEPS + 1)]
    chances = [
        float(candidate_probability(point, bands=chosen.bands, rows=chosen.rows))
        for point in points
    ]
    if json:
        from volano.cli.output import print_json

        print_json(
            {
                "similarity": similarity,
                "banding": chosen._asdict(),
                "curve": [list(pair) for pair in zip(points, chances, strict=True)],
                "suggested": [each._asdict() for each in suggested[:SHOWN_SUGGESTIONS]],
            }
        )
        return
    _print_curve(points, chances, chosen, similarity)
    _print_suggestions(suggested, similarity)


def _print_curve(points: list[float], chances: list[float], chosen: Any, similarity: float) -> None:
    from volano.cli.output import print_line

    print_line(
        f"{chosen.permutations} permutations, {chosen.bands} bands of {chosen.rows}: half of the "
        f"pairs of similarity {chosen.half_found_similarity:.2f} become candidates\n"
    )
    print_line("similarity  found")
    for point, chance in zip(points, chances, strict=True):
        bar = "█" * round(chance * BAR_CHARACTERS)
        wanted = "  ← wanted from here on" if 0 <= point - similarity < 1 / STEPS else ""
        print_line(f"      {point:.2f}  {100 * chance:5.1f} %  {bar}{wanted}".rstrip())
    print_line("")


def _print_suggestions(suggested: list[Any], similarity: float) -> None:
    from volano.cli.output import print_line, print_table

    names = ["bands", "rows", "half found at", "false negatives", "false positives"]
    print_table(
        names,
        [
            (
                each.bands,
                each.rows,
                f"{each.half_found_similarity:.3f}",
                f"{each.false_negative_area:.4f}",
                f"{each.false_positive_area:.4f}",
            )
            for each in suggested[:SHOWN_SUGGESTIONS]
        ],
        right=names,
        title=f"Best for {similarity}",
    )
    best = suggested[0]
    print_line(
        "False negatives and positives are areas between the curve and a perfect one, if pairs of "
        "every similarity were equally many; min_similarity takes most of the positives out again."
    )
    print_line(
        f"-s dedup.minhash.permutations={best.permutations} -s dedup.minhash.bands={best.bands}"
    )
