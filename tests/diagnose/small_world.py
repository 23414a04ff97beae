"""Documented functions, and questions about them, few enough to count by hand."""

import json

from volano.core.records import Document, Message, Rating

VERBS = ["Return", "Compute", "Open", "Close", "Read", "Write", "Parse", "Sort"]
SYLLABLES = ["ba", "co", "di", "fe", "gu", "ha", "jo", "ki", "le", "mu"]


def word(place, number):
    """A word that no other document has; sentences that share their words are near-duplicates."""
    digits = f"{place:03d}{number}"
    return "".join(SYLLABLES[int(digit)] for digit in digits)


def sentence(place):
    return f"{VERBS[place % 8]} the {' '.join(word(place, n) for n in range(5))}."


def document(place, split="train"):
    name = f"pack{place % 3}.mod{place % 5}.func_{place}"
    summary = sentence(place)
    return Document(
        id=f"pack:{name}",
        text=f"{name}(x)\n\n{summary} And much more about it.",
        source="pack 1.0",
        kind="function",
        split=split,
        licence="MIT",
        metadata=json.dumps(
            {"qualified_name": name, "module": name.rpartition(".")[0], "summary": summary}
        ),
    )


def documents(count=120):
    return [document(place) for place in range(count)]


def rating(place, prompt, answer, *, kind="rating", **values):
    metadata = {"kind": kind, "ended": True} | values.pop("metadata", {})
    return Rating(
        id=f"e{place}-{kind}",
        request_id=f"r{place}",
        checkpoint="checkpoint/toy/aligned-1",
        messages=(Message("user", prompt), Message("assistant", answer)),
        source="scripted",
        kind=kind,
        consent="training",
        licence="user feedback",
        source_ids=(f"feedback:e{place}-{kind}",),
        metadata=json.dumps(metadata),
        **values,
    )
