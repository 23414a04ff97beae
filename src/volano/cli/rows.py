"""What `volano show TOKENS --row N` prints: which documents stand where in a row."""

from typing import Any

from volano.cli.output import print_json, print_line, print_table

EXCERPT_CHARACTERS = 60


def show_row(store: Any, artifact: Any, row: int, as_json: bool) -> None:
    """The documents of a row of packed tokens, by position, with the beginning of their text there.

    Raises DataError where there is no such row, and for anything but packed tokens.
    """
    import numpy as np

    from volano.core.errors import DataError
    from volano.text.stream import TokenShards
    from volano.text.tokenizer import Tokenizer

    if artifact.kind != "tokens":
        what = f"holds a {artifact.kind} and no rows"
        raise DataError(what, artifact.name, "Name packed tokens, such as python-docs/tokens.")
    shards = TokenShards(artifact.folder)
    places = shards.places(row)
    made_by = store.find(artifact.parents["tokenizer"]["fingerprint"])
    tokenizer = Tokenizer.load(made_by.folder)
    tokens = shards.read(np.array([row])).tokens_BT[0].tolist()
    rows = [
        {
            **place._asdict(),
            "text": tokenizer.decode(tokens[place.begin : place.begin + place.length]),
        }
        for place in places
    ]
    if as_json:
        print_json({"row": row, "context": shards.context, "documents": rows})
        return
    print_table(
        ["positions", "document", "from its token", "text"],
        [
            (
                f"{each['begin']}–{each['begin'] + each['length'] - 1}",
                each["document"],
                f"{each['offset']:,}",
                " ".join(each["text"].split())[:EXCERPT_CHARACTERS],
            )
            for each in rows
        ],
        right=["positions", "from its token"],
        title=f"row {row:,} of {shards.rows:,}, {shards.context} positions",
    )
    padding = shards.context - sum(place.length for place in places)
    if padding:
        print_line(f"{padding} positions of padding")
