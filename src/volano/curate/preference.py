"""Which of several copies stays: a number per document, of which the lowest is preferred."""

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from volano.core.errors import DataError, did_you_mean
from volano.curate.dedup_section import DedupSection

# Years and months may stand alone; what follows the seconds (a time zone) is not read.
DATE = re.compile(r"(\d{4})(?:-?(\d\d))?(?:-?(\d\d))?(?:[T ](\d\d):?(\d\d)(?::?(\d\d))?)?")
ROOM = (13, 32, 24, 60, 61)  # months, days, hours, minutes, seconds: more than there can be
LEAST = np.inf
READ = {"newest": "date", "oldest": "date", "licence": "licence"}


def columns_read(section: DedupSection | None) -> list[str]:
    """The columns of the records that the preference depends on."""
    return [READ[section.keep]] if section is not None and section.keep in READ else []


def preferences(
    table: pa.Table,
    texts: pa.LargeStringArray,
    attributes: Mapping[str, pa.Array],
    section: DedupSection,
) -> pa.DoubleArray:
    """The number per document. One without a date, a known licence or a measured attribute comes
    last. `attributes` are those measured of the shard, as GROUP.NAME. Raises DataError."""
    if section.keep in ("newest", "oldest"):
        dates = [date_number(each) for each in table["date"].to_pylist()]
        sign = -1 if section.keep == "newest" else 1
        return pa.array([LEAST if each is None else sign * each for each in dates], pa.float64())
    if section.keep == "licence":
        rank = {name.casefold(): place for place, name in enumerate(section.keep_licences)}
        names = table["licence"].to_pylist()
        found = [rank.get((name or "").strip().casefold(), len(rank)) for name in names]
        return pa.array(found, pa.float64())
    if section.keep == "best_quality":
        return pa.array(_lowest_best(attributes, section.keep_attribute or ""))
    lengths = pc.fill_null(pc.binary_length(texts), 0).to_numpy()  # longest
    return pa.array(-lengths.astype(np.float64))


def date_number(date: str | None) -> float | None:
    """A number that grows with an ISO date (2024, 2024-05, 2024-05-31T12:30:00); None if it is no
    such date."""
    found = DATE.match((date or "").strip())
    if found is None:
        return None
    number = int(found[1])
    for room, part in zip(ROOM, found.groups()[1:], strict=True):
        number = number * room + int(part or 0)
    return float(number)


def _lowest_best(attributes: Mapping[str, pa.Array], name: str) -> npt.NDArray[np.float64]:
    kinds = {each: column.type for each, column in attributes.items()}
    numbers = [
        each
        for each, kind in kinds.items()
        if pa.types.is_floating(kind) or pa.types.is_integer(kind)
    ]
    known = [each for each in numbers if not each.startswith(("scratch.", "dedup."))]
    if name not in known:
        raise DataError(
            f"no measured number '{name}'",
            "curate.dedup.keep_attribute",
            did_you_mean(name, known) if known else "Nothing is measured: switch on a filter.",
        )
    values = attributes[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isnan(values), LEAST, -values)
