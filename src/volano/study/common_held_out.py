"""What all arms of an ablation are measured on, where they hold out different documents.

Arms that collect differently keep different documents from training, and figures of different
documents are no comparison. So all are measured on what any of them holds out and none of them
trains on. Where arms hold out the same, that is what they are measured on, and nothing is made.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from volano.core.artifact import Artifact
from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.errors import DataError
from volano.core.files import json_digest
from volano.core.mixture import TRAIN
from volano.core.records import Document, table_of
from volano.core.step import Context, Inputs, Step
from volano.core.store import Order, Store
from volano.evaluate.held_out import select_held_out
from volano.evaluate.section import HeldOutSection

COMMON, HELD_OUT, COLLECTED, CONVERSATIONS = (
    "common_held_out",
    "held_out",
    "collected",
    "conversations",
)
Data = Mapping[str, Mapping[str, Artifact]]  # of each arm, by stage


def run_common(section: HeldOutSection, inputs: Inputs, context: Context) -> None:
    """Write the documents that some corpus holds out and none trains on, each text once. Raises
    DataError where there are none."""
    corpora = [each.corpus() for _, each in sorted(inputs.items())]
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
    if not found:
        raise DataError(
            "what one arm holds out another trains on, so there is nothing to measure all arms on",
            "collect",
            "Set ablate.reference to a text that none of them collects.",
        )
    write_shard(shard_path(context.folder, "data", 0), table_of(found, Document))
    finish_corpus(context.folder, "document")
    context.bill["documents"] = len(found)


STEP = Step(
    name="common_held_out", kind="corpus", version=1, section=HeldOutSection, run=run_common
)


def with_common(
    data: Data,
    store: Store,
    name: str,
    tasks: Sequence[str],
    *,
    silent: bool,
    told: Callable[[str], None],
) -> Data:
    """The data of each arm, with what all are measured on where they hold out different documents.

    `tasks` are those of the evaluation. Raises DataError where no document, or not the same
    conversations, can be had for all.
    """
    asked = CONVERSATIONS in tasks  # else they are trained on, and not measured on
    conversations = [
        each[CONVERSATIONS] for each in data.values() if asked and CONVERSATIONS in each
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
    told(f"Arms hold out different documents; all are measured on the {records:,} that none reads.")
    return {arm: {**each, COMMON: common} for arm, each in data.items()}


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
    return store.order(STEP, HeldOutSection(), inputs, name=f"{name}/{COMMON}")


def _held_out_conversations(conversations: Artifact) -> str:
    held_out = (each for each in conversations.corpus().records() if not _trains(each))
    return json_digest(sorted(json_digest(str(each.messages)) for each in held_out))


def _trains(record: object) -> bool:
    return getattr(record, "split", TRAIN) == TRAIN
