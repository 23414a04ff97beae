"""How toxic documents are: a classifier over their passages, and lists of words.

The classifier that comes with Volano was trained on tweets (docs/toxicity.md), so it reads passages
about as long as one, and the worst passage speaks for the document. Of the ways tried to put the
passages of a long text together, the highest finds one toxic tweet hidden in it best; a mean or a
quantile below the highest hardly sees it, and a text read as a whole not at all.

Within a passage the worst word speaks as loud as all of it: polite words around an insult make it
no better. Figures of both are in docs/toxicity.md.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from volano.core.errors import DataError, did_you_mean
from volano.core.recipe import require_file
from volano.curate.decision import Decisions
from volano.curate.section import WORD_LISTS, ToxicitySection
from volano.text.classifier_file import load_classifier
from volano.text.classify import Classifier, Windows
from volano.text.kernels.listed import WordLists, count_listed, word_lists

Array = npt.NDArray[Any]
DATA = Path(__file__).parent / "data"
PASSAGE_WORDS = 25  # a tweet of the training data has 15
WHOLE_WORDS = 150  # up to which a document is one passage
LINE_WORDS = 4  # from which on a line break ends a passage: a heading is read with what follows
LEAST = 1e-6  # probability that is told from 0
HALF_AND_HALF = {"scale": 0.5, "shift": 0.0}  # for weights that do not say how the two are added
TOXIC = "toxic"  # all labels but the neutral one
EXCERPT_CHARACTERS = 80
DECIMALS = 5  # of a probability: the last digits are not the same on every processor


class Measured(NamedTuple):
    """Columns of attributes, and what the judge needs of the passages."""

    columns: dict[str, pa.Array]
    listed: Array  # occurrences, a column for each of WORD_LISTS
    worst: dict[str, Array]  # label → number of the worst passage of each document, or -1
    windows: Windows


def weights_of(section: ToxicitySection) -> Path:
    """The file of weights that the section names, or that comes with Volano."""
    if section.model is None:
        return DATA / "toxicity.safetensors"
    return require_file(Path(section.model).expanduser())


def check_toxicity(section: ToxicitySection) -> None:
    """Raise DataError where the settings name what the weights do not know."""
    _classifier(weights_of(section), section)


def measure_toxicity(
    texts: pa.LargeStringArray, kinds: Sequence[str], section: ToxicitySection
) -> Measured:
    """For every label, and for `toxic`, the highest probability of a passage; for every list of
    words its fraction of the words; with per: line, the fraction of lines with a toxic passage.

    A document of up to 150 words is one passage. Else a passage is 25 words, and a line break ends
    one from 4 words on. With per: line it is 25 words of one line. Its log-odds of being toxic are
    added to those of its worst word alone, and scaled as the weights say (or halved); what of that
    is which label, the passage says. A document without words has 0 everywhere. Null for exempt
    kinds, which are not read.
    """
    exempt = np.isin(np.array(kinds, object), section.exempt_kinds)
    if exempt.any():
        texts = pc.if_else(pa.array(exempt), "", texts)
    classifier = _classifier(weights_of(section), section)
    by_line = section.per == "line"
    windows = classifier.windows(
        texts,
        words=PASSAGE_WORDS,
        line_words=1 if by_line else LINE_WORDS,
        whole_words=0 if by_line else WHOLE_WORDS,
        neutral=section.neutral,
    )
    probabilities = _by_label(classifier, windows, section.neutral)
    worst = {name: _worst(each, windows.rows, len(texts)) for name, each in probabilities.items()}
    columns = {}
    for name, places in worst.items():
        highest = np.append(probabilities[name], 0)[places]  # of no passage, the last: 0
        columns[name] = pa.array(np.round(highest.astype(np.float64), DECIMALS), mask=exempt)
    if by_line:
        fraction = _toxic_line_fraction(_toxic(probabilities, section), windows, len(texts))
        columns["toxic_line_fraction"] = pa.array(fraction, mask=exempt)
    listed, words = count_listed(texts, _lists())
    for place, name in enumerate(WORD_LISTS):
        columns[name] = pa.array(listed[:, place] / np.maximum(words, 1), mask=exempt)
    return Measured(columns, listed, worst, windows)


def judge_toxicity(found: Measured, section: ToxicitySection, decisions: Decisions) -> None:
    """Drop documents beyond a bound, if that is the section's action; the evidence is what was
    beyond it, with the passage where it was one."""
    if section.action != "drop":
        return
    values = {name: each.fill_null(0).to_numpy() for name, each in found.columns.items()}
    if section.per == "line":
        beyond = values["toxic_line_fraction"] > section.max_toxic_line_fraction
        decisions.drop(
            np.flatnonzero(beyond),
            "toxicity",
            value=values["toxic_line_fraction"],
            threshold=section.max_toxic_line_fraction,
            evidence="toxic_line_fraction",
        )
    else:
        for name, bound in section.min_probability.items():
            rows = np.flatnonzero((values[name] >= bound) & (found.worst[name] >= 0))
            passages = {row: _passage(found, name, row) for row in rows.tolist()}
            decisions.drop(
                rows,
                "toxicity",
                value=values[name],
                threshold=bound,
                evidence=[f"{name}: {passages.get(row)}" for row in range(len(values[name]))],
            )
    for name, bound in section.max_word_fraction.items():
        enough = found.listed[:, WORD_LISTS.index(name)] >= section.min_listed_words
        decisions.drop(
            np.flatnonzero(enough & (values[name] > bound)),
            "toxicity",
            value=values[name],
            threshold=bound,
            evidence=name,
        )


def _by_label(classifier: Classifier, windows: Windows, neutral: str) -> dict[str, Array]:
    place = classifier.labels.index(neutral)
    toxic = toxic_of(windows, place, classifier.about.get("with_worst_word", HALF_AND_HALF))
    share = toxic / np.maximum(1 - windows.probabilities[:, place], LEAST)
    found = {
        name: windows.probabilities[:, label] * share
        for label, name in enumerate(classifier.labels)
        if label != place
    }
    return {**found, TOXIC: toxic}


def toxic_of(windows: Windows, neutral: int, how: Mapping[str, float]) -> Array:
    """Probability that each passage is toxic, from the sum of its log-odds and its worst word's."""
    log_odds = how["scale"] * summed_log_odds(windows, neutral) + how["shift"]
    toxic: Array = 1 / (1 + np.exp(-log_odds))
    return toxic


