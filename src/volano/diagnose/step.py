"""The steps of this room: `diagnose` finds what fails, `requested` makes the data to mend it.

No torch here: the data side of the product loads this file without it.
"""

from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from volano.core.artifact import Artifact
from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.errors import DataError
from volano.core.feedback import SCRIPTED
from volano.core.finding import CASE_SCHEMA, CASES_FILE, load_findings, save_findings
from volano.core.records import Conversation, Preference, table_of
from volano.core.report import Measurement, Report
from volano.core.step import Context, Inputs, Step
from volano.diagnose.alike import is_documented
from volano.diagnose.cases import Case, evaluated_cases, judged_cases
from volano.diagnose.data import HeldOutHalf, conversations_for, preferences_for
from volano.diagnose.facts import FieldIndex
from volano.diagnose.findings import Diagnosis, diagnose
from volano.diagnose.section import DiagnoseSection, RequestedSection
from volano.text.functions import read_function

EVALUATED_STAGE = "aligned"
TRAINED_FILE = "seen.parquet"


def run_diagnose(section: DiagnoseSection, inputs: Inputs, context: Context) -> None:
    """Write findings.json, cases.parquet and a report with the share of each finding."""
    cases = _cases(section, inputs)
    if not cases:
        remedy = "Let people rate answers (volano serve), or import a log: volano feedback import."
        raise DataError("no judged answers", "diagnose", remedy)
    with context.progress("diagnose", len(cases), "answers") as bar:
        index = FieldIndex(inputs["documents"].corpus().records())
        taught = _questions(inputs)
        found = diagnose(cases, index, trained_documents(inputs), taught, section)
        bar.advance(len(cases))
    table = pa.Table.from_pylist(rows_of(found, index), schema=CASE_SCHEMA)
    write_shard(context.folder / CASES_FILE, table)
    failed = sum(case.failed for case in cases)
    scripted = sum(case.source == SCRIPTED for case in cases)
    about = {"judged": len(cases), "failed": failed, "scripted": scripted}
    save_findings(context.folder, found.findings, about)
    shares = [
        Measurement(each.title, each.id, each.share, each.low, each.high, each.judged, "share")
        for each in found.findings
    ]
    Report(tuple(shares)).save(context.folder / "report.json")


def run_requested(section: RequestedSection, inputs: Inputs, context: Context) -> None:
    """Write the conversations that the requests are met with; there may be none."""
    findings, cases = _diagnosis(inputs["findings"])
    documents = list(inputs["documents"].corpus().records())
    index = FieldIndex(documents)
    conversations, left_out = conversations_for(
        findings,
        cases,
        documents,
        HeldOutHalf(cases, inputs["held_out"].corpus().records(), index),
        trained_documents(inputs),
        index,
        section,
    )
    write_shard(shard_path(context.folder, "data", 0), table_of(conversations, Conversation))
    finish_corpus(context.folder, "conversation", {"left_out": dict(sorted(left_out.items()))})
    context.bill["conversations"] = len(conversations)


def run_requested_preferences(section: RequestedSection, inputs: Inputs, context: Context) -> None:
    """Write the preferences that the requests are met with; there may be none."""
    findings, cases = _diagnosis(inputs["findings"])
    index = FieldIndex(inputs["documents"].corpus().records())
    held_out = HeldOutHalf(cases, inputs["held_out"].corpus().records(), index)
    safety = list(inputs["safety"].corpus().records())
    requested = list(inputs["requested"].corpus().records())
    former = list(inputs["former"].corpus().records())
    preferences = preferences_for(findings, cases, safety, requested, former, held_out, section)
    write_shard(shard_path(context.folder, "data", 0), table_of(preferences, Preference))
    finish_corpus(context.folder, "preference")
    context.bill["preferences"] = len(preferences)


def trained_documents(inputs: Inputs) -> set[str]:
    """Ids of all documents that a checkpoint among the inputs has trained on."""
    trained: set[str] = set()
    for artifact in inputs.values():
        path = artifact.folder / TRAINED_FILE
        if artifact.kind == "checkpoint" and path.is_file():
            trained.update(pq.read_table(path, columns=["id"])["id"].to_pylist())
    return trained


def _cases(section: DiagnoseSection, inputs: Inputs) -> list[Case]:
    cases = judged_cases(inputs["ratings"].corpus().records(), section)
    if "report" not in inputs:
        return cases
    functions = {
        each.id: read_function(each)
        for each in inputs["held_out"].corpus().records()
        if each.kind == "function"
    }
    safety = {each.id: each for each in inputs["safety"].corpus().records()}
    items = pq.read_table(inputs["report"].folder / "items.parquet").to_pylist()
    ours = [item for item in items if item["stage"] == EVALUATED_STAGE]
    return cases + evaluated_cases(ours, functions, safety, section)


def _questions(inputs: Inputs) -> set[str]:
    return {
        message.content
        for name, artifact in inputs.items()
        if name.startswith("conversations")
        for each in artifact.corpus().records()
        for message in each.messages
        if message.role == "user"
    }


def _diagnosis(artifact: Artifact) -> tuple[list[Any], list[dict[str, Any]]]:
    return load_findings(artifact.folder), pq.read_table(artifact.folder / CASES_FILE).to_pylist()


def rows_of(found: Diagnosis, index: FieldIndex) -> list[dict[str, Any]]:
    """The cases as rows of cases.parquet."""
    rows = []
    both = zip(found.looked, found.belongs, found.kinds, found.references, strict=True)
    for looked, finding, kind, reference in both:
        case = looked.case
        row = {name: getattr(case, name, None) for name in CASE_SCHEMA.names}
        row |= {"finding": finding, "half": looked.half, "cause": looked.cause}
        row["decline"] = looked.decline
        documented = is_documented(looked, reference, index)
        row |= {"alike": kind, "reference": reference, "documented": documented}
        row |= {"before": [asdict(each) for each in case.before]}
        row |= {"documents": looked.documents, "events": list(case.events)}
        rows.append(row)
    return rows


DIAGNOSE = Step(
    name="diagnose", kind="report", version=8, section=DiagnoseSection, run=run_diagnose
)
REQUESTED = Step(
    name="requested", kind="corpus", version=4, section=RequestedSection, run=run_requested
)
REQUESTED_PREFERENCES = Step(
    name="requested_preferences",
    kind="corpus",
    version=8,  # 8: reminders carry the consent that their conversation came with
    section=RequestedSection,
    run=run_requested_preferences,
)
