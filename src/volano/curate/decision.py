"""Which filter dropped a document, at what value, beyond which threshold, on what evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from volano.curate.quality_section import QUALITY_RULES
from volano.curate.section import CurateSection

BOILERPLATE = "boilerplate"  # too short without the lines that its site repeats
SEMANTIC = "semantic"
CUT = "cut"  # too short without the lines and paragraphs that stand elsewhere

# The order in which filters judge, the quality rules among them as the recipe has it; a document is
# counted where it first fails. Decontamination comes before deduplication: of two copies of which
# one also quotes a held-out text, the clean one must not fall to the tainted one first.
FILTERS = (
    BOILERPLATE,
    "language",
    *QUALITY_RULES,
    "toxicity",
    "decontaminate",
    "held_out",
    "perplexity",
    "classifier",
    "exact",
    "near",
    SEMANTIC,
    CUT,
)


def filters_in_use(section: CurateSection) -> list[str]:
    """The filters that judge under these settings, in their order: a row without any document says
    that a filter looked and found none."""
    rules = section.quality.rules if section.quality else []
    drops = section.toxicity is not None and section.toxicity.action == "drop"
    before, behind = FILTERS.index(QUALITY_RULES[0]), FILTERS.index(QUALITY_RULES[-1]) + 1
    found = [*FILTERS[:before], *rules, *FILTERS[behind:]]
    cuts = section.dedup is not None and section.dedup.cuts
    alike = section.dedup is not None and section.dedup.semantic is not None
    used = {"toxicity": drops, SEMANTIC: alike, CUT: cuts}
    for name in (BOILERPLATE, "language", "perplexity", "classifier"):
        used[name] = getattr(section, name) is not None
    used["decontaminate"] = bool(section.decontaminate and section.decontaminate.against)
    used["exact"] = section.dedup is not None and section.dedup.exact != "off"
    used["near"] = section.dedup is not None and section.dedup.minhash is not None
    return [name for name in found if used.get(name, True)]


DECISION_FIELDS = [
    ("dropped_by", pa.string()),
    ("value", pa.float64()),
    ("threshold", pa.float64()),
    ("evidence", pa.string()),
]


@dataclass
class Decisions:
    """The decisions on the documents of one shard, in their order; the first drop stands."""

    dropped_by: list[str | None]
    value: list[float | None]
    threshold: list[float | None]
    evidence: list[str | None]

    @classmethod
    def of(cls, documents: int) -> "Decisions":
        """No decision yet on any of them."""
        return cls([None] * documents, [None] * documents, [None] * documents, [None] * documents)

    @classmethod
    def from_table(cls, table: pa.Table, prefix: str = "") -> "Decisions":
        """Decisions that were written as columns."""
        return cls(*(table[prefix + name].to_pylist() for name, _ in DECISION_FIELDS))

    def drop(
        self,
        rows: npt.NDArray[Any] | Sequence[int],
        by: str,
        *,
        value: Sequence[float | None] | npt.NDArray[Any],
        threshold: float | None,
        evidence: str | Sequence[str],
    ) -> None:
        """Drop those of `rows` that stand so far. `value`, and `evidence` unless it is one string,
        have one entry per document of the shard."""
        for row in rows:
            if self.dropped_by[row] is None:
                number = value[row]
                self.dropped_by[row] = by
                self.value[row] = None if number is None else float(number)
                self.threshold[row] = threshold
                self.evidence[row] = evidence if isinstance(evidence, str) else evidence[row]

    @property
    def standing(self) -> npt.NDArray[np.bool_]:
        """Which documents no filter has dropped."""
        return np.array([name is None for name in self.dropped_by], bool)

    def columns(self, prefix: str = "") -> dict[str, pa.Array]:
        """The decisions as Arrow columns."""
        return {
            prefix + name: pa.array(getattr(self, name), kind) for name, kind in DECISION_FIELDS
        }
