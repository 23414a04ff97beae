"""What all arms of an ablation are measured on, where they hold out different documents.

Arms that collect differently keep different documents from training, and figures of different
documents are no comparison. So all are measured on what any of them holds out and none of them
trains on, whole or edited. Where arms hold out the same, that is what they are measured on, and
nothing is made.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from volano.core.artifact import Artifact
from volano.core.corpus import Corpus, finish_corpus, read_shard, shard_path, write_shard
from volano.core.errors import DataError
from volano.core.files import json_digest
from volano.core.mixture import TRAIN
from volano.core.records import Document, table_of
from volano.core.step import Context, Inputs, Step
from volano.core.store import Order, Store
from volano.curate.section import DecontaminateSection
from volano.evaluate.held_out import select_held_out
from volano.evaluate.section import HeldOutSection
from volano.evaluate.step import LEAST_DOCUMENTS
from volano.study.lying_in import lying_in
from volano.study.section import AblateSection

COMMON, HELD_OUT, CONVERSATIONS = "common_held_out", "held_out", "conversations"
COLLECTED, CURATED = "collected", "curated"
TRAINED = "trained-"  # inputs
Data = Mapping[str, Mapping[str, Artifact]]  # of each arm, by stage


def run_common(section: HeldOutSection, inputs: Inputs, context: Context) -> None:
    """Write the documents that some corpus holds out and none trains on, each text once; there may
    be none. Inputs called `trained-…` are what is left of the corpora for training: a document of
    which an edited copy lies there is left out, unless hardly any is without one."""
    named = [(name, each.corpus()) for name, each in sorted(inputs.items())]
    corpora = [each for name, each in named if not name.startswith(TRAINED)]
    texts = [each for name, each in named if name.startswith(TRAINED)]
    trained = {
        json_digest(each.text) for corpus in corpora for each in corpus.records() if _trains(each)
    }

    def documents() -> Iterator[Document]:
        seen: set[str] = set()
        for corpus in corpora:
            for each in corpus.records():
                text = json_digest(each.text)
                if _trains(each):
                    yield each
                elif each.split == "test" and text not in trained and text not in seen:
                    seen.add(text)
                    yield each

    found = select_held_out(documents())
    _write(context.folder, found)
    shards = [shard for each in texts for shard in each.shards()]
    with context.progress("held out of all", len(shards), "shards") as bar:

        def training() -> Iterator[pa.ChunkedArray]:
            for shard in shards:
                yield read_shard(shard, ["text"])["text"]
                bar.advance()

        measured = {HELD_OUT: Corpus.open(context.folder)}
        known = lying_in(measured, training(), DecontaminateSection())[HELD_OUT]
    left = [each for each in found if each.id not in known]
    if len(left) < LEAST_DOCUMENTS:
        left = found  # and study/held_out_overlap.py counts and tells them
    _write(context.folder, left)
    context.bill["documents"] = len(left)


def _write(folder: Path, documents: Sequence[Document]) -> None:
    write_shard(shard_path(folder, "data", 0), table_of(documents, Document))
    finish_corpus(folder, "document")


STEP = Step(
    name="common_held_out", kind="corpus", version=2, section=HeldOutSection, run=run_common
)


def with_common(
    data: Data,
    store: Store,
    name: str,
    asked: AblateSection,
    *,
    silent: bool,
    told: Callable[[str], None],
) -> Data:
    """The data of each arm, with what all are measured on where they hold out different documents.

    Raises DataError where no document, or not the same conversations, can be had for all.
    """
    measured = CONVERSATIONS in asked.tasks  # else they are trained on, and not measured on
    conversations = [
        each[CONVERSATIONS] for each in data.values() if measured and CONVERSATIONS in each
    ]
    if len({_held_out_conversations(each) for each in conversations}) > 1:
        raise DataError(
            "arms hold out different conversations, and their figures are no comparison",
            "evaluate.tasks: conversations",
            "Measure them by another task, or compare two models with `volano compare --on`.",
        )
    order = _order(list(data.values()), store, name)
    if order is None:
        return data
    common = store.make(order, silent=silent).artifact
    records = common.corpus().manifest["records"]
    # A reference does for bits per byte, and for nothing else.
    if not records and (asked.reference is None or asked.tasks or "toxicity" in asked.metrics):
        raise DataError(
            "what one arm holds out another trains on, so there is nothing to measure all arms on",
            "collect",
            "Set ablate.reference to a text that none of them collects, and measure bits per byte "
            "alone.",
        )
    told(said_of_common(records))
    return {arm: {**each, COMMON: common} for arm, each in data.items()}


def said_of_common(documents: int) -> str:
    """What a reader has to know of figures of other documents than an arm's own."""
    return (
        f"Arms hold out different documents; all are measured on the {documents:,} that none "
        "trains on as they are."
    )


def known_common(
    data: Sequence[Mapping[str, Artifact]], store: Store, name: str
) -> dict[str, Artifact]:
    """The same, if it is in the store; empty where it is not, or where none is needed."""
    order = _order(data, store, name)
    found = None if order is None else store.existing(order)
    return {} if found is None else {COMMON: found}


def _order(data: Sequence[Mapping[str, Artifact]], store: Store, name: str) -> Order | None:
    held_out = {each[HELD_OUT].digest for each in data if HELD_OUT in each}
    if len(held_out) < 2:
        return None
    by_digest = {each[COLLECTED].digest: each[COLLECTED] for each in data if COLLECTED in each}
    inputs = {f"documents-{n:04}": by_digest[each] for n, each in enumerate(sorted(by_digest))}
    trained = {each[CURATED].digest: each[CURATED] for each in data if CURATED in each}
    inputs |= {f"{TRAINED}{n:04}": trained[each] for n, each in enumerate(sorted(trained))}
    return store.order(STEP, HeldOutSection(), inputs, name=f"{name}/{COMMON}")


def _held_out_conversations(conversations: Artifact) -> str:
    held_out = (each for each in conversations.corpus().records() if not _trains(each))
    return json_digest(sorted(json_digest(str(each.messages)) for each in held_out))


def _trains(record: object) -> bool:
    return getattr(record, "split", TRAIN) == TRAIN
