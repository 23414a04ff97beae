"""What fails, why, and what data would mend it: findings, and the request that follows from each.

A finding is a cluster of failed answers with its evidence. Half of all judged answers are held out:
they are never used to make data, and the next version is judged on those of the finding's kind,
whether they had failed or not. The other half may be learnt from. Both lie in `cases.parquet` of a
diagnosis, beside `findings.json`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from volano.core.errors import StoreError
from volano.core.files import read_json, write_json
from volano.core.records import MESSAGES

FORMAT = 1
FINDINGS_FILE, CASES_FILE = "findings.json", "cases.parquet"
Cause = Literal[
    "does not end",
    "repeats itself",
    "refuses a safe request",
    "answers an unsafe request",
    "wrong, and the facts were in the training data",
    "wrong, and the facts were not in the training data",
    "wrong, and nobody said what is right",
]
# What was done, and not what was said: mended by pairs that show both sides.
CONDUCT: frozenset[str] = frozenset({"refuses a safe request", "answers an unsafe request"})
CASE_SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # request:ID, or item:TASK:ID of an evaluation
        ("finding", pa.string()),  # of which it is a failure; "" where of none
        ("alike", pa.string()),  # whose kind of question it is, failed or not; "" where of none
        ("half", pa.string()),  # used, or held_out
        ("request_id", pa.string()),
        ("checkpoint", pa.string()),
        ("before", MESSAGES),  # what was said before the prompt
        ("prompt", pa.large_string()),
        ("answer", pa.large_string()),
        ("wanted", pa.large_string()),  # the answer as it should be; null where nobody said
        ("reference", pa.large_string()),  # to score by: wanted, documented, or found good
        ("documented", pa.bool_()),  # whether the reference is what the documents say
        ("preferred", pa.large_string()),  # of two answers, the one that was chosen; null elsewhere
        ("score", pa.float64()),  # 0 (worst) to 1
        ("failed", pa.bool_()),
        ("tested", pa.bool_()),  # an item of an evaluation, never learnt from
        ("safe", pa.bool_()),  # null where nobody said
        ("decline", pa.bool_()),  # whether declining is the right answer
        ("ended", pa.bool_()),
        ("cause", pa.string()),  # null where it has not failed
        ("documents", pa.list_(pa.string())),  # that hold the facts
        ("events", pa.list_(pa.string())),  # feedback:EVENT of each judgement
        ("who", pa.string()),
        ("licence", pa.string()),
        ("source", pa.string()),
    ]
)


@dataclass(frozen=True)
class DataRequest:
    """What data would mend a finding: which kind, how many records, from where, and why so."""

    finding: str  # its id; "" where a gate asks for what no finding is about
    what: str  # one sentence
    records: int
    kinds: tuple[str, ...]  # conversations, preferences, ratings, items
    modules: tuple[str, ...] = ()  # the documents' modules that the cluster is about
    patterns: tuple[dict[str, Any], ...] = ()  # how questions and answers follow from documents


@dataclass(frozen=True)
class Finding:
    """One cluster of failures. `share` is that of all judged answers, with its 95 % interval."""

    id: str
    title: str  # "asked “which function …”: wrong, though the facts were in the training data"
    cause: Cause
    cases: int
    held_out: int  # of the cases
    judged: int  # answers of any quality and kind
    share: float
    low: float
    high: float
    medoid: str  # the most central prompt of those that failed as the title says
    medoid_answer: str
    words: tuple[str, ...]  # that tell the cluster from the rest
    causes: dict[str, int]  # of its cases
    examples: tuple[str, ...] = ()
    alike: int = 0  # held-out questions of its kind, failed or not
    request: DataRequest | None = None


def save_findings(folder: Path, findings: Sequence[Finding], extra: dict[str, Any]) -> None:
    """Write findings.json."""
    write_json(
        folder / FINDINGS_FILE,
        {"format": FORMAT, "findings": [asdict(each) for each in findings], **extra},
    )


def load_findings(folder: Path) -> list[Finding]:
    """The findings of a diagnosis. Raises StoreError where there are none or of a newer form."""
    value = read_json(folder / FINDINGS_FILE)
    if value.get("format", 0) > FORMAT:
        raise StoreError(
            f"written by a newer Volano (format {value['format']})",
            str(folder / FINDINGS_FILE),
            "Upgrade Volano to read it.",
        )
    return [_finding(each) for each in value["findings"]]


def data_request(value: Mapping[str, Any]) -> DataRequest:
    """A request as findings.json and a gate's report hold it."""
    lists = {name: tuple(value[name]) for name in ("kinds", "modules", "patterns")}
    return DataRequest(**{**value, **lists})


def _finding(value: dict[str, Any]) -> Finding:
    request = None if value["request"] is None else data_request(value["request"])
    lists = {name: tuple(value[name]) for name in ("words", "examples")}
    return Finding(**{**value, **lists, "request": request})
