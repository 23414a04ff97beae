"""What the arms of an ablation were trained on, in words: how much of it, how often, and which
domains cannot be told apart. A difference means little to a reader who does not know these.
"""

from collections.abc import Mapping
from typing import Any

from volano.evaluate.section import OF_ONE_DOCUMENT
from volano.study.ablation_found import FoundAblation
from volano.study.words import count_of, joined

NEARLY_ALL = 0.95  # of its text: what lies above is as good as once
LITTLE = 10  # times fewer documents than the first arm has


def read_by(found: FoundAblation, arm: str) -> str:
    """What its models were trained on, for the end of a line; "" where that is not known."""
    trials = [each for each in found.of(arm) if each.tokens_read]
    if not trials:
        return ""
    tokens = sorted({each.tokens_read for each in trials})
    several = len(tokens) > 1
    read = f"{tokens[0]:,} to {tokens[-1]:,}" if several else f"{tokens[0]:,}"
    most = max(trials, key=lambda each: each.epochs)
    times = most.epochs
    documents = documents_of(found, arm)
    text = f"text of {count_of(documents, 'document')}" if documents else "text"
    if most.mixes and len(most.epochs_by_kind) > 1:
        often = f" of its {text}: {', '.join(_by_kind(most.epochs_by_kind))}"
    elif times > 1:
        often = f": its {text} {times:.1f} times"
    else:
        often = f": {times:.2g} of its {text}"
    if several:
        often += " at most"
    return f" (read {read} tokens{often if times else ''})"


def _by_kind(epochs: Mapping[str, float]) -> list[str]:
    """How often each kind was read."""
    return [f"{kind} {times:.2g} times" for kind, times in sorted(epochs.items())]


def documents_of(found: FoundAblation, arm: str) -> int:
    """That the arm was trained from; 0 where they are not in the store."""
    corpora = [each.corpus for each in found.of(arm)]
    return next((len(each.corpus()) for each in corpora if each and each.damage() is None), 0)


def reread(found: FoundAblation) -> str:
    """How often arms read their text, or how much of it."""
    most = {arm: max((each.epochs for each in found.of(arm)), default=0.0) for arm in found.arms}
    often = []
    for arm, times in most.items():
        trial = max(found.of(arm), key=lambda each: each.epochs, default=None)
        if trial is not None and trial.mixes and len(trial.epochs_by_kind) > 1 and times > 1:
            often.append(f"`{arm}` read {joined(_by_kind(trial.epochs_by_kind))}")
        elif times > 1:
            often.append(f"`{arm}` read its text {times:.1f} times")
    if not often and 0 < max(most.values()) < NEARLY_ALL:
        return (
            f"No arm read all of its text ({max(most.values()):.2g} of it at most): what occurs "
            "often there was met less often."
        )
    return f"{joined(often)}." if often else ""


def little_left(found: FoundAblation) -> str:
    """Where an arm has next to no text beside the first: it is the first thing to know of it."""
    counts = {arm: documents_of(found, arm) for arm in found.arms}
    first = counts[found.arms[0]]
    little = [
        f"`{arm}` was left {n:,}" for arm, n in counts.items() if n and n * LITTLE < max(first, 1)
    ]
    return f"Of the {first:,} documents of `{found.arms[0]}` {joined(little)}." if little else ""


def of_one_document(extra: Mapping[str, Any]) -> str:
    """Why a domain has no row."""
    count = extra.get(OF_ONE_DOCUMENT, 0)
    if not count:
        return ""
    return (
        f"{count_of(count, 'domain')} of one held-out document {'have' if count > 1 else 'has'} no "
        "row: say what a document is in its field `kind`, or hold out more."
    )
