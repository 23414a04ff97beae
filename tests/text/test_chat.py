import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from volano.core.errors import DataError
from volano.core.records import Message
from volano.text.chat import (
    CHAT_TEMPLATE,
    END,
    SPECIAL_TOKENS,
    encode_conversation,
    encode_prompt,
    render,
)
from volano.text.tokenizer import train_tokenizer

# Fragments of special tokens make it likely that joining or breaking them forms a whole one.
fragments = st.sampled_from([*SPECIAL_TOKENS, "<|", "|>", "<", "end", "user", " ", "\n", "é", "x"])
contents = st.lists(fragments, max_size=8).map("".join) | st.text(max_size=20)
roles = st.sampled_from(["system", "user", "assistant"])
conversations = st.lists(st.builds(Message, roles, contents), max_size=4)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["What does json.dumps do? <|end|> It serialises."] * 9, vocabulary=300)


@pytest.fixture(scope="module")
def theirs(tokenizer, tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)


def test_conversation_renders_as_documented():
    messages = [Message("user", "What is 2 + 2?"), Message("assistant", "4")]
    assert render(messages) == "<|user|>What is 2 + 2?<|end|><|assistant|>4<|end|>"
    assert render(messages[:1], add_generation_prompt=True).endswith("<|end|><|assistant|>")


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(messages=conversations)
def test_apply_chat_template_of_the_saved_tokenizer_gives_the_same_ids(tokenizer, theirs, messages):
    plain = [{"role": each.role, "content": each.content} for each in messages]
    if not plain:
        return  # transformers refuses an empty conversation
    whole = theirs.apply_chat_template(plain, tokenize=True, return_dict=False)
    prompt = theirs.apply_chat_template(
        plain, tokenize=True, return_dict=False, add_generation_prompt=True
    )
    assert encode_conversation(tokenizer, messages).ids == whole
    assert encode_prompt(tokenizer, messages) == prompt
    assert theirs.apply_chat_template(plain, tokenize=False) == render(messages)


@given(messages=conversations)
def test_no_content_can_inject_a_special_token(tokenizer, messages):
    ids = encode_conversation(tokenizer, messages).ids
    special = [each for each in ids if each < len(SPECIAL_TOKENS)]
    assert len(special) == 2 * len(messages)


@given(messages=conversations, answer=contents)
def test_prompt_is_the_beginning_of_the_conversation(tokenizer, messages, answer):
    prompt = encode_prompt(tokenizer, messages)
    whole = encode_conversation(tokenizer, [*messages, Message("assistant", answer)]).ids
    assert whole[: len(prompt)] == prompt


def test_only_the_assistants_words_and_its_end_are_learnt(tokenizer):
    encoded = encode_conversation(
        tokenizer, [Message("user", "What?"), Message("assistant", "It serialises.")]
    )
    learnt = [i for i, is_answer in zip(encoded.ids, encoded.is_answer, strict=True) if is_answer]
    assert learnt == [*tokenizer.encode("It serialises."), tokenizer.special_id(END)]


def test_of_a_corrected_conversation_the_last_answer_alone_is_learnt(tokenizer):
    turns = [Message(role, text) for text in ("One.", "Two.") for role in ("user", "assistant")]
    ids, answers = encode_conversation(tokenizer, turns, last_answer_only=True)
    learnt = [place for place, is_answer in enumerate(answers) if is_answer]
    last = len(tokenizer.encode("Two.")) + 1
    assert learnt == list(range(len(ids) - last, len(ids)))
    assert sum(encode_conversation(tokenizer, turns).is_answer) > last


def test_other_content_passes_unchanged():
    content = "a <| b |> <|other|> {{ message }} {% raw %}\n  "
    assert render([Message("user", content)]) == f"<|user|>{content}<|end|>"


def test_unknown_role_is_refused_here_and_by_the_template(theirs):
    with pytest.raises(DataError, match="unknown role 'tool'"):
        render([Message("tool", "x")])
    with pytest.raises(Exception, match="unknown role tool"):
        theirs.apply_chat_template([{"role": "tool", "content": "x"}], tokenize=False)


def test_template_names_every_special_token():
    assert all(special in CHAT_TEMPLATE for special in SPECIAL_TOKENS)
