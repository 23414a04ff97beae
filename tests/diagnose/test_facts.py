from small_world import document, documents, sentence

from volano.diagnose.facts import FieldIndex, Mention, about

INDEX = FieldIndex(documents())


def test_a_name_and_a_sentence_are_found_where_they_stand():
    text = f"Is it `pack0.mod0.func_0`, or: {sentence(1)} Well?"
    begin, end = text.index(sentence(1)), text.index(" Well")
    assert INDEX.mentions(text) == [Mention("name", 7, 24), Mention("answer", begin, end)]
    assert text[7:24] == "pack0.mod0.func_0"


def test_part_of_a_longer_name_is_no_mention():
    assert INDEX.mentions("pack0.mod0.func_00 and pack0.mod0.func_0.x and xpack0.mod0.func_0") == []


def test_case_and_full_stop_do_not_matter():
    question = f"which one does: {sentence(1).lower().rstrip('.')}"
    assert about(INDEX, question, None) == ["pack:pack1.mod1.func_1"]


def test_the_answer_tells_documents_with_the_same_sentence_apart():
    twin = document(1)
    twin = type(twin)(
        **{
            **twin.__dict__,
            "id": "pack:twin",
            "metadata": twin.metadata.replace("pack1.mod1.func_1", "pack1.twin"),
        }
    )
    index = FieldIndex([*documents(), twin])
    question = f"Which: {sentence(1)}"
    assert len(about(index, question, None)) == 2
    assert about(index, question, "pack1.twin") == ["pack:twin"]


def test_a_question_in_other_words_has_no_document():
    assert about(INDEX, "How do I get the modulus?", "abs") == []
