"""Rules on the form of a document: statistics from the kernels against the section's bounds."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from volano.curate.decision import Decisions
from volano.curate.section import (
    GopherQualitySection,
    GopherRepetitionSection,
    QualitySection,
)
from volano.text.kernels.quality import quality_statistics
from volano.text.kernels.repetition import repetition_statistics

STATISTICS: dict[str, Callable[[pa.LargeStringArray], pa.Table]] = {
    "gopher_quality": quality_statistics,
    "gopher_repetition": repetition_statistics,
}


def measure_and_judge(
    rule: str,
    texts: pa.LargeStringArray,
    kinds: list[str],
    section: QualitySection,
    decisions: Decisions,
) -> dict[str, pa.Array]:
    """The statistics of one set of rules, and `passed`; drops what lies beyond a bound.

    The evidence is the statistic that failed first in the order of the section. Documents of
    exempt kinds have `passed` null.
    """
    table = STATISTICS[rule](texts)
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    bounds: GopherQualitySection | GopherRepetitionSection = getattr(section, rule)
    exempt = np.isin(np.array(kinds, object), bounds.exempt_kinds)
    passed = np.ones(len(kinds), bool)
    for name, bound in bounds.identity().items():
        side, _, statistic = name.partition("_")
        if side not in ("min", "max"):
            continue
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
