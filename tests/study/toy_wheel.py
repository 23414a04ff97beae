"""A run of the whole wheel without any training: artifacts as the stages would leave them."""

import json

import pyarrow as pa

from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.finding import CASE_SCHEMA, DataRequest, Finding, save_findings
from volano.core.recipe import Section
from volano.core.records import Conversation, Document, Message, Preference, Rating, table_of
from volano.core.report import Measurement, Report
from volano.core.step import Step
from volano.core.store import Store
from volano.evaluate.verdict import Verdict, plain

NAME = "toy"
SCRIPT = "<script>alert('document')</script>"
ANSWER = "<img src=x onerror=alert('answer')>"
KEPT, LOST = [f"toy:f{n}" for n in range(4)], [f"toy:lost{n}" for n in range(3)]
HELD_OUT = [f"toy:held{n}" for n in range(5)]
CAUSE = "wrong, and the facts were in the training data"


class Settings(Section):
    epochs: float = 1.0


def make(store, stage, kind, write, *, epochs=1.0, **inputs):
    """The stage's artifact, as `write(folder)` leaves it."""

    def run(section, given, context):
        write(context.folder)

    step = Step(stage.partition("-")[0], kind, 1, Settings, run)
    order = store.order(step, Settings(epochs=epochs), inputs, name=f"{NAME}/{stage}")
    return store.make(order, silent=True).artifact


def corpus(records, record, **extra):
    def write(folder):
        kinds = {"document": Document, "conversation": Conversation, "rating": Rating}
        kinds["preference"] = Preference
        write_shard(shard_path(folder, "data", 0), table_of(records, kinds[record]))
        finish_corpus(folder, record, extra)

    return write


def function(name, text="Does it."):
    metadata = json.dumps({"qualified_name": name.replace(":", "."), "summary": text})
    return Document(
        name, f"{name}()\n\n{text}", "toy", kind="function", licence="MIT", metadata=metadata
    )


def said(name, question, answer, kind="function", **fields):
    messages = (Message("user", question), Message("assistant", answer))
    return Conversation(name, messages, fields.pop("source", "toy"), kind=kind, **fields)


def curated(folder):
    kept = [function(name, SCRIPT) for name in KEPT]
    lost = table_of([function(name, SCRIPT) for name in LOST], Document)
    write_shard(shard_path(folder, "data", 0), table_of(kept, Document))
    names = pa.array(["near"] * len(LOST), pa.string())
    write_shard(shard_path(folder, "dropped", 0), lost.append_column("dropped_by", names))
    decisions = {
        "id": KEPT + LOST,
        "text_bytes": [20] * 7,
        "dropped_by": pa.array([None] * 4 + ["near"] * 3, pa.string()),
        "value": pa.array([None] * 4 + [0.9] * 3, pa.float64()),
        "threshold": pa.array([None] * 4 + [0.7] * 3, pa.float64()),
        "evidence": pa.array([None] * 4 + [f"copy of {SCRIPT}"] * 3, pa.string()),
    }
    write_shard(shard_path(folder, "attributes/decision", 0), pa.table(decisions))
    rows = [("input", 7, 140, 0, 0), ("near", 4, 80, 3, 60)]
    keys = ("filter", "documents", "bytes", "documents_dropped", "bytes_dropped")
    finish_corpus(folder, "document", {"funnel": [dict(zip(keys, r, strict=True)) for r in rows]})


def checkpoint(slope):
    def write(folder):
        steps = list(range(1, 31))
        loss = {"step": steps, "loss": [slope / each for each in steps], "tokens": [100] * 30}
        loss["accuracy"] = [None, *(1 - 0.5 / each for each in steps[1:])]  # first reminders alone
        write_shard(folder / "metrics.parquet", pa.table(loss))

    return write


def share(name, stage, value, n=100):
    return Measurement(name, stage, value, max(value - 0.1, 0), min(value + 0.1, 1), n, "share")


def evaluated(stages):
    def write(folder):
        found, items = [Measurement("choice_pmi", "chance", 0.25, 0.25, 0.25, 100, "share")], []
        for place, stage in enumerate(stages):
            found += [
                share(name, stage, 0.3 + 0.1 * place)
                for name in ("choice_pmi", "refusal_unsafe", "answered_safe", "something_new")
            ]
            for task, ids in (
                ("answer_chrf", HELD_OUT),
                ("refusal_unsafe", ["bad"]),
                ("answered_safe", ["good"]),
            ):
                items += [
                    {
                        "task": task,
                        "id": name,
                        "stage": stage,
                        "answer": f"{stage} says {ANSWER}",
                        "score": 20.0 if task == "answer_chrf" else None,
                        "correct": None if task == "answer_chrf" else True,
                    }
                    for name in ids
                ]
        write_items(folder, items)
        Report(tuple(found)).save(folder / "report.json")

    return write


def write_items(folder, items):
    schema = pa.schema(
        [
            ("task", pa.string()), ("id", pa.string()), ("stage", pa.string()),
            ("answer", pa.large_string()), ("score", pa.float64()), ("correct", pa.bool_()),
        ]
    )  # fmt: skip
    write_shard(folder / "items.parquet", pa.Table.from_pylist(items, schema))


