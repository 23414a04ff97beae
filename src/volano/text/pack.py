"""Documents to rows of equal length, ready for training, each token traceable to its document.

A row has `context` positions and one slot more, which holds only the label of the last position.
A document is the end-of-text token followed by its tokens, and what it must predict is its tokens
followed by the end-of-text token. It is cut every `context` positions: whole cuts fill a row each,
the remainders share rows, best fit first. So every token of every document is predicted exactly
once, none across a boundary, and what is lost is padding alone.

Documents that a mixture has read again are packed once more behind all others of their kind: no row
holds a document twice, and how far apart two such rows are read is left to the stream's shuffle.

    tokens.bin      rows × (context + 1) token ids, uint16 or uint32, to be memory-mapped
    spans.parquet   row, begin, length (positions), document, offset (of its first token there)
    meta.json       shape, first row and rows of each kind, padding, digests of the other files and
                    of the tokenizer

With numbers of documents beside them: text/document_values.py.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from volano.core.corpus import write_shard
from volano.core.errors import DataError
from volano.core.files import atomic_path, file_digest, write_json
from volano.text.document_values import VALUES_FILE, DocumentValues
from volano.text.tokenizer import Tokenizer

Array = npt.NDArray[Any]
TOKENS_FILE, SPANS_FILE, META_FILE = "tokens.bin", "spans.parquet", "meta.json"
FORMAT = 2  # 2: digests
# Remainders wait for a fitting row at most this long, which bounds memory, not the padding: a
# block of this size already packs to within 1 %.
BLOCK_TOKENS = 16_000_000
BATCH_TEXTS = 1024


class Piece(NamedTuple):
    """Consecutive tokens of a document. `offset` counts from its end-of-text token, which is 0."""

    document: str
    offset: int
    tokens: list[int]


class Packed(NamedTuple):
    """What packing made, for the bill and for tests."""

    rows: int
    tokens: int  # positions that hold a token of a document
    padding_fraction: float  # positions without one, of all; 0 where there are no rows


def pack_documents(
    folder: Path,
    kinds: dict[str, Iterable[tuple[str, str]]],
    tokenizer: Tokenizer,
    *,
    context: int,
    again: Mapping[str, Sequence[Iterable[tuple[str, str]]]] | None = None,
    beside: DocumentValues | None = None,
    by: str = "kind",
) -> Packed:
    """Write the rows of all documents, given as (id, text) per kind; rows never mix kinds.

    again: the further readings of a kind, each of some of its documents; no row holds documents of
    two of them. beside: numbers of the documents. by: what sets kinds apart. Raises DataError where
    no document holds any text.
    """
    dtype = np.uint16 if tokenizer.vocabulary <= 1 << 16 else np.uint32
    end = tokenizer.end_of_text_id
    spans: dict[str, list[Any]] = {name: [] for name in ("row", "begin", "length", "offset")}
    documents: list[str] = []
    meta: dict[str, dict[str, int]] = {}
    rows = tokens = 0
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / TOKENS_FILE) as unfinished, unfinished.open("wb") as stream:
        for kind, texts in kinds.items():
            first, kind_tokens = rows, 0
            readings = (texts, *(again or {}).get(kind, ()))
            blocks = (block for each in readings for block in _blocks(each, tokenizer, context))
            for pieces in blocks:
                for row in _rows(pieces, context):
                    slots = np.full(context + 1, end, dtype)
                    begin = 0
                    for piece in row:
                        slots[begin : begin + len(piece.tokens)] = piece.tokens
                        length = min(len(piece.tokens), context)
                        for name, value in zip(
                            spans, (rows, begin, length, piece.offset), strict=True
                        ):
                            spans[name].append(value)
                        documents.append(piece.document)
                        begin += length
                    stream.write(slots.tobytes())
                    rows += 1
                    kind_tokens += begin
            meta[kind] = {"first_row": first, "rows": rows - first, "tokens": kind_tokens}
            tokens += kind_tokens
    if not rows:
        raise DataError("no text to pack", "pack", "Check what curation has kept.")
    write_shard(
        folder / SPANS_FILE,
        pa.table(
            {name: pa.array(values, pa.int32()) for name, values in spans.items()}
            | {"document": pa.array(documents, pa.string()).dictionary_encode()}
        ),
    )
    written = [TOKENS_FILE, SPANS_FILE]
    found: dict[str, Any] = {}
    if beside is not None:
        beside.save(folder, list(dict.fromkeys(documents)))
        written.append(VALUES_FILE)
        found["cuts"] = [each._asdict() for each in beside.cuts]
    padding = 1 - tokens / (rows * context)
    write_json(
        folder / META_FILE,
        {
            "format": FORMAT,
            "context": context,
            "dtype": np.dtype(dtype).name,
            "rows": rows,
            "tokens": tokens,
            "padding_fraction": padding,
            "kinds": meta,
            "vocabulary": tokenizer.vocabulary,
            "end_of_text_id": end,
            "by": by,
            "tokenizer": tokenizer.digest,
            "digests": {name: file_digest(folder / name) for name in written},
            **found,
        },
    )
    return Packed(rows, tokens, padding)


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Bins of places into `lengths`, none above the capacity: longest first, tightest bin first.

    Deterministic. A length of zero or above the capacity is our own bug.
    """
    assert all(0 < length <= capacity for length in lengths), "a length outside the capacity"
    bins: list[list[int]] = []
    open_bins: list[list[int]] = [[] for _ in range(capacity + 1)]  # by room left
    rooms = 0  # bit r is set while some bin has room r, so the tightest fit is one bit trick
    for place in sorted(range(len(lengths)), key=lambda each: -lengths[each]):
        length = lengths[place]
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            chosen = open_bins[room].pop()
            if not open_bins[room]:
                rooms ^= 1 << room
        else:
            room, chosen = capacity, len(bins)
            bins.append([])
        bins[chosen].append(place)
        if room > length:
            open_bins[room - length].append(chosen)
            rooms |= 1 << (room - length)
    return bins


