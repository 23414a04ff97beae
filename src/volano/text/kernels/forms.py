"""Form of a document beyond the rules of Gopher, C4 and FineWeb: lines as RefinedWeb corrects them,
program code, well-formed sentences, stuffed keywords and links, and letters that make no words.

Only "\\n" ends a line here. A word is a run of letters and digits, but for RefinedWeb, where it is
what stands between white space.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from volano.text.kernels.buffers import Texts, text_buffers
from volano.text.kernels.characters import KNOWN_CHARACTERS, Integer, character_at
from volano.text.kernels.counting import count_key, counter_of, new_count
from volano.text.kernels.gibberish import (
    GIBBERISH_STATISTICS,
    fill_letter_bits,
    folded_letters,
    letter_table,
)
from volano.text.kernels.hashing import FNV_OFFSET, FNV_PRIME, mixed
from volano.text.kernels.language import TERMINAL as ENDS_SENTENCE
from volano.text.kernels.language import word_classes
from volano.text.kernels.line_edits import REFINED_STATISTICS, keep_refined
from volano.text.kernels.phrases import GENERATED, LINKS, STOP_WORDS, phrases_in

Array = npt.NDArray[Any]
NEWLINE = ord("\n")
SPACE, LETTER, UPPER, LOWER, DIGIT, WORD, TERMINAL, CLOSER = 1, 2, 4, 8, 16, 32, 64, 128
CLOSERS = "\"')]}”’»›」』）】"
HEAD_LINES = 5  # of a program in which a mark of a generator is looked for

# Lines: up to each line break, and what follows the last one if anything does; empty ones count.
# longest_line_characters, mean_line_characters: without line breaks.
# alphanumeric_fraction: letters and digits out of all characters.
# generated_marks: how many of the phrases GENERATED stand in the first five lines, in any case.
# An empty document has 0 everywhere.
CODE_STATISTICS = (
    "longest_line_characters",
    "mean_line_characters",
    "alphanumeric_fraction",
    "generated_marks",
)
# A sentence ends where its line does, and behind a character that ends one in some script (and the
# quotes and brackets behind it) before white space; without letter or digit it is none.
# terminal_sentence_fraction: those that end so. capital_sentence_fraction: those whose first letter
# or digit is no small letter. stop_word_fraction: words that are one of STOP_WORDS.
SENTENCE_FORM_STATISTICS = (
    "terminal_sentence_fraction",
    "capital_sentence_fraction",
    "stop_word_fraction",
)
# content words: of three and more characters, with a letter, none of STOP_WORDS; ASCII letters are
# compared in small letters. top_word_fraction: the most frequent of them out of all of them; 0
# where there are fewer than the caller names. link_line_fraction: lines with a link out of those
# that are not blank.
SPAM_STATISTICS = ("top_word_fraction", "link_line_fraction")
FORM_STATISTICS = {
    "refinedweb": REFINED_STATISTICS,
    "sentences": SENTENCE_FORM_STATISTICS,
    "code": CODE_STATISTICS,
    "spam": SPAM_STATISTICS,
    "gibberish": GIBBERISH_STATISTICS,
}
_COUNTS = {"longest_line_characters", "generated_marks", *REFINED_STATISTICS[:-1]}


class Forms(NamedTuple):
    """Per set of rules a table with a row per document, and what refinedweb leaves of each text."""

    tables: dict[str, pa.Table]
    kept: pa.LargeStringArray | None


@functools.cache
def form_classes() -> Array:
    """A sum of the bits above per code point below KNOWN_CHARACTERS, as str's methods have them."""
    classes = np.zeros(KNOWN_CHARACTERS, np.int64)
    for code in range(KNOWN_CHARACTERS):
        character = chr(code)
        classes[code] = SPACE * character.isspace() | LETTER * character.isalpha()
        classes[code] |= UPPER * character.isupper() | LOWER * character.islower()
        classes[code] |= DIGIT * character.isdecimal() | WORD * character.isalnum()
    classes[word_classes() & ENDS_SENTENCE != 0] |= TERMINAL
    classes[[ord(each) for each in CLOSERS]] |= CLOSER
    classes.flags.writeable = False
    return classes


