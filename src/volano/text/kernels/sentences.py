"""C4's rules on lines: what reads like a sentence stays, menus, code and notices go.

Source: Raffel et al. 2020 (T5), section 2.2, and the code of TensorFlow Datasets as datatrove has
it, whose details are kept: which line breaks count, that the words of a line are counted before
citations are taken out, and what a sentence is (spaCy's sentencizer on the words of text.english).
"""

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from volano.text.kernels.characters import Integer, character_at
from volano.text.kernels.language import (
    CHARACTERS,
    DECIMAL,
    ENDS_SENTENCE,
    FLAGS,
    ONLY_PUNCTUATION,
    START,
    STOP,
    Language,
)
from volano.text.kernels.quality import NEWLINE, line_end
from volano.text.kernels.words import read_words

Array = npt.NDArray[Any]

# sentences: in the lines that stay. lines: all, empty ones too. The others: lines that went for
# this reason, each for the first that applies. lorem_ipsum and curly_brackets: 1 where the document
# has them in a line that had not gone by then; what follows it is not looked at.
SENTENCE_STATISTICS = (
    "sentences",
    "lines",
    "long_word_lines",
    "unterminated_lines",
    "few_word_lines",
    "javascript_lines",
    "policy_lines",
    "lorem_ipsum",
    "curly_brackets",
)
(
    _SENTENCES,
    _LINES,
    _LONG_WORD,
    _UNTERMINATED,
    _FEW_WORDS,
    _JAVASCRIPT,
    _POLICY,
    _LOREM,
    _CURLY,
) = range(len(SENTENCE_STATISTICS))
_STAYS, _JAVASCRIPT_FOUND, _LOREM_FOUND, _POLICY_FOUND = 0, 1, 2, 4
_QUOTE, _APOSTROPHE, _STOP, _QUESTION, _EXCLAMATION, _BRACE, _OPEN, _CLOSE = b"\"'.?!{[]"
# Each phrase with the place of a letter that is rare enough to look for; those of one letter stand
# together.
_PHRASES = (
    (b"javascript", 0, _JAVASCRIPT_FOUND),
    (b"lorem ipsum", 4, _LOREM_FOUND),
    (b"terms of use", 7, _POLICY_FOUND),
    (b"privacy policy", 3, _POLICY_FOUND),
    (b"cookie policy", 3, _POLICY_FOUND),
    (b"uses cookies", 8, _POLICY_FOUND),
    (b"use of cookies", 10, _POLICY_FOUND),
    (b"use cookies", 7, _POLICY_FOUND),
)
_LETTERS = np.zeros((len(_PHRASES), max(len(phrase) for phrase, _, _ in _PHRASES)), np.uint8)
_LENGTHS = np.array([len(phrase) for phrase, _, _ in _PHRASES], np.int64)
_PLACES = np.array([place for _, place, _ in _PHRASES], np.int64)
_MEANINGS = np.array([meaning for _, _, meaning in _PHRASES], np.int64)
_SPAN = np.zeros((256, 2), np.int64)  # rare letter → its phrases
for _row, (_phrase, _place, _) in enumerate(_PHRASES):
    _LETTERS[_row, : len(_phrase)] = list(_phrase)
    for _letter in (_phrase[_place], _phrase[_place] - 32):
        _SPAN[_letter] = _SPAN[_letter, 0] or _row, _row + 1
_KELVIN = np.frombuffer("\u212a".encode(), np.uint8)
_SPAN[_KELVIN[0]] = _SPAN[ord("k")]
_RARE = _SPAN[:, 1] > 0
_EDIT, _NEEDED = np.frombuffer(b"edit]", np.uint8), np.frombuffer(b"citation needed]", np.uint8)


class LineRules(NamedTuple):
    """What a line must be to stay; -1 switches a number off."""

    terminal: bool  # ends in . ? ! " ' and not in "..."
    citations: bool  # [1], [edit] and [citation needed] are taken out
    fewest_words: int
    longest_word: int  # characters
    javascript: bool
    policy: bool
    lorem_ipsum: bool
    curly_brackets: bool


class LineRoom(NamedTuple):
    """Scratch for one line, and the words of the document."""

    line: Array  # uint8
    words: Array  # of a line that lost its citations


