"""Questions to a curated corpus: which documents, with which numbers, and how those are spread.

Answered by DuckDB from the shards; nothing is loaded beforehand, so a large corpus opens at once.
"""

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from volano.core.artifact import Artifact
from volano.core.errors import DataError, did_you_mean
from volano.curate.decision import filters_in_use
from volano.curate.section import CurateSection
from volano.curate.thresholds import Bound, bounds_of

PAGE_DOCUMENTS = 20
BINS = 40
FARTHEST = 2  # spans of the numbers: a bound that lies farther off would squeeze them into a corner
EXCERPT_CHARACTERS = 260
OUTLIERS = 0.005  # of the documents at either end that a histogram leaves out, and counts
NUMBERS = ("DOUBLE", "FLOAT", "BIGINT", "INTEGER", "UBIGINT", "HUGEINT")
NOT_SHOWN = {("decision", "value"), ("decision", "threshold"), ("dedup", "document_hash")}
COLUMNS = "id, text, kind, source, url"


class Spread(NamedTuple):
    """How a number is spread over the documents that have it."""

    group: str
    column: str
    edges: list[float]
    kept: list[int]
    dropped: list[int]
    bounds: list[Bound]
    beyond: int  # documents outside the edges, which are not drawn
    missing: int


class Found(NamedTuple):
    """One document of a list. `number` is the attribute that the list is sorted by."""

    id: str
    excerpt: str
    dropped_by: str | None
    why: str
    number: float | None


