"""English words as the curation rules of the field count them: split as spaCy's tokenizer does.

Gopher's rules, FineWeb's and C4's are stated on words, and every published threshold was set with
a tokenizer that parts "don't" into two words and "(see" likewise. This file says what its answer
is for one run of characters without white space, in plain Python, one run after the other;
text.kernels.words does the same at native speed, and is tested against it.

Source: spaCy 3.8 (MIT License), whose rules stand in text/data/english.json.
"""

import functools
import json
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from itertools import pairwise
from typing import Any, NamedTuple

WHITE_SPACE = re.compile(r"\s+")  # as str.isspace and str.strip know it


class Rules(NamedTuple):
    """spaCy's rules, compiled."""

    prefix: re.Pattern[str]
    suffix: re.Pattern[str]
    infix: re.Pattern[str]
    url: re.Pattern[str]
    exceptions: Mapping[str, tuple[str, ...]]  # a run → its words


@functools.cache
def data() -> dict[str, Any]:
    """What text/data/english.json holds."""
    found: dict[str, Any] = json.loads(
        (files("volano.text") / "data" / "english.json").read_text(encoding="utf-8")
    )
    return found


@functools.cache
def rules() -> Rules:
    """The compiled rules."""
    found = data()
    pieces = [tuple(each.split(" ")) for each in found["exceptions"]]
    prefix, suffix, infix, url = (
        re.compile(found[name]) for name in ("prefix", "suffix", "infix", "url")
    )
    return Rules(prefix, suffix, infix, url, {"".join(each): each for each in pieces})


def english_words(text: str) -> list[str]:
    """The words of a text, punctuation included: words that hold white space only are left out."""
    return [word for run in WHITE_SPACE.split(text) for word in words_of_run(run)]


def words_of_run(run: str) -> list[str]:
    """The words of a run of characters without white space, in order; they add up to it."""
    if not run:
        return []
    return _with_exceptions(_split(run, rules().exceptions))


def _split(run: str, exceptions: Mapping[str, tuple[str, ...]]) -> list[str]:
    known = rules()
    if run in exceptions:
        return list(exceptions[run])
    before: list[str] = []
    behind: list[str] = []
    size = 0
    while run and len(run) != size and run not in exceptions:
        size = len(run)
        first = _length(known.prefix, run)
        if first and run[first:] in exceptions:
            before.append(run[:first])
            run = run[first:]
            break
        last = _length(known.suffix, run[first:])
        if last and run[:-last] in exceptions:
            behind.append(run[-last:])
            run = run[:-last]
            break
        if first:
            before.append(run[:first])
        if last:
            behind.append(run[-last:])
        run = run[first : len(run) - last]
    inner: Iterable[str] = ()
    if run in exceptions:
        inner = exceptions[run]
    elif known.url.match(run):
        inner = [run]
    elif run:
        inner = _infixed(run, known.infix)
    return [*before, *inner, *reversed(behind)]


def _length(pattern: re.Pattern[str], run: str) -> int:
    found = pattern.search(run)
    return found.end() - found.start() if found else 0


def _infixed(run: str, infix: re.Pattern[str]) -> Iterable[str]:
    start = 0
    for found in infix.finditer(run):
        if found.start() == 0:
            continue
        if found.start() != start:
            yield run[start : found.start()]
        yield found.group()
        start = found.end()
    if run[start:]:
        yield run[start:]


# ---- exceptions that other rules took apart, such as ":)" in "good:)", are put together again


@functools.cache
def taken_apart() -> dict[tuple[str, ...], tuple[str, ...]]:
    """Words that stand for an exception once affixes are split off, and its own words."""
    known = rules()
    return {
        tuple(_split(run, {})): pieces
        for run, pieces in known.exceptions.items()
        if known.prefix.search(run) or known.suffix.search(run) or known.infix.search(run)
    }


@functools.cache
def beginnings() -> frozenset[tuple[str, str]]:
    """The first two words of every entry of `taken_apart`."""
    return frozenset((words[0], words[1]) for words in taken_apart() if len(words) > 1)


def _with_exceptions(words: list[str]) -> list[str]:
    starts = [
        place for place, pair in enumerate(pairwise(words))
        if pair in beginnings()
    ]  # fmt: skip
    if not starts:
        return words
    apart = taken_apart()
    longest = max(map(len, apart))
    spans = [
        (start, stop)
        for start in starts
        for stop in range(start + 2, min(start + longest, len(words)) + 1)
        if tuple(words[start:stop]) in apart
    ]
    chosen: dict[int, int] = {}
    seen: set[int] = set()
    # The longest first and, of equally long ones, the first; what overlaps it is left alone.
    for start, stop in sorted(spans, key=lambda span: (span[0] - span[1], span[0])):
        if start not in seen and stop - 1 not in seen:
            chosen[start] = stop
        seen.update(range(start, stop))
    found: list[str] = []
    place = 0
    while place < len(words):
        if place in chosen:
            found += apart[tuple(words[place : chosen[place]])]
            place = chosen[place]
        else:
            found.append(words[place])
            place += 1
    return found
