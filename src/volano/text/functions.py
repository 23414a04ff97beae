"""A function's documentation as question and answer, read from the documents that `collect` writes.

Fine-tuning, alignment and evaluation must ask about a function in the same words and take the
same sentence for the answer, or a model would be trained on one task and judged on another.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from volano.core.errors import DataError
from volano.core.records import Document

# How people ask. One phrasing would teach a model to answer that phrasing only.
QUESTIONS = (
    "What does `{name}` do?",
    "What is `{name}` for?",
    "Describe `{name}` in one sentence.",
    "What is the purpose of `{name}`?",
    "Explain `{name}` briefly.",
    "In short, what does `{name}` do?",
)
# Asked of no function in particular: what the answer's unconditional likelihood is taken under.
NAMELESS = "this function"
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"'(\[])")
# "e.g. X" ends no sentence; lookbehind cannot hold alternatives of several lengths.
ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|resp|approx|No|Fig|Eq)|\b[A-Z])\.$")


def place_in_draw(identity: str) -> bytes:
    """Where a record comes in any draw: SHA-256 of its id, 32 bytes that sort like a shuffle.

    A corpus is sorted by package: its first n are no sample of it, the first n of this order are.
    """
    return hashlib.sha256(identity.encode()).digest()


@dataclass(frozen=True)
class FunctionDocument:
    """What a document of kind "function" says: the function, its module, its documentation."""

    id: str
    qualified_name: str
    module: str
    signature: str  # "(obj, *, indent=None)"; "" if unknown
    summary: str  # the first sentence of the documentation
    documentation: str  # all of it, below the signature


def function_documents(
    documents: Iterable[Document], split: str
) -> list[tuple[Document, FunctionDocument]]:
    """The documents of kind "function" in that split, in order, each beside what it says.

    Raises DataError as `read_function` does.
    """
    return [
        (document, read_function(document))
        for document in documents
        if document.kind == "function" and document.split == split
    ]


def read_function(document: Document) -> FunctionDocument:
    """The function of one document. Raises DataError where its metadata name none."""
    metadata = json.loads(document.metadata)
    try:
        name, summary = str(metadata["qualified_name"]), str(metadata["summary"])
    except KeyError as missing:
        remedy = "Collect it again, or give the function documents' metadata that key."
        raise DataError(f"metadata lack {missing}", document.id, remedy) from None
    _, _, documentation = document.text.partition("\n\n")
    return FunctionDocument(
        document.id,
        name,
        str(metadata.get("module", name.rpartition(".")[0])),
        str(metadata.get("signature", "")),
        " ".join(summary.split()),
        documentation.strip(),
    )


def question_about(function: FunctionDocument) -> str:
    """The question whose answer is the summary; the id picks one of `QUESTIONS` for good."""
    place = int.from_bytes(place_in_draw(function.id)[:4])
    return QUESTIONS[place % len(QUESTIONS)].format(name=function.qualified_name)


def answer_about(function: FunctionDocument) -> str:
    """The summary, closed by a full stop where it has no end of its own."""
    return function.summary if function.summary[-1:] in ".!?" else function.summary + "."


def plain_question(name: str) -> str:
    """The one phrasing in which evaluation asks, so that items differ in the function alone."""
    return QUESTIONS[0].format(name=name)


def nameless_question() -> str:
    """The same question about no function in particular."""
    return QUESTIONS[0].format(name=NAMELESS).replace("`", "")


def first_paragraph(documentation: str) -> str:
    """The text up to the first blank line, on one line."""
    return " ".join(re.split(r"\n\s*\n", documentation.strip(), maxsplit=1)[0].split())


def sentences(text: str) -> list[str]:
    """The sentences of a text on one line, with their punctuation; nothing gives none."""
    found: list[str] = []
    for part in SENTENCE_END.split(" ".join(text.split())):
        if found and ABBREVIATION.search(found[-1]):
            found[-1] += " " + part
        elif part:
            found.append(part)
    return found


def normalised(text: str) -> str:
    """Lower-case words and digits alone: two texts that differ in punctuation are one text."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))
