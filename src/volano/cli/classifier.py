"""`volano classifier`: train a classifier of texts on rows with labels, and score texts."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from volano.cli.run import JsonOption

if TYPE_CHECKING:
    from volano.text.classify import Classifier, Trained

Files = Annotated[list[str], typer.Argument(help="JSONL files (.gz, .zst), patterns in quotes.")]
TextField = Annotated[str, typer.Option("--text-field", help="The field that holds the text.")]
SHOWN_ROWS = 10
EXCERPT_CHARACTERS = 60

app = typer.Typer(
    name="classifier",
    help="A classifier of texts: train one on rows with labels, and score texts with it.",
    no_args_is_help=True,
)


def register(main: typer.Typer) -> None:
    """Add the verbs of this file."""
    main.add_typer(app)


@app.command("train")
def train_(
    files: Files,
    out: Annotated[Path, typer.Option("--out", help="The file of weights to write (safetensors).")],
    label_field: Annotated[
        str, typer.Option("--label-field", help="The field that holds the label.")
    ] = "label",
    text_field: TextField = "text",
    held_out: Annotated[
        float,
        typer.Option("--held-out", min=0, max=0.8, help="Fraction of the rows kept for the test."),
    ] = 0.1,
    validation: Annotated[
        float,
        typer.Option(
            "--validation", min=0.01, max=0.8, help="Fraction kept to stop and to calibrate by."
        ),
    ] = 0.1,
    words: Annotated[
        int, typer.Option("--words", min=1, max=2, help="Words of an n-gram at most.")
    ] = 2,
    bucket_bits: Annotated[
        int, typer.Option("--bucket-bits", min=8, max=24, help="2 to the power of it are weights.")
    ] = 18,
    epochs: Annotated[
        int, typer.Option("--epochs", min=1, help="Passes over the rows at most.")
    ] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the order of the rows.")] = 0,
    json: JsonOption = False,
) -> None:
    """Train a classifier on texts with labels; rows with equal texts are kept on one side."""
    from volano.cli.output import print_json, print_line, size
    from volano.core.files import file_digest
    from volano.text.classifier_file import check_replaceable, save_classifier
    from volano.text.classify import Training, column_of, train

    check_replaceable(out)
    texts, labels = rows_of(files, text_field, label_field)
    made = train(
        column_of(texts),
        labels,
        training=Training(words=words, bucket_bits=bucket_bits, epochs=epochs, seed=seed),
        validation_fraction=validation,
        test_fraction=held_out,
        say=_say_nothing if json else _say_pass,
    )
    save_classifier(made.classifier, out)
    found = _held_out(made, texts, labels)
    if json:
        print_json(
            {
                "out": str(out),
                "sha256": file_digest(out),
                "bytes": out.stat().st_size,
                **made.classifier.about,
                "curve": [each._asdict() for each in made.curve],
                "held_out": found,
            }
        )
        return
    _print_held_out(found, made.classifier.about["rows"])
    print_line(f"{out}: {size(out.stat().st_size)}, labels {', '.join(made.classifier.labels)}")


@app.command()
def score(
    files: Files,
    model: Annotated[
        Path | None, typer.Option("--model", help="Weights; without: Volano's own of toxicity.")
    ] = None,
    text_field: TextField = "text",
    out: Annotated[
        Path | None, typer.Option("--out", help="Write a line of JSON for every row.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Score texts: the probability of each label, each text as a whole."""
    from volano.cli.output import print_json, print_line, print_table
    from volano.core.files import atomic_path
    from volano.curate.section import ToxicitySection
    from volano.curate.toxicity import weights_of
    from volano.text.classifier_file import load_classifier
    from volano.text.classify import column_of

    classifier = load_classifier(model or weights_of(ToxicitySection()))
    texts, places = rows_of(files, text_field, None)
    probabilities = classifier.probabilities(column_of(texts))
    rows = [
        {
            "where": where,
            "label": classifier.labels[int(row.argmax())],
            "probabilities": {
                name: round(float(value), 5)
                for name, value in zip(classifier.labels, row, strict=True)
            },
        }
        for where, row in zip(places, probabilities, strict=True)
    ]
    if out is not None:
        import json as encoder

        with atomic_path(out) as unfinished:
            lines = (encoder.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            unfinished.write_text("".join(lines), "utf-8")
    if json:
        print_json(rows)
        return
    shown = range(0, len(rows), -(-len(rows) // SHOWN_ROWS))
    print_table(
        ["where", *classifier.labels, "text"],
        [
            (
                rows[place]["where"],
                *(f"{value:.3f}" for value in probabilities[place]),
                " ".join(texts[place][: 2 * EXCERPT_CHARACTERS].split())[:EXCERPT_CHARACTERS],
            )
            for place in shown
        ],
        right=classifier.labels,
    )
    _print_counts(classifier, probabilities)
    if out is not None:
        print_line(f"{out}: {len(rows):,} rows")


def rows_of(
    files: Sequence[str], text_field: str, label_field: str | None
) -> tuple[list[str], list[str]]:
    """Texts, and their labels; or where each stands, if no field of labels is named."""
    from volano.core.errors import did_you_mean
    from volano.core.jsonlines import BadLine, list_files, read_records

    def record_of(values: dict[str, Any], where: str) -> tuple[str, str]:
        for name in (text_field, *([label_field] if label_field else [])):
            if name not in values:
                known = f" ({did_you_mean(name, values)})" if values else ""
                raise BadLine(f"no field '{name}'{known}")
        text, label = values[text_field], where if label_field is None else values[label_field]
        if not isinstance(text, str) or not text.strip():
            raise BadLine(f"field '{text_field}' is no text")
        if not isinstance(label, str | int) or label == "":
            raise BadLine(f"field '{label_field}' is no label: neither text nor a whole number")
        return text, str(label)

    paths = [entry.path for entry in list_files(files).entries]
    records, problems = read_records(paths, record_of)
    if problems:
        first = f"{problems[0].where}: {problems[0].reason}"
        lines = "1 line was" if len(problems) == 1 else f"{len(problems):,} lines were"
        print(f"volano: {lines} left out; the first, {first}.", file=sys.stderr, flush=True)
    return [text for text, _ in records], [label for _, label in records]


def _say_nothing(each: Any) -> None:
    pass


def _say_pass(each: Any) -> None:
    from volano.cli.output import print_line

    losses = f"training loss {each.training_loss:.4f}, validation loss {each.validation_loss:.4f}"
    print_line(f"pass {each.epoch}: {losses}")


def _held_out(made: "Trained", texts: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy, and for each label how well it is told from the others, on the rows of the test."""
    import numpy as np

    from volano.stats.detection import average_precision, calibration_error, roc_auc
    from volano.text.classify import SIDES, column_of

    test = np.flatnonzero(made.sides == SIDES.index("test")).tolist()
    if not len(test):
        return {}
    names = made.classifier.labels
    probabilities = made.classifier.probabilities(column_of([texts[row] for row in test]))
    truth = np.array([names.index(labels[row]) for row in test])
    return {
        "rows": len(test),
        "accuracy": round(float((probabilities.argmax(axis=1) == truth).mean()), 4),
        "labels": {
            name: {
                "rows": int((truth == place).sum()),
                "roc_auc": _number(roc_auc(probabilities[:, place], truth == place)),
                "average_precision": _number(
                    average_precision(probabilities[:, place], truth == place)
                ),
                "calibration_error": _number(
                    calibration_error(probabilities[:, place], truth == place)
                ),
            }
            for place, name in enumerate(names)
        },
    }


def _number(value: float) -> float | None:
    return None if value != value else round(value, 4)  # not a number where a label is absent


def _print_held_out(found: dict[str, Any], rows: dict[str, int]) -> None:
    from volano.cli.output import print_line, print_table

    counts = ", ".join(f"{count:,} for {side}" for side, count in rows.items())
    if not found:
        print_line(f"Rows: {counts}. No row was held out, so nothing is known of new texts.")
        return
    measures = ["rows", "roc_auc", "average_precision", "calibration_error"]
    print_table(
        ["label", *(name.replace("_", " ") for name in measures)],
        [
            (name, *("" if each[measure] is None else each[measure] for measure in measures))
            for name, each in found["labels"].items()
        ],
        title=f"On {found['rows']:,} rows held out, accuracy {found['accuracy']:.3f}",
        right=[name.replace("_", " ") for name in measures],
    )
    print_line(f"Rows: {counts}.")


def _print_counts(classifier: "Classifier", probabilities: Any) -> None:
    from volano.cli.output import print_line

    most_likely = probabilities.argmax(axis=1)
    counts = ", ".join(
        f"{name} {int((most_likely == place).sum()):,}"
        for place, name in enumerate(classifier.labels)
    )
    print_line(f"Most likely, of {len(probabilities):,} rows: {counts}.")
