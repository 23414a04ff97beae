"""`volano classifier label`: a language model scores documents, for a classifier to learn from."""

from pathlib import Path
from typing import Annotated

import typer

from volano.cli.classifier import Files, TextField, app, rows_of
from volano.cli.run import JsonOption


def register(main: typer.Typer) -> None:
    """Nothing of its own: the verb below belongs to `volano classifier`."""


@app.command()
def label(
    files: Files,
    prompt: Annotated[
        Path, typer.Option("--prompt", help="A text file with {text} where the document goes.")
    ],
    endpoint: Annotated[
        str, typer.Option("--endpoint", help="Of OpenAI's protocol: http://HOST:PORT/v1.")
    ],
    model: Annotated[str, typer.Option("--model", help="What the endpoint calls the model.")],
    out: Annotated[Path, typer.Option("--out", help="The rows with labels to write (JSONL).")],
    marker: Annotated[
        str, typer.Option("--marker", help="What stands before the score in an answer.")
    ] = "Educational score:",
    threshold: Annotated[
        int, typer.Option("--threshold", min=1, max=5, help="Score from which on it is wanted.")
    ] = 3,
    characters: Annotated[
        int, typer.Option("--characters", min=1, help="Of a document that are shown.")
    ] = 4000,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=1, help="Of an answer at most.")
    ] = 512,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=256, help="Requests at once.")
    ] = 8,
    key_variable: Annotated[
        str, typer.Option("--key-variable", help="Environment variable that holds the key.")
    ] = "",
    text_field: TextField = "text",
    json: JsonOption = False,
) -> None:
    """Ask a language model for a score from 0 to 5 of each text; a stopped run goes on."""
    import json as encoder
    from collections import Counter

    from volano.adapters.openai import OpenAIResponder, key_from
    from volano.cli.output import print_json, print_line
    from volano.core.errors import DataError
    from volano.core.files import atomic_path
    from volano.core.progress import progress
    from volano.core.recipe import require_file
    from volano.text.judged import check_template, judge_texts

    if out.is_dir():
        raise DataError("this is a folder", str(out), "Name a file, such as labelled.jsonl.")
    template = require_file(prompt).read_text("utf-8")
    check_template(template, str(prompt))
    texts, places = rows_of(files, text_field, None)
    responder = OpenAIResponder(endpoint, model, key_from(key_variable), concurrency)
    journal = out.with_name(out.name + ".answers")
    with progress("label", len(texts), "documents", silent=json) as bar:
        judged = judge_texts(
            texts,
            responder,
            template,
            journal,
            named=model,
            marker=marker,
            characters=characters,
            max_tokens=max_tokens,
            at_once=4 * concurrency,
            advance=bar.advance,
        )
    rows, left_out = [], []
    for where, text, each in zip(places, texts, judged, strict=True):
        row = {"where": where, "text": text, "answer": each.answer}
        if each.score is None:
            left_out.append(row | {"reason": each.reason})
        else:
            named = "wanted" if each.score >= threshold else "unwanted"
            rows.append(row | {"score": each.score, "label": named})
    unparsed = out.with_name(f"{out.stem}.unparsed.jsonl")
    for path, lines in ((out, rows), (unparsed, left_out)):
        with atomic_path(path) as unfinished:
            text = "".join(encoder.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            unfinished.write_text(text, "utf-8")
    if not left_out:
        unparsed.unlink()
    counts = Counter(row["score"] for row in rows)
    if json:
        print_json(
            {
                "out": str(out),
                "rows": len(rows),
                "unparsed": len(left_out),
                "scores": {str(score): counts[score] for score in range(6)},
            }
        )
        return
    shown = ", ".join(f"{score}: {counts[score]:,}" for score in range(6))
    print_line(f"{out}: {len(rows):,} rows with a score ({shown})")
    if left_out:
        first = left_out[0]["reason"]
        print_line(f"{unparsed}: {len(left_out):,} answers without one; the first, {first}")
    print_line(f"{journal}: all answers; delete it once they are no longer needed")