def diagnosed(folder):
    request = DataRequest("finding-1", "More of these.", 10, ("conversations",))
    finding = Finding(
        "finding-1", "questions with “which”: wrong", CAUSE, 6, 3, 10, 0.6, 0.3, 0.8,
        "Which function?", ANSWER, ("which",), {CAUSE: 6}, request=request,
    )  # fmt: skip
    save_findings(folder, [finding], {})
    Report(()).save(folder / "report.json")
    case = dict.fromkeys(CASE_SCHEMA.names)
    case |= {"id": "request:1", "prompt": "Which `function`?", "wanted": "toy.f1"}
    write_shard(folder / "cases.parquet", pa.Table.from_pylist([case], CASE_SCHEMA))


def judged(promote):
    def write(folder):
        better = {
            "name": "held_out_half", "question": "better", "n": 300, "difference": 0.123,
            "low": 0.1, "high": 0.15, "p_value": 1e-5, "test": "paired", "passed": True,
        }  # fmt: skip
        kept = {
            "name": "choice_pmi", "question": "nothing lost", "n": 300, "difference": -0.06,
            "bound": -0.08 if not promote else -0.01, "margin": 0.05, "test": "t",
            "passed": promote,
        }  # fmt: skip
        lost = [] if promote else ["choice_pmi"]
        verdict = Verdict(promote, "r", True, lost=tuple(lost), tests=(better, kept))
        halves = [
            share(name, stage, value)
            for stage, value in (("former", 0.2), ("candidate", 0.3))
            for name in ("held_out_half", "held_out_half@finding-1")
        ]
        extra = {"verdict": plain(verdict), "findings": {"finding-1": "which"}, "cases": 6}
        write_items(
            folder,
            [
                {
                    "task": "held_out_half", "id": "request:1", "stage": stage,
                    "answer": "toy.f1", "score": 1.0, "correct": None,
                }
                for stage in ("former", "candidate")
            ],
        )  # fmt: skip
        Report(tuple(halves), (better, kept), extra).save(folder / "report.json")

    return write


def ratings(source):
    messages = (Message("user", "Which `function`?"), Message("assistant", ANSWER))
    rated = [
        Rating(f"r{n}", f"request-{n}", "checkpoint/toy", messages, source, helpful=n)
        for n in range(1, 6)
    ]
    others = ("y", "y", "y", "y", "x")  # the last compares a model with itself
    chosen = [
        Rating(
            f"c{n}", f"request-{n}", "x", messages, "chat", choice=each, kind="choice",
            metadata=json.dumps({"other_checkpoint": others[n]}),
        )
        for n, each in enumerate(("this", "this", "other", "tie", "other"))
    ]  # fmt: skip
    return [*rated, *chosen]


def first_version(folder) -> Store:
    """A store with the first version alone."""
    store = Store(folder)
    all_of_it = [function(name, SCRIPT) for name in KEPT + LOST]
    collected = make(store, "collected", "corpus", corpus(all_of_it, "document"))
    held = [function(name) for name in HELD_OUT]
    make(store, "held_out", "corpus", corpus(held, "document"), documents=collected)
    requests = [said("bad", "Harm?", "No.", "unsafe"), said("good", "Help?", "Yes.", "safe")]
    make(store, "safety", "corpus", corpus(requests, "conversation"))
    documents = make(store, "curated", "corpus", curated, documents=collected)
    base = make(store, "base", "checkpoint", checkpoint(3.0), documents=documents)
    sft = make(store, "sft", "checkpoint", checkpoint(2.0), base=base)
    aligned = make(store, "aligned", "checkpoint", checkpoint(1.0), sft=sft)
    make(store, "report", "report", evaluated(["base", "sft", "aligned"]), aligned=aligned)
    make(store, "released", "checkpoint", checkpoint(1.0), checkpoint=aligned)
    return store


def second_version(store, *, promote=True, source="scripted"):
    """Turns the wheel once more, in the same store."""
    given = corpus(ratings(source), "rating")
    heard = make(store, "ratings-2", "corpus", given, model=store[f"{NAME}/released"])
    findings = make(store, "findings-2", "report", diagnosed, ratings=heard)
    new = [said("n1", "Which?", "toy.f1", "requested", source_ids=("toy:f1", "finding:finding-1"))]
    requested = make(store, "requested-2", "corpus", corpus(new, "conversation"), findings=findings)
    sft = make(
        store,
        "sft-2",
        "checkpoint",
        checkpoint(1.5),
        requested=requested,
        base=store[f"{NAME}/sft"],
    )
    aligned = make(store, "aligned-2", "checkpoint", checkpoint(0.9), sft=sft)
    make(store, "report-2", "report", evaluated(["aligned"]), aligned=aligned)
    gate = make(store, "gate-2", "report", judged(promote), candidate=aligned)
    if promote:
        make(store, "released-2", "checkpoint", checkpoint(0.9), checkpoint=aligned, gate=gate)
