import json

import pytest

from volano.core.jsonlines import BadLine
from volano.core.records import Document, Message
from volano.finetune.conversations import ask_about_functions, conversation_of
from volano.finetune.section import ConversationsSection

SETTINGS = ConversationsSection()


def function(name, summary, **fields):
    metadata = json.dumps({"qualified_name": name, "summary": summary})
    fields = {"source": "s", "licence": "MIT", "kind": "function", "metadata": metadata} | fields
    return Document(id=f"p:{name}", text=f"{name}()\n\n{summary}", **fields)


def test_each_training_function_is_asked_about_and_answered_by_its_first_sentence():
    [conversation], left_out = ask_about_functions(
        [function("json.dumps", "Serialize an object to JSON")], SETTINGS
    )
    user, assistant = conversation.messages
    assert user.role == "user"
    assert "`json.dumps`" in user.content
    assert assistant == Message("assistant", "Serialize an object to JSON.")
    assert conversation.source_ids == ("p:json.dumps",)
    assert conversation.licence == "MIT"
    assert not left_out


def test_held_out_functions_and_other_kinds_are_never_asked_about():
    documents = [
        function("a", "Return the first one.", split="test"),
        function("b", "Return the second one.", split="pool"),
        Document(id="t", text="A topic of Python.", source="s", kind="topic"),
    ]
    assert ask_about_functions(documents, SETTINGS)[0] == []


def test_functions_left_out_are_counted_by_reason():
    conversations, left_out = ask_about_functions(
        [
            function("a", "Deprecated."),
            function("b", "word " * 41),
            function("c", "Return the `name` of it."),
            function("d", "Return the name of it"),
        ],
        SETTINGS,
    )
    assert [c.id for c in conversations] == ["ask:p:c"]
    assert left_out == {"too_short": 1, "too_long": 1, "answer_repeated": 1}


def test_users_line_becomes_a_conversation():
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    conversation = conversation_of({"messages": turns, "licence": "CC0"}, "mine.jsonl:3")
    assert (conversation.id, conversation.source) == ("mine.jsonl:3", "mine.jsonl")
    assert conversation.messages[1].content == "Ho"
    assert conversation.licence == "CC0"


def test_users_line_that_ends_with_a_question_is_refused():
    with pytest.raises(BadLine, match="nothing to learn"):
        conversation_of({"messages": [{"role": "user", "content": "Hi"}]}, "mine.jsonl:3")