class Inspected:
    """A curated corpus that is asked by many threads at once."""

    def __init__(self, artifact: Artifact) -> None:
        identity = artifact.meta.get("identity", {})
        self.corpus = artifact.corpus()
        if "decision" not in self.corpus.groups():
            raise DataError(
                "no curated corpus: it has no decisions", artifact.name, "Name a curated one."
            )
        self.name = artifact.name
        self.settings: dict[str, Any] = identity.get("settings", {})
        self.bounds = bounds_of(self.settings)
        self.funnel: list[dict[str, Any]] = self.corpus.manifest["funnel"]
        self._connection = self.corpus.duckdb()
        self._lock = threading.Lock()
        views = [f"select {COLUMNS} from data"]
        if self.corpus.shards("dropped"):
            views.append(f"select {COLUMNS} from dropped")
        self._query("create view documents as " + " union all ".join(views))
        self.numbers = self._numbers()
        self.fallen = self.funnel[0]["documents"] - self.funnel[-1]["documents"]

    def filters(self) -> list[str]:
        """The filters that a document can have been dropped by."""
        return filters_in_use(CurateSection.model_validate(self.settings))

    def spread(self, group: str, column: str) -> Spread:
        """The histogram of a number. Raises DataError for one that is not there."""
        self._check(group, column)
        rows = self._query(
            f'select n."{column}"::double as value, d.dropped_by is null as stays '
            f'from "{group}" n join decision d using (id)'
        )
        values = np.array([np.nan if value is None else value for value, _ in rows], float)
        stays = np.array([stays for _, stays in rows], bool)
        there = ~np.isnan(values)
        missing = int((~there).sum())
        values, stays = values[there], stays[there]
        bounds = self.bounds.get((group, column), [])
        if not len(values):
            return Spread(group, column, [0.0, 1.0], [0], [0], bounds, 0, missing)
        low, high = np.quantile(values, [OUTLIERS, 1 - OUTLIERS])
        room = FARTHEST * (high - low)
        near = [each.value for each in bounds if low - room <= each.value <= high + room]
        low, high = min([low, *near]), max([high, *near])
        if low == high:
            low, high = low - 0.5, high + 0.5
        edges = np.linspace(low, high, BINS + 1)
        kept, _ = np.histogram(values[stays], edges)
        dropped, _ = np.histogram(values[~stays], edges)
        beyond = len(values) - int(kept.sum() + dropped.sum())
        return Spread(
            group, column, edges.tolist(), kept.tolist(), dropped.tolist(), bounds, beyond, missing
        )

    def search(
        self,
        words: str = "",
        *,
        dropped_by: str = "",
        sort: str = "",
        descending: bool = True,
        page: int = 0,
    ) -> tuple[list[Found], int]:
        """A page of the documents that hold the words (or have them in the id), and how many there
        are. `dropped_by` is a filter, or "kept"; `sort` is GROUP.COLUMN."""
        where, values = ["true"], list[Any]()
        if words:
            where.append("(contains(lower(t.text), lower(?)) or contains(lower(t.id), lower(?)))")
            values += [words, words]
        if dropped_by == "kept":
            where.append("d.dropped_by is null")
        elif dropped_by:
            where.append("d.dropped_by = ?")
            values.append(dropped_by)
        number, join, order = "null", "", "t.id"
        if sort:
            group, _, column = sort.partition(".")
            self._check(group, column)
            number, join = f'n."{column}"::double', f'join "{group}" n using (id)'
            order = f"{number} {'desc' if descending else 'asc'} nulls last, t.id"
        source = f"from documents t join decision d using (id) {join} where {' and '.join(where)}"
        ((count,),) = self._query(f"select count(*) {source}", values)
        rows = self._query(
            f"select t.id, left(t.text, {EXCERPT_CHARACTERS}), d.dropped_by, d.evidence, d.value, "
            f"d.threshold, {number} {source} order by {order} "
            f"limit {PAGE_DOCUMENTS} offset {PAGE_DOCUMENTS * page}",
            values,
        )
        found = [
            Found(name, text, rule, _why(evidence, value, threshold), number)
            for name, text, rule, evidence, value, threshold, number in rows
        ]
        return found, int(count)

    def document(self, identifier: str) -> dict[str, Any] | None:
        """Text, decision, attributes and copies of a document; None if it is not there."""
        rows = self._query(f"select {COLUMNS} from documents where id = ?", [identifier])
        if not rows:
            return None
        found = dict(zip(COLUMNS.split(", "), rows[0], strict=True))
        found["attributes"] = {
            group: self._row(group, identifier) for group in self.corpus.groups()
        }
        decision = found["attributes"].get("decision", {})
        found["dropped_by"] = decision.get("dropped_by")
        found["why"] = _why(
            decision.get("evidence"), decision.get("value"), decision.get("threshold")
        )
        found["copies"] = []
        if "dedup" in self.corpus.groups() and ("dedup", "similarity") in self.numbers:
            copy_of = found["attributes"]["dedup"].get("copy_of")
            stays = copy_of or identifier
            rows = self._query("select id from dedup where copy_of = ? order by id", [stays])
            others = [stays] * bool(copy_of) + [name for (name,) in rows if name != identifier]
            found["copies"] = others
        return found

    def _row(self, group: str, identifier: str) -> dict[str, Any]:
        rows = self._query(f'select * exclude (id) from "{group}" where id = ?', [identifier])
        names = [name for name, _ in self._columns(group)]
        return dict(zip(names, rows[0], strict=True)) if rows else {}

    def _numbers(self) -> list[tuple[str, str]]:
        return [
            (group, name)
            for group in self.corpus.groups()
            for name, kind in self._columns(group)
            if kind in NUMBERS and (group, name) not in NOT_SHOWN
        ]

    def _columns(self, group: str) -> list[tuple[str, str]]:
        rows = self._query(f'describe "{group}"')
        return [(str(row[0]), str(row[1])) for row in rows if row[0] != "id"]

    def _check(self, group: str, column: str) -> None:
        if (group, column) not in self.numbers:
            known = [f"{one}.{other}" for one, other in self.numbers]
            raise DataError(
                f"no number '{group}.{column}'", self.name, did_you_mean(f"{group}.{column}", known)
            )

    def _query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            cursor = self._connection.cursor()
        try:
            result = cursor.execute(sql, list(values))
            return [] if sql.startswith("create") else list(result.fetchall())
        finally:
            cursor.close()


def _why(evidence: str | None, value: float | None, threshold: float | None) -> str:
    parts = [evidence or ""]
    if value is not None and threshold is not None:
        parts.append(f"{value:.4g} against {threshold:.4g}")
    return ", ".join(part for part in parts if part)
