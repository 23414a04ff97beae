"""Rules on the form of a document: statistics from the kernels against the section's bounds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from volano.curate.decision import Decisions
from volano.curate.form_section import (
    CodeSection,
    GibberishSection,
    RefinedWebSection,
    SentencesSection,
    SpamSection,
)
from volano.curate.quality_section import (
    C4_SWITCHES,
    C4Section,
    FineWebSection,
    GopherQualitySection,
    GopherRepetitionSection,
    QualitySection,
)
from volano.text.kernels.features import Features, measure
from volano.text.kernels.forms import FORM_STATISTICS, measure_forms
from volano.text.kernels.sentences import LineRules

AnyRules: TypeAlias = (
    GopherQualitySection
    | GopherRepetitionSection
    | C4Section
    | FineWebSection
    | RefinedWebSection
    | SentencesSection
    | CodeSection
    | SpamSection
    | GibberishSection
)
EDITS = ("c4", "refinedweb")  # the sets of rules that change the text


class Judged(NamedTuple):
    """Statistics and `passed` per set of rules, and the texts as the rules have left them."""

    columns: dict[str, dict[str, pa.Array]]
    texts: pa.LargeStringArray


def measure_and_judge(
    texts: pa.LargeStringArray,
    kinds: list[str],
    section: QualitySection,
    decisions: Decisions,
    known: Callable[[str], dict[str, pa.Array] | None] = lambda rule: None,
) -> Judged:
    """Judge by all sets of rules in their order; drops what lies beyond a bound.

    `known` gives the statistics of a rule where they have been measured before.

    The evidence is the statistic that failed first in the order of the section. Documents of
    exempt kinds have `passed` null, and their text stays as it is, as does that of a dropped one.
    """
    columns: dict[str, dict[str, pa.Array]] = {}
    for rules in _passes(section.rules):
        before = {rule: statistics for rule in rules if (statistics := known(rule)) is not None}
        left = [rule for rule in rules if rule not in before]
        found = _measured(texts, left, section)
        for rule in rules:
            measured = before[rule] if rule in before else _columns(found.tables[rule])
            columns[rule] = _judged(rule, measured, kinds, section, decisions)
        if found.kept is not None:
            # Of exempt kinds it is null whether they passed.
            passed = pc.fill_null(columns[rules[-1]]["passed"], pa.scalar(value=False))
            texts = pc.if_else(passed, found.kept, texts)
    return Judged(columns, texts)


def _passes(rules: Sequence[str]) -> list[list[str]]:
    # What stands behind a rule that edits reads the text that it has left.
    parts: list[list[str]] = [[]]
    for rule in rules:
        parts[-1].append(rule)
        if rule in EDITS:
            parts.append([])
    return [part for part in parts if part]


def edits(section: QualitySection) -> bool:
    """Whether one of the rules changes the text."""
    return not set(EDITS).isdisjoint(section.rules)


def _measured(
    texts: pa.LargeStringArray, rules: Sequence[str], section: QualitySection
) -> Features:
    forms = [rule for rule in rules if rule in FORM_STATISTICS]
    found = measure_forms(
        texts,
        forms,
        max_uppercase_fraction=section.refinedweb.max_line_uppercase_fraction,
        fewest_content_words=section.spam.fewest_content_words,
        fewest_letters=section.gibberish.fewest_letters,
    )
    others = [rule for rule in rules if rule not in FORM_STATISTICS]
    if not others:
        return Features(found.tables, found.kept)
    more = measure(
        texts,
        others,
        words=section.words,
        short_line_characters=section.fineweb.short_line_characters,
        fewest_top_grams=section.gopher_repetition.top_gram_occurrences,
        lines=_line_rules(section.c4),
    )
    return Features(found.tables | more.tables, more.kept if found.kept is None else found.kept)


def _line_rules(section: C4Section) -> LineRules:
    return LineRules(
        terminal=section.terminal_punctuation,
        citations=section.citations == "remove",
        fewest_words=section.min_line_words,
        longest_word=section.max_word_characters,
        javascript=section.javascript_lines == "remove",
        policy=section.policy_lines == "remove",
        lorem_ipsum=section.lorem_ipsum == "drop",
        curly_brackets=section.curly_brackets == "drop",
    )


def _columns(table: pa.Table) -> dict[str, pa.Array]:
    return {name: table[name].combine_chunks() for name in table.column_names}


def _judged(
    rule: str,
    columns: dict[str, pa.Array],
    kinds: list[str],
    section: QualitySection,
    decisions: Decisions,
) -> dict[str, pa.Array]:
    settings: AnyRules = getattr(section, rule)
    exempt = exempt_rows(kinds, settings)
    passed = np.ones(len(kinds), bool)
    for statistic, side, bound in _bounds(rule, settings.identity(), columns):
        values = columns[statistic].fill_null(0).to_numpy(zero_copy_only=False)
        beyond = (values < bound) if side == "min" else (values > bound)
        passed &= ~beyond
        decisions.drop(
            np.flatnonzero(beyond & ~exempt),
            rule,
            value=values,
            threshold=float(bound),
            evidence=statistic,
        )
    return {**columns, "passed": pa.array(passed, mask=exempt)}


def exempt_rows(kinds: Sequence[str], settings: AnyRules) -> npt.NDArray[np.bool_]:
    """Which documents the rules measure and do not judge, by their kinds."""
    names = np.array(kinds, object)
    if isinstance(settings, CodeSection):
        return np.isin(names, settings.only_kinds, invert=True)
    return np.isin(names, settings.exempt_kinds)


def _bounds(
    rule: str, settings: Mapping[str, Any], columns: Mapping[str, pa.Array]
) -> list[tuple[str, str, float]]:
    # Statistic, side and bound, in the order of the section.
    found: list[tuple[str, str, float]] = []
    if rule == "c4":  # they end the reading, so that no sentence has been counted yet
        found = [(name, "max", 0) for name in C4_SWITCHES]
    for name, bound in settings.items():
        side, _, statistic = name.partition("_")
        if side in ("min", "max") and statistic in columns:
            found.append((statistic, side, bound))
    return found
