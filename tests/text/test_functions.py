import pytest
from hypothesis import given
from hypothesis import strategies as st

from volano.core.errors import DataError
from volano.core.records import Document
from volano.text.functions import (
    QUESTIONS,
    function_documents,
    nameless_question,
    normalised,
    question_about,
    read_function,
    sentences,
)

DUMPS = Document(
    id="stdlib:json.dumps",
    text="json.dumps(obj)\n\nSerialize ``obj`` to\na JSON string.\n\nMore.",
    source="python_installation",
    kind="function",
    metadata='{"qualified_name": "json.dumps", "module": "json", "signature": "(obj)",'
    ' "summary": "Serialize ``obj`` to\\na JSON string."}',
)


def test_function_is_read_from_its_document():
    function = read_function(DUMPS)
    assert function.qualified_name == "json.dumps"
    assert function.summary == "Serialize ``obj`` to a JSON string."
    assert function.documentation == "Serialize ``obj`` to\na JSON string.\n\nMore."


def test_only_functions_of_the_split_are_read():
    documents = [
        DUMPS,
        Document(id="t", text="", source="s", kind="topic"),
        Document(**{**DUMPS.to_row(), "id": "held", "split": "test"}),
    ]
    assert [f.id for _, f in function_documents(documents, "train")] == ["stdlib:json.dumps"]
    assert [f.id for _, f in function_documents(documents, "test")] == ["held"]


def test_document_without_a_summary_is_refused_by_name():
    with pytest.raises(DataError, match=r"^x: metadata lack 'qualified_name'\."):
        read_function(Document(id="x", text="", source="s", kind="function"))


def test_question_names_the_function_and_never_changes():
    function = read_function(DUMPS)
    assert question_about(function) == "Describe `json.dumps` in one sentence."


def test_ids_spread_over_all_phrasings():
    asked = {
        question_about(read_function(Document(**{**DUMPS.to_row(), "id": str(n)})))
        for n in range(100)
    }
    assert len(asked) == len(QUESTIONS)


def test_nameless_question_names_no_function():
    assert nameless_question() == "What does this function do?"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("One sentence", ["One sentence"]),
        ("Return it. Raises KeyError.", ["Return it.", "Raises KeyError."]),
        (
            "Uses a heap, e.g. Dijkstra's. Then ends.",
            ["Uses a heap, e.g. Dijkstra's.", "Then ends."],
        ),
        ("See os.path.join for more", ["See os.path.join for more"]),
    ],
)
def test_sentences_by_hand(text, expected):
    assert sentences(text) == expected


@given(st.text(alphabet="aB .!?`(e.g)", max_size=60))
def test_sentences_lose_nothing_but_white_space(text):
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


def test_normalised_texts_differ_only_by_their_words():
    assert normalised("Return `x`, please.") == normalised("return X please")
