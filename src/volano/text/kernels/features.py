"""All statistics of documents in one pass: a document is read while it is near, and split once.

Rules that need the words of a document come here together, since splitting it costs most.
"""

import threading
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from volano.text import english
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
from volano.text.kernels.words import Unknown, read_words, room_of, taken_from, unknown_of, words_of

Array = npt.NDArray[Any]
STATISTICS = {
    "gopher_quality": QUALITY_STATISTICS,
    "gopher_repetition": REPETITION_STATISTICS,
    "fineweb": LINE_STATISTICS,
    "c4": SENTENCE_STATISTICS,
}
WORDS = ("english", "spaces")
C4 = LineRules(True, True, 3, 1000, True, True, True, True)
LEARNT_RUNS = 400_000  # some 60 MB of them; then they are learnt anew
_UNKNOWN_BYTES = 1 << 22
# Few counts, which no document has half of.
_COUNTS = {"words", "stop_words", *SENTENCE_STATISTICS}


class Features(NamedTuple):
    """Per set of rules a table with a row per document, and what C4 leaves of each text."""

    tables: dict[str, pa.Table]
    kept: pa.LargeStringArray | None


class _Learner:
    """The English that is known by now; threads share it."""

    def __init__(self) -> None:
        self.language = english_language()
        self._runs: dict[str, Sequence[str]] = {}
        self._lock = threading.Lock()

    def learn(self, runs: Iterable[bytes]) -> None:
        """Ask text.english how each of the runs is split."""
        with self._lock:
            for each in runs:
                run = each.decode("utf-8", "surrogatepass")
                if run not in self._runs:
                    self._runs[run] = english.words_of_run(run)
            self.language = english_language(self._runs)

    def forget_if_full(self) -> None:
        """Begin anew where too many runs are known; what a caller then asks is learnt again."""
        with self._lock:
            if len(self._runs) > LEARNT_RUNS:
                self._runs.clear()
                self.language = english_language()


_learner = _Learner()


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
    unknown = unknown_of(max(_UNKNOWN_BYTES, longest))
    _learner.forget_if_full()
    nothing = np.zeros((0, 0), np.float64)
    # The rows that are not done yet: all, then those with runs that had to be asked for.
    open_rows = np.arange(rows, dtype=np.int64)
    while len(open_rows):
        done = _fill(
            open_rows,
            bounds,
            utf8,
            _learner.language if words == "english" else spaces(),
            scratch,
            unknown,
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
        if unknown.number[0]:
            _learner.learn(taken_from(unknown))
        open_rows = open_rows[~done]
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
    rows: Array,
    bounds: Array,
    utf8: Array,
    language: Language,
    scratch: _Scratch,
    unknown: Unknown,
    quality: Array,
    repetition: Array,
    line_values: Array,
    sentences: Array,
    short_line_characters: int,
    fewest_top_grams: int,
    line_rules: LineRules,
    kept: Array,
    spans: Array,
) -> Array:
    done = np.ones(len(rows), np.bool_)
    words, room, lines, table, firsts, turn, hashes, before, repeated, copy, copy_words = scratch
    classes = language.classes
    for number in range(len(rows)):
        row = rows[number]
        text = utf8[bounds[row] : bounds[row + 1]]
        count, missing = read_words(text, language, room, words, unknown)
        if len(sentences) and not missing:
            found = sentences[row]
            found[:] = 0
            place = bounds[row] - bounds[0]
            part = kept[place : place + len(text)]
            written, missing = keep_sentences(
                text,
                words,
                count,
                language,
                line_rules,
                room,
                copy,
                copy_words,
                unknown,
                part,
                found,
            )
            first, last = stripped(part[:written], classes)
            spans[row, 0], spans[row, 1] = place + first, place + last
        if missing:
            done[number] = False
            continue
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
    return done


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