@numba.njit(nogil=True, cache=True)
def keep_sentences(
    text: Array,
    words: Array,
    count: Integer,
    language: Language,
    rules: LineRules,
    room: Array,
    copy: Array,
    copy_words: Array,
    kept: Array,
    values: Array,
) -> Integer:
    """Write the lines that stay to `kept`, which takes as many bytes as the text: how many it
    are."""
    classes = language.classes
    written: Integer = np.int64(0)
    word: Integer = np.int64(0)
    place: Integer = np.int64(0)
    size = len(text)
    while place < size:
        line_stop, following = line_end(text, place)
        begin = word
        longest: Integer = np.int64(0)
        spoken = 0
        run: Integer = np.int64(0)  # characters of what stands between white space
        while word < count and words[word, START] < line_stop:
            if word == begin or words[word, START] != words[word - 1, STOP]:
                spoken += 1
                run = 0
            run += words[word, CHARACTERS]
            longest = max(longest, run)
            word += 1
        end, place = word, following
        values[_LINES] += 1
        if rules.longest_word >= 0 and longest > rules.longest_word:
            values[_LONG_WORD] += 1
            continue
        line = text[words[begin, START] : words[end - 1, STOP]] if end > begin else text[:0]
        cited = False
        if rules.citations and _has_citation(line, classes):
            cited = True
            line = copy[: _without_citations(line, classes, copy)]
        if rules.terminal and not _is_terminated(line):
            values[_UNTERMINATED] += 1
            continue
        if spoken < rules.fewest_words:
            values[_FEW_WORDS] += 1
            continue
        found = _phrases(line)
        if rules.lorem_ipsum and found & _LOREM_FOUND:
            values[_LOREM] = 1
            return 0
        if rules.javascript and found & _JAVASCRIPT_FOUND:
            values[_JAVASCRIPT] += 1
            continue
        if rules.curly_brackets and _has(line, _BRACE):
            values[_CURLY] = 1
            return 0
        if rules.policy and found & _POLICY_FOUND:
            values[_POLICY] += 1
            continue
        if cited:
            # What was taken out stood inside a word, so the words are others now.
            number = read_words(line, language, room, copy_words)
            values[_SENTENCES] += _sentences(line, copy_words, 0, number)
        else:
            values[_SENTENCES] += _sentences(text, words, begin, end)
        if written:
            kept[written] = NEWLINE
            written += 1
        kept[written : written + len(line)] = line
        written += len(line)
    return written


@numba.njit(nogil=True, cache=True)
def _sentences(text: Array, words: Array, begin: Integer, end: Integer) -> Integer:
    # A sentence begins behind a word that ends one, at the next that is no punctuation. Of white
    # space between words all but one blank is a word of its own, and no punctuation.
    sentences = 1
    ended = False
    for place in range(begin, end):
        if ended and place > begin:
            gap = words[place, START] - words[place - 1, STOP]
            if gap > 1 or (gap == 1 and text[words[place - 1, STOP]] != 32):
                sentences += 1
                ended = False
        flags = words[place, FLAGS]
        if flags & ENDS_SENTENCE:
            ended = True
        elif ended and flags & ONLY_PUNCTUATION == 0:
            sentences += 1
            ended = False
    return sentences


@numba.njit(nogil=True, cache=True)
def _is_terminated(line: Array) -> bool:
    if len(line) == 0:
        return False
    last = line[-1]
    if last == _STOP:
        return not (len(line) > 2 and line[-2] == _STOP and line[-3] == _STOP)
    return last in (_QUESTION, _EXCLAMATION, _QUOTE, _APOSTROPHE)


@numba.njit(nogil=True, cache=True)
def _has(line: Array, byte: int) -> bool:
    found = False
    for each in line:
        found |= each == byte
    return found


@numba.njit(nogil=True, cache=True)
def _phrases(line: Array) -> Integer:
    found = 0
    for place in range(len(line)):
        if not _RARE[line[place]]:
            continue
        width = 1
        if line[place] == _KELVIN[0]:  # the sign of the unit, which str.lower makes a "k"
            width = len(_KELVIN)
            if (
                place + 3 > len(line)
                or line[place + 1] != _KELVIN[1]
                or line[place + 2] != _KELVIN[2]
            ):
                continue
        for phrase in range(_SPAN[line[place], 0], _SPAN[line[place], 1]):
            if _is_phrase(line, place, width, phrase):
                found |= _MEANINGS[phrase]
    return found


@numba.njit(nogil=True, cache=True)
def _is_phrase(line: Array, place: Integer, width: int, phrase: int) -> bool:
    # Around the rare letter, which is `width` bytes at `place`; in small or capital letters.
    start, rare = place - _PLACES[phrase], _PLACES[phrase]
    if start < 0 or start + _LENGTHS[phrase] + width - 1 > len(line):
        return False
    for letter in range(_LENGTHS[phrase]):
        if letter == rare:
            continue
        byte = line[start + letter + (width - 1 if letter > rare else 0)]
        byte = byte + 32 if 65 <= byte <= 90 else byte
        if byte != _LETTERS[phrase, letter]:
            return False
    return True


@numba.njit(nogil=True, cache=True)
def _citation(line: Array, place: Integer, classes: Array) -> Integer:
    # Length in bytes of the citation that begins here, or 0: [12], [], [edit], [citation needed].
    if line[place] != _OPEN:
        return 0
    stop = place + 1
    while stop < len(line):
        code, length = character_at(line, stop)
        if code >= len(classes) or classes[code] & DECIMAL == 0:
            break
        stop += length
    if stop < len(line) and line[stop] == _CLOSE:
        return stop + 1 - place
    for known in (_EDIT, _NEEDED):
        if place + 1 + len(known) <= len(line):
            equal = True
            for letter in range(len(known)):
                equal &= line[place + 1 + letter] == known[letter]
            if equal:
                return 1 + len(known)
    return 0


@numba.njit(nogil=True, cache=True)
def _has_citation(line: Array, classes: Array) -> bool:
    return _citations(line, classes) > 0


@numba.njit(nogil=True, cache=True)
def _citations(line: Array, classes: Array) -> int:
    count = 0
    for place in range(len(line)):
        if line[place] == _OPEN:
            count += int(_citation(line, place, classes) > 0)
    return count


@numba.njit(nogil=True, cache=True)
def _without_citations(line: Array, classes: Array, copy: Array) -> Integer:
    written = 0
    place: Integer = np.int64(0)
    while place < len(line):
        length = _citation(line, place, classes)
        if length:
            place += length
        else:
            copy[written] = line[place]
            written += 1
            place += 1
    return written
