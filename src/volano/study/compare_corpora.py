"""What two models may be compared on: held-out corpora that lie behind them, or that are named.

An item that one of two models was trained on compares nothing. What both were kept from is known
from lineage; where only one of them has such a corpus behind it, that one is taken and said.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from volano.collect.section import SafetySection
from volano.collect.step import SAFETY
from volano.core.artifact import Artifact
from volano.core.errors import StoreError
from volano.core.records import Conversation
from volano.core.store import Store
from volano.evaluate.step import HELD_OUT_FUNCTIONS
from volano.finetune.step import CONVERSATIONS, MIXTURE
from volano.pretrain.step import IMPORT
from volano.study.common_held_out import COMMON

Need = Literal["held_out_functions", "safety", "conversations"]  # inputs of the evaluation
STEPS: dict[Need, tuple[str, ...]] = {
    "held_out_functions": (HELD_OUT_FUNCTIONS.name,),
    "safety": (SAFETY.name,),
    "conversations": (CONVERSATIONS.name, MIXTURE.name),
}
CALLED: dict[Need, str] = {
    "held_out_functions": "held-out documents",
    "safety": "safety requests",
    "conversations": "conversations",
}
SIDES = ("the first", "the second")
SAFETY_KINDS = {"safe", "unsafe"}
FUNCTION = "function"
Ancestors = Mapping[str, Artifact]  # digest → artifact, the nearest first


class MeasuredOn(NamedTuple):
    """A corpus that both are measured on, and whose it is."""

    need: Need
    corpus: Artifact
    why: str


def ancestors_of(store: Store, *artifacts: Artifact) -> list[Ancestors]:
    """Each one and all that it was made of that is still there, the nearest first."""
    every = store.artifacts()
    # What was deleted may be there twice, of other settings: by what it was made from first.
    known = {each.digest: each for each in every} | {each.fingerprint: each for each in every}
    return [_ancestors(each, known) for each in artifacts]


def _ancestors(artifact: Artifact, known: Mapping[str, Artifact]) -> Ancestors:
    found: dict[str, Artifact] = {}
    waiting = [artifact]
    while waiting:
        each = waiting.pop(0)
        if each.digest not in found:
            found[each.digest] = each
            for parent in each.parents.values():
                nearest = known.get(parent["fingerprint"]) or known.get(parent["digest"])
                waiting += [] if nearest is None else [nearest]
    return found


def of_step(ancestors: Ancestors) -> Mapping[str, list[Artifact]]:
    """The ancestors by the step that made them, the nearest first."""
    found: dict[str, list[Artifact]] = defaultdict(list)
    for each in ancestors.values():
        found[each.meta["identity"]["step"]].append(each)
    return found


def named_corpora(corpora: Iterable[Artifact]) -> dict[Need, Artifact]:
    """Which corpus each named one stands in for, by its records.

    Raises StoreError for what is no corpus of documents or conversations, or where two stand in
    for the same.
    """
    found: dict[Need, Artifact] = {}
    for each in corpora:
        if each.kind != "corpus":
            what = f"this is a {each.kind}, not a corpus"
            raise StoreError(what, f"--on {each.name}", "Name a corpus.")
        manifest = each.corpus().manifest
        need: Need
        if manifest["record"] == "document":
            need = "held_out_functions"
        elif manifest["record"] == "conversation":
            need = "safety" if set(manifest["kinds"]) <= SAFETY_KINDS else "conversations"
        else:
            what = f"this holds {manifest['record']}s, which no task reads"
            remedy = "Name a corpus of documents or conversations."
            raise StoreError(what, f"--on {each.name}", remedy)
        if need in found:
            what = f"stands in for the same as {found[need].name} ({CALLED[need]})"
            raise StoreError(what, f"--on {each.name}", "Leave one of them out.")
        found[need] = each
    return found


def measured_on(
    need: Need, models: Sequence[Artifact], ancestors: Sequence[Ancestors], store: Store
) -> MeasuredOn:
    """What both were kept from, or the only corpus of its kind behind either.

    Safety requests that lie behind neither are those that come with Volano. Raises StoreError where
    there is nothing, or two different ones.
    """
    behind = [
        [each for step, made in of_step(found).items() if step in STEPS[need] for each in made]
        for found in ancestors
    ]
    digests = [{each.digest for each in found} for found in behind]
    both = [each for each in behind[0] if each.digest in digests[1]]
    if both:
        return MeasuredOn(need, both[0], "both were kept from it")
    for side, (whose, other) in enumerate((SIDES, SIDES[::-1])):
        if behind[side] and not behind[1 - side]:
            why = f"it lies behind {whose} alone"
            if IMPORT.name in of_step(ancestors[1 - side]):
                why += f", and what {other} had read before it was imported is not known"
            return MeasuredOn(need, behind[side][0], why)
    where = " and ".join(each.name for each in models)
    if behind[0]:
        what = f"the two were not kept from the same {CALLED[need]}"
        common = [f"{each.name.rpartition('/')[0]}/{COMMON}" for each in models]
        there = {each.name for each in store.artifacts()}
        known = next((name for name in common if name in there), None)
        such = f" {known} is what an ablation measured its arms on." if known else ""
        raise StoreError(what, where, f"Name a corpus that neither has read: --on CORPUS.{such}")
    if need == "safety":
        shipped = store.make(
            store.order(SAFETY, SafetySection(), {}, name="volano/safety"), silent=True
        )
        return MeasuredOn(need, shipped.artifact, "it comes with Volano, and lies behind neither")
    what = f"no {CALLED[need]} lie behind either"
    raise StoreError(what, where, "Name a corpus that neither has read: --on CORPUS.")


def asks_about_functions(conversations: Artifact) -> bool:
    """Whether the evaluation of these conversations asks about held-out functions too."""
    return FUNCTION in conversations.corpus().manifest["kinds"]


def questions_of(corpora: Iterable[Artifact], ids: set[str]) -> dict[str, str]:
    """What was asked in these conversations, by id; documents are told by their ids."""
    found: dict[str, str] = {}
    for each in corpora:
        corpus = each.corpus()
        if corpus.record is not Conversation:
            continue
        for conversation in corpus.records():
            if conversation.id in ids:
                asked = [turn.content for turn in conversation.messages if turn.role == "user"]
                found[conversation.id] = asked[-1] if asked else ""
    return found
