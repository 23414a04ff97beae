"""With how many threads the trials that are there were trained: those still to come get the same.

Sums of other thread counts differ in their last bits, training makes more of that, and arms would
differ by it. So what chose the threads of the first trial chooses for all that it is compared with,
also when the rest is trained in another call.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from volano.core.store import Store
from volano.study.trial import Found


def threads_there(found: Sequence[Found], store: Store) -> Counter[int]:
    """Threads → trials that were trained with so many, or begun; several processes for one model
    are left out, as they share threads in their own way."""
    counted: Counter[int] = Counter()
    for each in found:
        made = [one.bill() for one in each.present.values() if one.kind == "checkpoint"]
        made = [bill for bill in made if "threads" in bill] or _begun(each, store)
        if made and made[-1].get("processes", 1) == 1:
            counted[made[-1]["threads"]] += 1
    return counted


def _begun(found: Found, store: Store) -> list[dict[str, Any]]:
    """The last state of a base model whose training was stopped."""
    if found.base is None:
        return []
    from volano.train.checkpoint import kept_states

    states = kept_states(store.building(found.base) / "scratch")
    last = list(states.values())[-1:]
    return [each for each in last if each.get("threads")]


def usual(counted: Counter[int]) -> int:
    """The threads that most of them had; 0 where there are none."""
    return counted.most_common(1)[0][0] if counted else 0


def said_of(counted: Counter[int]) -> str:
    """What somebody has to know of models that were trained with several numbers of threads."""
    if len(counted) < 2:
        return ""
    several = ", ".join(
        f"{count} of them with {threads}" for threads, count in counted.most_common()
    )
    return (
        f"Trials that are there were not all trained with as many threads ({several}): they differ "
        "by that too."
    )
