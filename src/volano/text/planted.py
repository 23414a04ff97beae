"""The list of what was planted in a corpus: collection writes it, evaluation asks about it."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from volano.core.corpus import Corpus

PLANTED_FILE = "planted.parquet"
DOCUMENT, CANARY = "document", "canary"
PLANTED_SCHEMA = pa.schema(
    [
        ("what", pa.string()),
        ("id", pa.string()),
        ("copies", pa.int64()),  # occurrences in all
        ("prompt", pa.large_string()),
        ("secret", pa.string()),
        ("kind", pa.string()),
    ]
)


def planted_in(corpus: Corpus, what: str) -> list[dict[str, Any]]:
    """The rows about documents, or canaries; none where nothing was planted."""
    path = corpus.folder / PLANTED_FILE
    if not path.is_file():
        return []
    return [row for row in pq.read_table(path).to_pylist() if row["what"] == what]