def measure_forms(
    texts: Texts,
    rules: Sequence[str],
    *,
    max_uppercase_fraction: float = 0.5,
    fewest_content_words: int = 50,
    fewest_letters: int = 100,
) -> Forms:
    """The statistics of `rules`, each a key of FORM_STATISTICS; null stays null."""
    bounds, utf8, missing = text_buffers(texts)
    rows = len(missing)
    classes = form_classes()
    values = {name: np.zeros((rows, len(FORM_STATISTICS[name])), np.float64) for name in rules}
    kept = None
    if "refinedweb" in rules:
        room = np.empty(len(utf8), np.uint8)
        offsets = np.zeros(rows + 1, np.int64)
        keep_refined(
            bounds, utf8, classes, max_uppercase_fraction, room, offsets, values["refinedweb"]
        )
        kept = _texts(room, offsets, missing)
    if "code" in rules:
        _fill_code(bounds, utf8, classes, values["code"])
    if "sentences" in rules:
        _fill_sentences(bounds, utf8, classes, values["sentences"])
    if "spam" in rules:
        longest = int(np.diff(bounds).max()) if rows else 0
        table, firsts, turn = counter_of(longest // 4 + 2)
        _fill_spam(bounds, utf8, classes, fewest_content_words, table, firsts, turn, values["spam"])
    if "gibberish" in rules:
        fill_letter_bits(
            bounds, utf8, folded_letters(), letter_table(), fewest_letters, values["gibberish"]
        )
    tables = {name: _table(FORM_STATISTICS[name], values[name], missing) for name in rules}
    return Forms(tables, kept)


def _table(names: Sequence[str], values: Array, missing: Array) -> pa.Table:
    columns = []
    for place, name in enumerate(names):
        column = pa.array(np.ascontiguousarray(values[:, place]), mask=missing)
        columns.append(column.cast(pa.int64()) if name in _COUNTS else column)
    return pa.table(columns, names=list(names))


def _texts(room: Array, offsets: Array, missing: Array) -> pa.LargeStringArray:
    data = pa.py_buffer(room[: offsets[-1]].tobytes())
    texts = pa.LargeStringArray.from_buffers(len(missing), pa.py_buffer(offsets), data)
    return pa.array(texts.to_pylist(), pa.large_string(), mask=missing) if missing.any() else texts


@numba.njit(nogil=True, cache=True, inline="always")
def _class(code: Integer, classes: Array) -> Integer:
    return classes[code] if code < len(classes) else np.int64(0)


@numba.njit(nogil=True, cache=True)
def _fill_code(bounds: Array, utf8: Array, classes: Array, values: Array) -> None:
    for row in range(len(bounds) - 1):
        start, stop = bounds[row], bounds[row + 1]
        characters = known = longest = size = lines = breaks = 0
        head = stop
        place = start
        while place < stop:
            code, length = character_at(utf8, place)
            characters += 1
            known += _class(code, classes) & WORD != 0
            place += length
            if code == NEWLINE:
                longest = max(longest, size)
                size = 0
                lines += 1
                breaks += 1
                if breaks == HEAD_LINES:
                    head = place
            else:
                size += 1
        longest = max(longest, size)
        lines += size > 0
        if characters == 0:
            continue
        values[row, 0] = longest
        values[row, 1] = (characters - breaks) / lines
        values[row, 2] = known / characters
        seen = phrases_in(utf8, start, head, GENERATED)
        while seen:
            values[row, 3] += seen & 1
            seen >>= 1


@numba.njit(nogil=True, cache=True)
def _fill_sentences(bounds: Array, utf8: Array, classes: Array, values: Array) -> None:
    for row in range(len(bounds) - 1):
        place, stop = bounds[row], bounds[row + 1]
        sentences = terminal = capital = words = stops = 0
        spoken = begins = ended = False  # of the sentence under way
        word = np.uint64(0)
        while True:
            at_end = place >= stop
            code, length = (np.int64(NEWLINE), 1) if at_end else character_at(utf8, place)
            kind = _class(code, classes)
            if word and kind & WORD == 0:
                words += 1
                stops += _is_stop_word(mixed(word))
                word = np.uint64(0)
            if kind & WORD:
                if not spoken:
                    spoken = True
                    begins = kind & LOWER == 0
                value = word if word else FNV_OFFSET
                for part in range(length):
                    byte = np.uint64(utf8[place + part])
                    if length == 1 and 65 <= byte <= 90:
                        byte += np.uint64(32)
                    value = (value ^ byte) * FNV_PRIME
                word = value
                ended = False
            elif kind & TERMINAL:
                ended = True
            elif kind & SPACE == 0 and kind & CLOSER == 0:
                ended = False
            if kind & SPACE and (ended or code == NEWLINE):
                if spoken:
                    sentences += 1
                    terminal += ended
                    capital += begins
                spoken = ended = False
            if at_end:
                break
            place += length
        if sentences:
            values[row, 0] = terminal / sentences
            values[row, 1] = capital / sentences
        if words:
            values[row, 2] = stops / words


@numba.njit(nogil=True, cache=True)
def _is_stop_word(value: np.uint64) -> bool:
    found = False
    for each in STOP_WORDS:
        found |= each == value
    return found


@numba.njit(nogil=True, cache=True)
def _fill_spam(
    bounds: Array,
    utf8: Array,
    classes: Array,
    fewest: int,
    table: Array,
    firsts: Array,
    turn: Array,
    values: Array,
) -> None:
    for row in range(len(bounds) - 1):
        start, stop = bounds[row], bounds[row + 1]
        mask = new_count((stop - start) // 4 + 1, table, turn)
        content = lines = linked = 0
        top: Integer = np.int64(0)
        place = line = start
        blank = True
        characters = letters = 0
        value = FNV_OFFSET
        while True:
            at_end = place >= stop
            code, length = (np.int64(NEWLINE), 1) if at_end else character_at(utf8, place)
            kind = _class(code, classes)
            if kind & WORD:
                characters += 1
                letters += kind & LETTER != 0
                for part in range(length):
                    byte = np.uint64(utf8[place + part])
                    if length == 1 and 65 <= byte <= 90:
                        byte += np.uint64(32)
                    value = (value ^ byte) * FNV_PRIME
            elif characters:
                key = mixed(value)
                if characters >= 3 and letters and not _is_stop_word(key):
                    content += 1
                    top = max(top, count_key(key, place, table, firsts, turn, mask)[0])
                characters = letters = 0
                value = FNV_OFFSET
            if code == NEWLINE:
                if not blank:
                    lines += 1
                    linked += phrases_in(utf8, line, place, LINKS) != 0
                blank = True
                line = place + 1
            elif kind & SPACE == 0:
                blank = False
            if at_end:
                break
            place += length
        if content >= max(fewest, 1):
            values[row, 0] = top / content
        if lines:
            values[row, 1] = linked / lines
