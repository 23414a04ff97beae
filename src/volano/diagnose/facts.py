"""Which document a question is about, and whether a checkpoint has trained on it.

A question names its document by a field of it: the qualified name, or the sentence that describes
it. Fields are looked up word for word, so a hit is evidence and not a guess; a question in other
words has no document here.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from volano.core.records import Document
from volano.text.functions import answer_about, read_function

WORD = re.compile(r"\w+")
DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*")
OPENING_WORDS = 3


class Mention(NamedTuple):
    """A field of some document that stands in a text, from character `begin` to `end`."""

    field: str
    begin: int
    end: int


def fields_of(document: Document) -> dict[str, str]:
    """The parts of a document that a question or an answer may be made of."""
    if document.kind != "function":
        return {}
    function = read_function(document)
    return {
        "name": function.qualified_name,
        "answer": answer_about(function),
        "module": function.module,
    }


class FieldIndex:
    """All fields of all documents, found in any text: names whole, sentences by their opening."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self.fields: dict[str, dict[str, str]] = {}
        self._by_value: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._sentences: dict[str, list[str]] = defaultdict(list)  # opening → one of each
        for document in documents:
            fields = fields_of(document)
            if not fields:
                continue
            self.fields[document.id] = fields
            answer = fields["answer"]
            if not self.documents_with("answer", answer):
                self._sentences[_opening(answer)].append(answer)
            for field in ("name", "answer"):
                self._by_value[field, _known_as(fields[field])].append(document.id)

    def mentions(self, text: str) -> list[Mention]:
        """Where a name or a sentence of a document stands; of two that overlap, the longer."""
        found = []
        for match in DOTTED_NAME.finditer(text):
            if self.documents_with("name", match[0]):
                found.append(Mention("name", *match.span()))
        for match in WORD.finditer(text):
            begin = match.start()
            for sentence in self._sentences.get(_opening(text[begin:]), ()):
                if _known_as(text[begin : begin + len(sentence)]) == _known_as(sentence):
                    end = min(begin + len(sentence), len(text))
                    found.append(Mention("answer", begin, end))
        found.sort(key=lambda each: (each.begin - each.end, each.begin))
        kept: list[Mention] = []
        for each in found:
            if all(each.end <= other.begin or each.begin >= other.end for other in kept):
                kept.append(each)
        return sorted(kept, key=lambda each: each.begin)

    def documents_with(self, field: str, value: str) -> list[str]:
        """Every document whose field has that value, whatever case and full stop."""
        return self._by_value.get((field, _known_as(value)), [])


def about(index: FieldIndex, prompt: str, wanted: str | None) -> list[str]:
    """The documents that a question is about: those that it names, narrowed down by the answer."""
    named = _mentioned(index, prompt)
    answered = set(_mentioned(index, wanted or ""))
    return [name for name in named if name in answered] or named


def _mentioned(index: FieldIndex, text: str) -> list[str]:
    found: dict[str, None] = {}
    for each in index.mentions(text):
        found.update(dict.fromkeys(index.documents_with(each.field, text[each.begin : each.end])))
    return list(found)


def _known_as(text: str) -> str:
    return " ".join(text.lower().rstrip(".!?").split())


def _opening(text: str) -> str:
    # One word alone ("Return …") opens thousands of sentences.
    words = WORD.finditer(text)
    return " ".join(each[0].lower() for each, _ in zip(words, range(OPENING_WORDS), strict=False))