def summed_log_odds(windows: Windows, neutral: int) -> Array:
    """The log-odds of a passage against the neutral label, plus those of its worst word."""
    own = np.clip(windows.probabilities[:, neutral].astype(np.float64), LEAST, 1 - LEAST)
    word = np.clip(windows.worst_word.astype(np.float64), *np.log([LEAST, 1 / LEAST]))
    total: Array = np.log1p(-own) - np.log(own) + word
    return total


def _worst(probabilities: Array, rows: Array, documents: int) -> Array:
    worst = np.full(documents, -1, np.int64)
    if len(rows):
        begins = np.diff(rows, prepend=-1) != 0
        highest = np.maximum.reduceat(probabilities, np.flatnonzero(begins))
        places = np.flatnonzero(probabilities == highest[np.cumsum(begins) - 1])
        worst[rows[places[::-1]]] = places[::-1]  # of equal ones the first is written last
    return worst


def _toxic(probabilities: dict[str, Array], section: ToxicitySection) -> Array:
    toxic = np.zeros(len(probabilities[TOXIC]), bool)
    for name, bound in section.min_probability.items():
        toxic |= probabilities[name] >= bound
    return toxic


def _toxic_line_fraction(toxic: Array, windows: Windows, documents: int) -> Array:
    first = np.ones(len(toxic), bool)  # of its line
    first[1:] = (np.diff(windows.rows) != 0) | (np.diff(windows.lines) != 0)
    line = np.cumsum(first) - 1
    is_toxic = np.bincount(line, toxic, int(first.sum())) > 0
    of_document = windows.rows[first]
    lines = np.bincount(of_document, minlength=documents)
    bad: Array = np.bincount(of_document, is_toxic, documents)
    return bad / np.maximum(lines, 1)


def _passage(found: Measured, name: str, row: int) -> str:
    shown = " ".join(found.windows.text(int(found.worst[name][row])).split())
    return shown if len(shown) <= EXCERPT_CHARACTERS else f"{shown[:EXCERPT_CHARACTERS]}…"


def _classifier(path: Path, section: ToxicitySection) -> Classifier:
    stat = path.stat()
    classifier = _loaded(path, stat.st_mtime_ns, stat.st_size)
    names = [section.neutral, *(name for name in section.min_probability if name != TOXIC)]
    for name in names:
        if name not in classifier.labels:
            where = "neutral" if name == section.neutral else "min_probability"
            raise DataError(
                f"the classifier has no label '{name}'",
                f"curate.toxicity.{where}",
                did_you_mean(name, classifier.labels),
            )
    if section.neutral in section.min_probability:
        raise DataError(
            f"'{section.neutral}' is the neutral label",
            "curate.toxicity.min_probability",
            "Name the others, or toxic for all of them.",
        )
    taken = {TOXIC, "toxic_line_fraction", *WORD_LISTS} & set(classifier.labels)
    if taken:
        raise DataError(
            f"the classifier has a label '{min(taken)}', which is a figure of its own here",
            str(path),
            "Name the label otherwise and train again.",
        )
    return classifier


@functools.lru_cache(maxsize=2)
def _loaded(path: Path, modified: int, size: int) -> Classifier:
    return load_classifier(path)


@functools.cache
def _lists() -> WordLists:
    entries = json.loads((DATA / "toxic_words.json").read_text("utf-8"))
    return word_lists({name: entries[name] for name in WORD_LISTS})
