"""All statistics of documents in one pass: a document is read while it is near, and split once.

Rules that need the words of a document come here together, since splitting it costs most.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from volano.text.kernels.buffers import Texts, text_buffers
from volano.text.kernels.counting import counter_of
from volano.text.kernels.language import Language, english_language, spaces
from volano.text.kernels.lines import LINE_STATISTICS, fill_lines, lines_of, read_lines
from volano.text.kernels.quality import QUALITY_STATISTICS, fill_quality, stripped
from volano.text.kernels.repetition import (
    REPETITION_STATISTICS,
    fill_repetition,
    grams_of,
)
from volano.text.kernels.sentences import SENTENCE_STATISTICS, LineRules, keep_sentences
from volano.text.kernels.words import read_words, room_of, words_of

Array = npt.NDArray[Any]
STATISTICS = {
    "gopher_quality": QUALITY_STATISTICS,
    "gopher_repetition": REPETITION_STATISTICS,
    "fineweb": LINE_STATISTICS,
    "c4": SENTENCE_STATISTICS,
}
WORDS = ("english", "spaces")
C4 = LineRules(True, True, 3, 1000, True, True, True, True)
# Few counts, which no document has half of.
_COUNTS = {"words", "stop_words", *SENTENCE_STATISTICS}


class Features(NamedTuple):
    """Per set of rules a table with a row per document, and what C4 leaves of each text."""

    tables: dict[str, pa.Table]
    kept: pa.LargeStringArray | None


def measure(
    texts: Texts,
    rules: Sequence[str],
    *,
    words: str = "english",
    short_line_characters: int = 30,
    fewest_top_grams: int = 1,
    lines: LineRules = C4,
) -> Features:
    """The statistics of `rules`, each a key of STATISTICS; null stays null.

    `words` says what a word is: "english" as text.english has it, "spaces" what stands between
    white space. `fewest_top_grams`: from how many occurrences on a run of words is a frequent one;
    datatrove lets one suffice, which drops every short document.
    """
    bounds, utf8, missing = text_buffers(texts)
    rows = len(missing)
    values = {name: np.zeros((rows, len(STATISTICS[name])), np.float64) for name in rules}
    spans = np.zeros((rows, 2), np.int64)
    longest = int(np.diff(bounds).max()) if rows else 0
    kept = np.empty(len(utf8) if "c4" in rules else 0, np.uint8)
    table, firsts, turn = counter_of(longest // 2 + 2)
    hashes, before, repeated = grams_of(longest)
    scratch = _Scratch(
        words_of(longest),
        room_of(longest),
        lines_of(longest),
        table,
        firsts,
        turn,
        hashes,
        before,
        repeated,
        np.empty(longest if "c4" in rules else 0, np.uint8),
        words_of(longest if "c4" in rules else 0),
    )
    nothing = np.zeros((0, 0), np.float64)
    _fill(
        bounds,
        utf8,
        english_language() if words == "english" else spaces(),
        scratch,
        values.get("gopher_quality", nothing),
        values.get("gopher_repetition", nothing),
        values.get("fineweb", nothing),
        values.get("c4", nothing),
        short_line_characters,
        fewest_top_grams,
        lines,
        kept,
        spans,
    )
    tables = {name: _table(STATISTICS[name], values[name], missing) for name in rules}
    return Features(tables, _texts(kept, spans, missing) if "c4" in rules else None)


class _Scratch(NamedTuple):
    words: Array
    room: Array
    lines: Array
    table: Array
    firsts: Array
    turn: Array
    hashes: Array
    before: Array
    repeated: Array
    copy: Array  # of a line that lost its citations …
    copy_words: Array  # … and its words


@numba.njit(nogil=True, cache=True)
def _fill(
    bounds: Array,
    utf8: Array,
    language: Language,
    scratch: _Scratch,
    quality: Array,
    repetition: Array,
    line_values: Array,
    sentences: Array,
    short_line_characters: int,
    fewest_top_grams: int,
    line_rules: LineRules,
    kept: Array,
    spans: Array,
) -> None:
    words, room, lines, table, firsts, turn, hashes, before, repeated, copy, copy_words = scratch
    classes = language.classes
    for row in range(len(bounds) - 1):
        text = utf8[bounds[row] : bounds[row + 1]]
        count = read_words(text, language, room, words)
        if len(sentences):
            place = bounds[row] - bounds[0]
            part = kept[place : place + len(text)]
            written = keep_sentences(
                text,
                words,
                count,
                language,
                line_rules,
                room,
                copy,
                copy_words,
                part,
                sentences[row],
            )
            first, last = stripped(part[:written], classes)
            spans[row, 0], spans[row, 1] = place + first, place + last
        if len(quality):
            fill_quality(text, words, count, classes, quality[row])
        if len(repetition) or len(line_values):
            line_count = read_lines(text, classes, lines)
            if len(repetition):
                fill_repetition(
                    text,
                    words,
                    count,
                    lines,
                    line_count,
                    classes,
                    fewest_top_grams,
                    table,
                    firsts,
                    turn,
                    hashes,
                    before,
                    repeated,
                    repetition[row],
                )
            if len(line_values):
                fill_lines(
                    lines,
                    line_count,
                    count,
                    short_line_characters,
                    table,
                    firsts,
                    turn,
                    line_values[row],
                )


def _table(names: Sequence[str], values: Array, missing: Array) -> pa.Table:
    columns = []
    for place, name in enumerate(names):
        column = pa.array(np.ascontiguousarray(values[:, place]), mask=missing)
        columns.append(column.cast(pa.int64()) if name in _COUNTS else column)
    return pa.table(columns, names=list(names))


def _texts(kept: Array, spans: Array, missing: Array) -> pa.LargeStringArray:
    lengths = spans[:, 1] - spans[:, 0]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    packed = np.empty(int(offsets[-1]), np.uint8)
    _pack(kept, spans, offsets, packed)
    texts = pa.LargeStringArray.from_buffers(
        len(spans), pa.py_buffer(offsets), pa.py_buffer(packed)
    )
    return pc.if_else(pa.array(missing), None, texts) if missing.any() else texts


@numba.njit(nogil=True, cache=True)
def _pack(kept: Array, spans: Array, offsets: Array, packed: Array) -> None:
    for row in range(len(spans)):
        packed[offsets[row] : offsets[row + 1]] = kept[spans[row, 0] : spans[row, 1]]
