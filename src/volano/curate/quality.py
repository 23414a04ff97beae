"""Rules on the form of a document: statistics from the kernels against the section's bounds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from volano.curate.decision import Decisions
from volano.curate.quality_section import (
    C4_SWITCHES,
    C4Section,
    FineWebSection,
    GopherQualitySection,
    GopherRepetitionSection,
    QualitySection,
)
from volano.text.kernels.features import Features, measure
from volano.text.kernels.sentences import LineRules

AnyRules: TypeAlias = GopherQualitySection | GopherRepetitionSection | C4Section | FineWebSection
EDITS = "c4"  # the set of rules that changes the text


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
        found = _measured(texts, left, section) if left else Features({}, None)
        for rule in rules:
            measured = before[rule] if rule in before else _columns(found.tables[rule])
            columns[rule] = _judged(rule, measured, kinds, section, decisions)
        if found.kept is not None:
            exempt = pa.array(np.isin(np.array(kinds, object), section.c4.exempt_kinds))
            passed = pc.fill_null(columns[EDITS]["passed"], pa.scalar(value=False))
            texts = pc.if_else(pc.and_(passed, pc.invert(exempt)), found.kept, texts)
    return Judged(columns, texts)


def _passes(rules: Sequence[str]) -> list[list[str]]:
    # What stands behind c4 reads the text that c4 has left.
    if EDITS not in rules:
        return [list(rules)] if rules else []
    behind = list(rules).index(EDITS) + 1
    return [part for part in (list(rules[:behind]), list(rules[behind:])) if part]


def _measured(
    texts: pa.LargeStringArray, rules: Sequence[str], section: QualitySection
) -> Features:
    return measure(
        texts,
        rules,
        words=section.words,
        short_line_characters=section.fineweb.short_line_characters,
        fewest_top_grams=section.gopher_repetition.top_gram_occurrences,
        lines=_line_rules(section.c4),
    )


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
    exempt = np.isin(np.array(kinds, object), settings.exempt_kinds)
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


def _bounds(
    rule: str, settings: Mapping[str, Any], columns: Mapping[str, pa.Array]
) -> list[tuple[str, str, float]]:
    # Statistic, side and bound, in the order of the section.
    found: list[tuple[str, str, float]] = []
    if rule == EDITS:  # they end the reading, so that no sentence has been counted yet
        found = [(name, "max", 0) for name in C4_SWITCHES]
    for name, bound in settings.items():
        side, _, statistic = name.partition("_")
        if side in ("min", "max") and statistic in columns:
            found.append((statistic, side, bound))
    return found
