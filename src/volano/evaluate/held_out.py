"""The functions that no model may train on, chosen before anything is trained.

A test function is kept apart from training by its whole documentation. Its first sentence may
still stand word for word above some training function, and would then be an answer that was
learnt, as a truth or as a distractor. Such functions stay in the corpus, so that curation removes
their copies, but are marked; questions are asked about the others only.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from volano.core.records import Document
from volano.text.functions import FunctionDocument, answer_about, normalised, read_function

MARK = "answer_in_training"  # metadata key: the first sentence also documents a training function


def select_held_out(documents: Iterable[Document]) -> list[Document]:
    """The test documents in order; a function is marked whether a training one has its answer."""
    held_out: list[tuple[Document, str | None]] = []
    trained = set()
    for document in documents:
        answer = None
        if document.kind == "function":
            answer = normalised(answer_about(read_function(document)))
        if document.split == "test":
            held_out.append((document, answer))
        elif document.split == "train" and answer is not None:
            trained.add(answer)
    return [
        document if answer is None else _marked(document, answer in trained)
        for document, answer in held_out
    ]


def askable(documents: Iterable[Document]) -> list[FunctionDocument]:
    """The held-out functions that questions may be asked about: whose answer is nowhere else.

    Left out are those marked above, and all but the first of those that share an answer.
    """
    functions: list[FunctionDocument] = []
    seen: set[str] = set()
    for document in documents:
        if document.kind != "function":
            continue
        function = read_function(document)
        known_as = normalised(answer_about(function))
        if known_as not in seen and not json.loads(document.metadata).get(MARK, False):
            functions.append(function)
        seen.add(known_as)
    return functions


def texts_of(functions: Sequence[FunctionDocument]) -> list[str]:
    """Each function's answer, in order."""
    return [answer_about(function) for function in functions]


def _marked(document: Document, mark: bool) -> Document:
    metadata = json.loads(document.metadata) | {MARK: mark}
    return replace(document, metadata=json.dumps(metadata, sort_keys=True, ensure_ascii=False))
