"""`volano ngrams`: train an n-gram model on trusted text, score texts, and exchange it as ARPA."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from volano.cli.classifier import Files, TextField
from volano.cli.run import JsonOption

ModelFile = Annotated[Path, typer.Option("--model", help="A file that `ngrams train` has written.")]
BATCH_CHARACTERS = 16_000_000
SHOWN_ROWS = 10
EXCERPT_CHARACTERS = 60

app = typer.Typer(
    name="ngrams",
    help="An n-gram model of words: train one on trusted text, and tell how expected others are.",
    no_args_is_help=True,
)


def register(main: typer.Typer) -> None:
    """Add the verbs of this file."""
    main.add_typer(app)


@app.command()
def train(
    files: Files,
    out: Annotated[Path, typer.Option("--out", help="The model to write (safetensors).")],
    order: Annotated[
        int, typer.Option("--order", min=1, max=5, help="Words of the longest n-gram.")
    ] = 3,
    fewest_word_occurrences: Annotated[
        int,
        typer.Option(
            "--min-word-count",
            min=1,
            help="Rarer words are <unk>, which makes unknown words likely.",
        ),
    ] = 1,
    fewest_occurrences: Annotated[
        int,
        typer.Option(
            "--min-count", min=1, help="n-grams of 3 words and more that are rarer are left out."
        ),
    ] = 1,
    text_field: TextField = "text",
    json: JsonOption = False,
) -> None:
    """Train a model (modified Kneser-Ney) on texts like those that shall count as good."""
    from volano.cli.output import print_json, print_line, size
    from volano.core.files import file_digest
    from volano.text.word_model import NgramTraining, train_words
    from volano.text.word_model_file import save_words

    _check_replaceable(out)
    training = NgramTraining(order, fewest_word_occurrences, fewest_occurrences)
    model = train_words(_batches(files, text_field), training)
    save_words(model, out)
    counts = [len(grams.log_prob) for grams in model.grams]
    if json:
        print_json(
            {
                "out": str(out),
                "sha256": file_digest(out),
                "bytes": out.stat().st_size,
                **model.about,
                "ngrams": counts,
            }
        )
        return
    shown = ", ".join(f"{count:,} of {length}" for length, count in enumerate(counts, start=1))
    print_line(
        f"{out}: {size(out.stat().st_size)}, from {model.about['words']:,} words in "
        f"{model.about['sentences']:,} lines; n-grams: {shown}"
    )


@app.command()
def score(
    files: Files,
    model: ModelFile,
    text_field: TextField = "text",
    out: Annotated[
        Path | None, typer.Option("--out", help="Write a line of JSON for every row.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Perplexity of each text per word, and the bounds of its thirds over all of them."""
    from volano.cli.output import print_json, print_line, print_table
    from volano.core.files import atomic_path
    from volano.text.word_model_file import load_words

    loaded = load_words(model)
    texts, places = _rows(files, text_field)
    values = loaded.perplexities(_column(texts)).to_pylist()
    rows = [
        {"where": where, "perplexity": None if value is None else round(value, 3)}
        for where, value in zip(places, values, strict=True)
    ]
    if out is not None:
        import json as encoder

        with atomic_path(out) as unfinished:
            unfinished.write_text("".join(encoder.dumps(row) + "\n" for row in rows), "utf-8")
    if json:
        print_json(rows)
        return
    print_table(
        ["where", "perplexity", "text"],
        [
            (
                rows[place]["where"],
                "" if values[place] is None else f"{values[place]:,.1f}",
                " ".join(texts[place][: 2 * EXCERPT_CHARACTERS].split())[:EXCERPT_CHARACTERS],
            )
            for place in range(0, len(rows), -(-len(rows) // SHOWN_ROWS))
        ],
        right=["perplexity"],
    )
    _print_thirds([value for value in values if value is not None], len(values))
    if out is not None:
        print_line(f"{out}: {len(rows):,} rows")


@app.command("export")
def export_(
    model: ModelFile,
    out: Annotated[Path, typer.Option("--out", help="The ARPA file to write.")],
) -> None:
    """Write a model as ARPA, which KenLM, SRILM and others read."""
    from volano.cli.output import print_line, size
    from volano.text.word_model_file import load_words, write_arpa

    write_arpa(load_words(model), out)
    print_line(f"{out}: {size(out.stat().st_size)}")


@app.command("import")
def import_(
    arpa: Annotated[Path, typer.Argument(help="An ARPA file.")],
    out: Annotated[Path, typer.Option("--out", help="The model to write (safetensors).")],
) -> None:
    """Read a model from ARPA; its words must be parted as this one parts them."""
    from volano.cli.output import print_line, size
    from volano.text.word_model_file import read_arpa, save_words

    _check_replaceable(out)
    model = read_arpa(arpa)
    save_words(model, out)
    counts = ", ".join(f"{len(grams.log_prob):,}" for grams in model.grams)
    print_line(f"{out}: {size(out.stat().st_size)}, n-grams of 1 to {model.order} words: {counts}")


def _check_replaceable(path: Path) -> None:
    from volano.core.errors import DataError
    from volano.text.word_model_file import load_words

    if path.is_dir():
        raise DataError("this is a folder", str(path), "Name a file, such as books.safetensors.")
    if path.exists():
        try:
            load_words(path)
        except DataError:
            what = "exists and is no n-gram model"
            raise DataError(what, str(path), "Name another file.") from None


def _texts(files: Sequence[str], text_field: str, problems: list[str]) -> Iterator[tuple[str, str]]:
    # Text and where it stands; only a line at a time is in memory.
    from volano.core.errors import did_you_mean
    from volano.core.jsonlines import BadLine, json_object, list_files, read_lines

    for path in (entry.path for entry in list_files(files).entries):
        for where, line in read_lines(path, path.name):
            try:
                if isinstance(line, BadLine):
                    raise line
                values = json_object(line)
                if text_field not in values:
                    known = f" ({did_you_mean(text_field, values)})" if values else ""
                    raise BadLine(f"no field '{text_field}'{known}")
                if not isinstance(values[text_field], str) or not values[text_field].strip():
                    raise BadLine(f"field '{text_field}' is no text")
                yield values[text_field], where
            except BadLine as failure:
                problems.append(f"{where}: {failure}")


def _batches(files: Sequence[str], text_field: str) -> Iterator[Any]:
    problems: list[str] = []
    texts: list[str] = []
    characters = 0
    for text, _ in _texts(files, text_field, problems):
        texts.append(text)
        characters += len(text)
        if characters > BATCH_CHARACTERS:
            yield _column(texts)
            texts, characters = [], 0
    yield _column(texts)
    _say_problems(problems)


def _rows(files: Sequence[str], text_field: str) -> tuple[list[str], list[str]]:
    from volano.core.errors import DataError

    problems: list[str] = []
    rows = list(_texts(files, text_field, problems))
    if not rows:
        reason = f"no line is a record (first: {problems[0]})" if problems else "empty"
        raise DataError(reason, ", ".join(files), "Give one JSON object with a text per line.")
    _say_problems(problems)
    return [text for text, _ in rows], [where for _, where in rows]


def _column(texts: Sequence[str]) -> Any:
    import pyarrow as pa

    return pa.array(texts, pa.large_string())


def _say_problems(problems: Sequence[str]) -> None:
    if problems:
        lines = "1 line was" if len(problems) == 1 else f"{len(problems):,} lines were"
        print(f"volano: {lines} left out; the first, {problems[0]}.", file=sys.stderr, flush=True)


def _print_thirds(values: list[float], rows: int) -> None:
    import numpy as np

    from volano.cli.output import print_line

    if not values:
        print_line(f"None of {rows:,} rows has a word.")
        return
    third, two_thirds = np.quantile(values, [1 / 3, 2 / 3])
    print_line(
        f"Of {rows:,} rows, a third is below {third:,.1f} and a third above {two_thirds:,.1f}."
    )