def cut(
    document: str, ids: Sequence[int], *, begin_of_text: int, end_of_text: int, context: int
) -> Iterator[Piece]:
    """The pieces of one document. A piece that fills a row ends with that row's last label, which
    is the first token of the next piece, or the end-of-text token."""
    whole = [begin_of_text, *ids, end_of_text]
    for offset in range(0, len(whole) - 1, context):
        piece = whole[offset : offset + context + 1]
        # A shorter piece is followed by the end-of-text token that its row or neighbour supplies.
        yield Piece(document, offset, piece if len(piece) > context else piece[:-1])


def _blocks(
    texts: Iterable[tuple[str, str]], tokenizer: Tokenizer, context: int
) -> Iterator[list[Piece]]:
    block: list[Piece] = []
    held = 0
    for batch in _batches(texts):
        encoded = tokenizer.encode_batch([text for _, text in batch])
        for (document, _), ids in zip(batch, encoded, strict=True):
            if not ids:
                continue
            block += cut(
                document,
                ids,
                begin_of_text=tokenizer.begin_of_text_id,
                end_of_text=tokenizer.end_of_text_id,
                context=context,
            )
            held += len(ids)
        if held >= BLOCK_TOKENS:
            yield block
            block, held = [], 0
    yield block


def _batches(texts: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    batch: list[tuple[str, str]] = []
    for each in texts:
        batch.append(each)
        if len(batch) == BATCH_TEXTS:
            yield batch
            batch = []
    if batch:
        yield batch


def _rows(pieces: list[Piece], context: int) -> Iterator[list[Piece]]:
    remainders = []
    for piece in pieces:
        if len(piece.tokens) > context:
            yield [piece]
        else:
            remainders.append(piece)
    for places in best_fit([len(piece.tokens) for piece in remainders], context):
        yield [remainders[place] for place in places]
