"""Two models or two reports, item by item: is the second better, where, and what differs behind.

Both are measured on the same items, so the comparison is paired by item. That tells of these two
models. Whether the way in which they were made is better takes several seeds of each
(study/ablation.py): another seed of the same way differs too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pyarrow.parquet as pq

from volano.core.artifact import Artifact
from volano.core.errors import RecipeError, StoreError, did_you_mean
from volano.core.store import Store
from volano.evaluate.section import DomainsSection, EvaluateSection, Task
from volano.evaluate.stage import AS_DOCUMENT, Item
from volano.evaluate.step import DOMAINS, EVALUATE
from volano.pretrain.step import IMPORT, PRETRAIN
from volano.study.compare_corpora import (
    Ancestors,
    MeasuredOn,
    Need,
    ancestors_of,
    asks_about_functions,
    measured_on,
    named_corpora,
    questions_of,
)
from volano.study.compare_data import Apart, Seen, apart, read_ids, seen
from volano.study.compare_items import (
    BITS_PER_BYTE,
    LEAST,
    Change,
    ComparedItems,
    Missing,
    Row,
    compare_items,
    judged_together,
    largest_first,
    weighted_row,
)
from volano.study.recipe import read_recipe

HELD_OUT, BASE, ALIGNED, ALL = "held_out", "base", "aligned", "all"
DOCUMENTS_FILE, ITEMS_FILE = "documents.parquet", "items.parquet"  # beside a report
TASKS: tuple[Task, ...] = tuple(each for each in get_args(Task) if each != "efficiency")
# Settings of the evaluation that a comparison does not read: why, and what to do.
IDLE = {
    "tasks": ("it is an option here", "Write --tasks."),
    "bits_documents": ("bits per byte are compared by domain", "Write --documents."),
    "seeds": ("greedy answers are compared", "Leave it out."),
    "sample_temperature": ("greedy answers are compared", "Leave it out."),
}
NEEDS: Mapping[Task, Need] = {
    "bits_per_byte": "held_out_functions",
    "held_out_functions": "held_out_functions",
    "conversations": "conversations",
    "safety": "safety",
}
UNTAUGHT = {PRETRAIN.name, IMPORT.name}  # steps whose models may never have seen a chat
SEED = 1  # as recipes have it, so that an evaluation of theirs is found again


@dataclass(frozen=True)
class Compared:
    """The answer of `volano compare`. `asked` has the questions of items that changed."""

    first: Artifact
    second: Artifact
    rows: list[Row]
    measured_on: list[MeasuredOn]
    missing: list[Missing]
    changes: list[Change]
    asked: Mapping[str, str]
    apart: list[Apart]
    seen: Seen

    @property
    def domains(self) -> list[Row]:
        """The rows of bits per byte."""
        return [each for each in self.rows if each.task == BITS_PER_BYTE]


def tasks_named(names: Iterable[str]) -> list[Task]:
    """The tasks of these names, each once. Raises StoreError for one that has no items."""
    found: dict[Task, None] = {}
    for name in names:
        if name == "efficiency":
            what = "efficiency is measured on no items, so nothing of it can be paired"
            raise StoreError(what, "--tasks", f"Choose among {', '.join(TASKS)}.")
        known = next((each for each in TASKS if each == name), None)
        if known is None:
            raise StoreError(f"no task '{name}'", "--tasks", did_you_mean(name, TASKS))
        found[known] = None
    if not found:
        raise StoreError("no task is named", "--tasks", f"Choose among {', '.join(TASKS)}.")
    return list(found)


def compare(
    store: Store,
    first: Artifact,
    second: Artifact,
    *,
    section: DomainsSection,
    tasks: Sequence[Task] = ("bits_per_byte",),
    evaluation: EvaluateSection | None = None,
    on: Sequence[Artifact] = (),
    workers: int = 0,
    silent: bool = False,
) -> Compared:
    """Measure two checkpoints with the same tasks, on corpora that both were kept from.

    Bits per byte are those of `section`, domain by domain; the other tasks those of `evaluation`,
    by default `evaluation_of` them. `on` has corpora in the place of those that lineage finds. What
    was measured before is reused. Raises StoreError where one is no checkpoint, or there is nothing
    to measure both on.
    """
    models = (first, second)
    for each in models:
        if each.kind != "checkpoint":
            what = f"this is a {each.kind}, not a checkpoint"
            raise StoreError(what, each.name, "Name two checkpoints, or two reports.")
    ancestors = ancestors_of(store, *models)
    found = [_told(each, ancestors) for each in _corpora(store, models, ancestors, tasks, on)]
    corpora = {each.need: each.corpus for each in found}
    rows: list[Row] = []
    changes: list[Change] = []
    if BITS_PER_BYTE in tasks:
        measured = []
        for each in models:
            inputs = {BASE: each, HELD_OUT: corpora["held_out_functions"]}
            order = store.order(DOMAINS, section, inputs, name=f"{each.name}-domains")
            measured.append(store.make(order, workers=workers, silent=silent).artifact)
        rows, changes = _by_domain(*measured)
    asked = [task for task in tasks if task != BITS_PER_BYTE]
    items = ComparedItems([], [], [])
    if asked:
        evaluation = evaluation or evaluation_of(asked)
        untaught = any(each.meta["identity"]["step"] in UNTAUGHT for each in models)
        place = BASE if untaught else ALIGNED
        inputs = {name: corpus for name, corpus in corpora.items() if _reads(asked, corpora, name)}
        names = {place: "", AS_DOCUMENT: "as document"}
        of_both = []
        for each in models:
            given = {**inputs, place: each}
            name = f"{each.name}-compared"
            order = store.order(EVALUATE, evaluation, given, name=name, seed=SEED)
            report = store.make(order, workers=workers, silent=silent).artifact
            of_both.append(_items(report, names))
        items = compare_items(*of_both)
    items = items._replace(changes=[*changes, *items.changes])
    return _compared(models, rows, items, found, ancestors)


def compare_reports(store: Store, first: Artifact, second: Artifact) -> Compared:
    """Pair the items of two reports by task, stage and id, and tell what differs behind them.

    Raises StoreError where one has no items, or the two have none in common.
    """
    reports = (first, second)
    for each in reports:
        if each.kind != "report" or not (each.folder / ITEMS_FILE).is_file():
            what = "a report without items" if each.kind == "report" else f"a {each.kind}"
            remedy = "Name two reports of volano evaluate or of a gate, or two checkpoints."
            raise StoreError(f"this is {what}", each.name, remedy)
    items = [_items(each) for each in reports]
    compared = compare_items(*items)
    if not compared.rows:
        stages = [", ".join(dict.fromkeys(each.stage for each in of_one)) for of_one in items]
        what = f"no task has {LEAST} items in common: stages {stages[0]} beside {stages[1]}"
        remedy = "Compare the two checkpoints instead, or reports of the same stages."
        raise StoreError(what, f"{first.name} and {second.name}", remedy)
    return _compared(reports, [], compared, [], ancestors_of(store, *reports))


def evaluation_of(tasks: Sequence[Task], settings: Sequence[str] = ()) -> EvaluateSection:
    """The evaluation that compares, with greedy answers alone; `settings` are of `evaluate`, such
    as answers=100. Raises RecipeError for one that is unknown or has no effect here."""
    assignments = [
        each if each.startswith("evaluate.") else f"evaluate.{each}" for each in settings
    ]
    section = read_recipe({"name": "compare"}, {}, assignments, where="volano compare").evaluate
    if section is None:
        raise RecipeError("is off", "evaluate", "Nothing could be compared: leave this out.")
    for name in section.model_fields_set & IDLE.keys():
        raise RecipeError(f"has no effect: {IDLE[name][0]}", f"evaluate.{name}", IDLE[name][1])
    return section.model_copy(update={"tasks": list(tasks), "seeds": 0})


def _corpora(
    store: Store,
    models: Sequence[Artifact],
    ancestors: Sequence[Ancestors],
    tasks: Sequence[Task],
    on: Sequence[Artifact],
) -> list[MeasuredOn]:
    named = named_corpora(on)
    found: dict[Need, MeasuredOn] = {}

    def find(need: Need) -> None:
        if need not in found and need in named:
            found[need] = MeasuredOn(need, named[need], "it was named")
        elif need not in found:
            found[need] = measured_on(need, models, ancestors, store)

    for task in tasks:
        find(NEEDS[task])
    if "conversations" in found and asks_about_functions(found["conversations"].corpus):
        find("held_out_functions")
    idle = named.keys() - found.keys()
    if idle:
        corpus = named[min(idle)]
        what = f"none of the tasks reads it ({', '.join(tasks)})"
        raise StoreError(what, f"--on {corpus.name}", "Leave it out, or add its task.")
    return list(found.values())


def _told(measured: MeasuredOn, ancestors: Sequence[Ancestors]) -> MeasuredOn:
    """With what of it either has read in training, by the ids of documents."""
    ids = set(measured.corpus.corpus().to_arrow(["id"])["id"].to_pylist())
    known = {
        which: len(ids & read_ids(each))
        for which, each in zip(("first", "second"), ancestors, strict=True)
    }
    said = [f"{n:,} by the {which}" for which, n in known.items() if n]
    if not said:
        return measured
    read = f"of its {len(ids):,} records training has read {' and '.join(said)}"
    return measured._replace(why=f"{measured.why}; {read}, so figures tell of memory too")


def _reads(tasks: Sequence[Task], corpora: Mapping[Need, Artifact], need: Need) -> bool:
    if need != "held_out_functions":
        return need in {NEEDS[task] for task in tasks}
    chats = corpora.get("conversations")
    return "held_out_functions" in tasks or (chats is not None and asks_about_functions(chats))


def _items(report: Artifact, names: Mapping[str, str] | None = None) -> list[Item]:
    rows = pq.read_table(report.folder / ITEMS_FILE).to_pylist()
    items = [Item(**row) for row in rows]
    if names is None:
        return items
    return [each._replace(stage=names[each.stage]) for each in items if each.stage in names]


def _compared(
    pair: tuple[Artifact, Artifact],
    rows: Sequence[Row],
    items: ComparedItems,
    found: list[MeasuredOn],
    ancestors: Sequence[Ancestors],
) -> Compared:
    behind = [each.corpus for each in found]
    if not behind:
        parents = {one["digest"] for each in pair for one in each.parents.values()}
        behind = [
            each
            for known in ancestors
            for digest, each in known.items()
            if digest in parents and each.kind == "corpus"
        ]
    return Compared(
        *pair,
        judged_together([*rows, *items.rows]),
        found,
        items.missing,
        items.changes,
        questions_of(behind, {each.id for each in items.changes}),
        apart(*ancestors),
        seen(ancestors),
    )


def _by_domain(one: Artifact, two: Artifact) -> tuple[list[Row], list[Change]]:
    """Rows of all and of each domain, and the documents of each domain that differ."""
    tables = [pq.read_table(each.folder / DOCUMENTS_FILE) for each in (one, two)]
    assert tables[0]["id"].equals(tables[1]["id"]), "one section, one corpus"
    domains = np.array(tables[0]["domain"].to_pylist())
    sizes = tables[0]["utf8_bytes"].to_numpy().astype(np.float64)
    bits = [each["bits"].to_numpy() for each in tables]
    names = sorted(set(domains.tolist()))
    ids = np.array(tables[0]["id"].to_pylist())
    found, changes = [], []
    for name in [ALL, *names] if len(names) > 1 else names:
        whole = name == ALL and len(names) > 1
        chosen = np.ones(len(domains), bool) if whole else domains == name
        if chosen.sum() < LEAST or not sizes[chosen].sum():
            continue
        ours, theirs, of = (each[chosen].tolist() for each in (*bits, sizes))
        found.append(weighted_row(BITS_PER_BYTE, name, ours, theirs, of))
        if not whole:
            each = zip(ids[chosen].tolist(), ours, theirs, of, strict=True)
            changes += largest_first(
                Change(BITS_PER_BYTE, name, identity, two > one, one / size, two / size)
                for identity, one, two, size in each
                if size and one != two
            )
    return found, changes
