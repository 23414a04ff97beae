"""Paragraphs in other languages than those that are kept come out of a text.

OSCAR tells languages line by line (Abadji et al. 2022). A paragraph here is what stands between
blank lines; in a text without any, as the main text of a page is, a line.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from volano.curate.decision import Decisions
from volano.curate.scripts import fractions_in_script
from volano.curate.section import LanguageSection, ParagraphsSection
from volano.text.kernels.buffers import text_buffers
from volano.text.kernels.passages import spaced_words
from volano.text.kernels.scripts import letters_by_script
from volano.text.kernels.spans import Unit, span_places, without_spans

UNITS: tuple[Unit, Unit] = ("paragraph", "line")
Array = npt.NDArray[Any]
Identify = Callable[[Iterable[str]], tuple[list[str | None], list[float | None]]]


class Paragraphs(NamedTuple):
    """Columns `paragraphs_cut`, `cut_bytes`, `foreign_fraction` (of the characters of paragraphs
    whose language is believed) and `words_left` (null where nothing was cut); the texts that are
    left; and per row the language that most of these are in, with its mean probability."""

    columns: dict[str, pa.Array]
    texts: pa.LargeStringArray
    languages: dict[int, tuple[str, float]]


class _Span(NamedTuple):
    row: int
    place: int
    text: str


def cut_paragraphs(
    texts: pa.LargeStringArray,
    rows: Iterable[int],
    section: LanguageSection,
    settings: ParagraphsSection,
    identify: Identify,
) -> Paragraphs:
    """The texts of these rows without the paragraphs that are believed to be foreign: by their
    probability, and because they stand in a script of that language."""
    places = {unit: span_places(texts, unit) for unit in UNITS}
    by_line = np.diff(places["paragraph"][2]) == 1
    gone = {unit: np.zeros(len(begins), bool) for unit, (begins, _, _) in places.items()}
    spans = list(_long_spans(texts, rows, places, by_line, settings))
    names, scores = identify(span.text for span in spans)
    letters = letters_by_script(pa.array([span.text for span in spans], pa.large_string()))
    fractions = fractions_in_script(letters, names)
    characters: dict[int, Counter[str]] = defaultdict(Counter)
    weighed: dict[tuple[int, str], float] = defaultdict(float)
    for span, name, score, fraction in zip(spans, names, scores, fractions, strict=True):
        if name is None or (score or 0) < settings.min_score:
            continue
        if (fraction or 0) < section.min_script_fraction:
            continue
        characters[span.row][name] += len(span.text)
        weighed[span.row, name] += len(span.text) * (score or 0)
        gone["line" if by_line[span.row] else "paragraph"][span.place] = name not in section.keep
    languages, foreign = {}, np.full(len(texts), np.nan)
    for row, count in characters.items():
        # What is left is in a language that is kept, if any of it is believed to be.
        kept = Counter({name: size for name, size in count.items() if name in section.keep})
        main, size = (kept or count).most_common(1)[0]
        languages[row] = main, round(weighed[row, main] / size, 6)
        foreign[row] = round(1 - kept.total() / count.total(), 6)
    left = _without(texts, gone, by_line)
    cut = _counts(gone["paragraph"], places["paragraph"][2])
    cut = np.where(by_line, _counts(gone["line"], places["line"][2]), cut)
    lost = [pc.fill_null(pc.binary_length(each), 0).to_numpy(False) for each in (texts, left)]
    words = np.diff(spaced_words(left).bounds)
    columns = {
        "paragraphs_cut": pa.array(cut),
        "cut_bytes": pa.array(lost[0] - lost[1]),
        "foreign_fraction": pa.array(foreign, mask=np.isnan(foreign)),
        "words_left": pa.array(words, mask=cut == 0),
    }
    return Paragraphs(columns, left, languages)


def judge_paragraphs(
    columns: dict[str, pa.Array], settings: ParagraphsSection, decisions: Decisions
) -> None:
    """Drop what was mostly foreign, and what has few words left without its foreign paragraphs."""
    foreign, words = (
        columns[name].cast(pa.float64()).to_numpy(zero_copy_only=False)  # nan where null
        for name in ("foreign_fraction", "words_left")
    )
    for beyond, values, threshold, evidence in (
        (foreign > settings.max_foreign_fraction, foreign, settings.max_foreign_fraction,
         "paragraphs are foreign"),
        (words < settings.min_words_left, words, settings.min_words_left,
         "words left without foreign paragraphs"),
    ):  # fmt: skip
        decisions.drop(
            np.flatnonzero(beyond),
            "language",
            value=values,
            threshold=float(threshold),
            evidence=evidence,
        )


def _long_spans(
    texts: pa.LargeStringArray,
    rows: Iterable[int],
    places: dict[Unit, tuple[Array, Array, Array]],
    by_line: Array,
    settings: ParagraphsSection,
) -> Iterable[_Span]:
    utf8 = text_buffers(texts).utf8
    for row in rows:
        begins, ends, bounds = places["line" if by_line[row] else "paragraph"]
        for place in range(bounds[row], bounds[row + 1]):
            text = utf8[begins[place] : ends[place]].tobytes().decode()
            if len(text) >= settings.min_characters:
                yield _Span(row, place, text)


def _without(
    texts: pa.LargeStringArray, gone: dict[Unit, Array], by_line: Array
) -> pa.LargeStringArray:
    parts = {
        unit: without_spans(texts, unit, gone[unit]) if gone[unit].any() else texts
        for unit in UNITS
    }
    found: pa.LargeStringArray = pc.if_else(pa.array(by_line), parts["line"], parts["paragraph"])
    return found


def _counts(gone: Array, bounds: Array) -> Array:
    found: Array = np.diff(np.concatenate(([0], np.cumsum(gone)))[bounds])
    return found
