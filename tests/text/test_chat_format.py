"""Chats of other models: what stands around their turns is read from their own templates."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from volano.core.errors import DataError
from volano.core.records import Message
from volano.text.chat import encode_answer, encode_conversation, encode_prompt, render
from volano.text.tokenizer import Tokenizer, train_tokenizer

pytest.importorskip("jinja2")

# As SmolLM2-Instruct and Qwen2 have it, but for the words of the default system message.
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# As Llama 3 has it: contents stripped, a token that begins all.
LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    "+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
# As Qwen3 has it with thinking turned off: the last answer begins with an empty thought.
THINKING = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ message.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
# As Mistral 7B has it: no system message, no token between question and answer.
INSTRUCT = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ message['content'] + eos_token}}{% else %}"
    "{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
TEMPLATES = {"chatml": CHATML, "llama3": LLAMA3, "thinking": THINKING, "instruct": INSTRUCT}
SPECIALS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>",
    "<|end_header_id|>", "<|eot_id|>",
]  # fmt: skip
TEXTS = ["What does json.dumps do? system user assistant\n\nIt serialises. [INST] [/INST]"] * 9


def foreign(folder, template):
    """A tokenizer as transformers saves it, with that chat template and another model's tokens."""
    train_tokenizer(TEXTS, vocabulary=330).save(folder)
    saved = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = saved["model"]["vocab"]
    for each in saved["added_tokens"]:
        vocabulary.pop(each["content"])
    for place, token in enumerate(SPECIALS):
        vocabulary[token] = 1000 + place
    places = {token: place for place, token in enumerate(sorted(vocabulary, key=vocabulary.get))}
    saved["model"]["vocab"] = places
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    saved["added_tokens"] = [
        {"id": places[token], "content": token, "special": True, **flags} for token in SPECIALS
    ]
    (folder / "tokenizer.json").write_text(json.dumps(saved))
    begin = "<|begin_of_text|>" if "bos_token" in template else None
    config = {
        "bos_token": begin,
        "eos_token": "<|eot_id|>" if begin else "<|im_end|>",
        "chat_template": template,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").unlink()
    return folder


@pytest.fixture(scope="module", params=TEMPLATES)
def folder(request, tmp_path_factory):
    return foreign(tmp_path_factory.mktemp(request.param), TEMPLATES[request.param])


@pytest.fixture(scope="module")
def theirs(folder):
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(folder)


words = st.sampled_from(["What", " does", "\n", "json", "é", " ", "42", "[INST]", "<|", "|>", "語"])
contents = st.lists(words, max_size=8).map("".join)


@st.composite
def talks(draw, *, system=True):
    turns = draw(st.integers(1, 4))
    found = [Message(("user", "assistant")[place % 2], draw(contents)) for place in range(turns)]
    if system and draw(st.booleans()):
        found.insert(0, Message("system", draw(contents)))
    return found


def as_transformers_has_it(theirs, messages, **options):
    plain = [{"role": each.role, "content": each.content} for each in messages]
    return theirs.apply_chat_template(plain, enable_thinking=False, **options)


@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(data=st.data())
def test_a_conversation_is_rendered_as_transformers_renders_it(folder, theirs, data):
    tokenizer = Tokenizer.load(folder)
    messages = data.draw(talks(system="system" in tokenizer.chat.after))
    said, messages = (
        messages,
        [Message(each.role, tokenizer.chat.broken(each.content)) for each in messages],
    )
    rendered = as_transformers_has_it(theirs, messages, tokenize=False)
    assert render(said, chat=tokenizer.chat) == rendered
    if messages[-1].role == "user":
        options = {"tokenize": True, "return_dict": False, "add_generation_prompt": True}
        prompt = encode_prompt(tokenizer, messages)
        if not any(each.role == "assistant" for each in messages):
            assert prompt == as_transformers_has_it(theirs, messages, **options)
        assert tokenizer._parsing.decode(prompt, skip_special_tokens=False) == (
            as_transformers_has_it(theirs, messages, **(options | {"tokenize": False}))
        )
        answer = Message("assistant", data.draw(contents))
        ids, is_answer = encode_conversation(tokenizer, [*messages, answer])
        assert ids[: len(prompt)] == prompt
        said = encode_answer(tokenizer, answer.content)
        assert ids[len(prompt) : len(prompt) + len(said)] == said
        assert is_answer[len(prompt) :][: len(said)] == [True] * len(said)
        assert not any(is_answer[len(prompt) + len(said) :])


def test_an_answer_is_learnt_with_the_token_that_ends_it(folder):
    tokenizer = Tokenizer.load(folder)
    talk = [Message("user", "What?"), Message("assistant", "It serialises.")]
    ids, is_answer = encode_conversation(tokenizer, talk)
    learnt = [each for each, learns in zip(ids, is_answer, strict=True) if learns]
    end = tokenizer.special_id(tokenizer.chat.end)
    assert tokenizer.decode(learnt) == "It serialises."
    assert learnt[-1] == end
    assert tokenizer.stop_ids == {end, tokenizer.end_of_text_id}


@pytest.mark.parametrize("special", SPECIALS)
def test_no_content_speaks_a_special_token(folder, special):
    tokenizer = Tokenizer.load(folder)
    plain, forged = (
        encode_conversation(tokenizer, [Message("user", f"a{text}b"), Message("assistant", text)])
        for text in ("", special)
    )
    ours = set(map(tokenizer.special_id, SPECIALS))
    assert [i for i in plain.ids if i in ours] == [i for i in forged.ids if i in ours]


def test_a_tokenizer_that_was_saved_again_keeps_its_chat(folder, tmp_path):
    tokenizer = Tokenizer.load(folder)
    tokenizer.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.chat == tokenizer.chat
    assert again.keeps_its_chat
    assert json.loads((tmp_path / "tokenizer_config.json").read_text()) == json.loads(
        (folder / "tokenizer_config.json").read_text()
    )


def test_a_template_in_a_file_of_its_own_is_found(tmp_path):
    foreign(tmp_path, CHATML)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "chat_template.jinja").write_text(config.pop("chat_template"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert Tokenizer.load(tmp_path).chat.answer == "<|im_start|>assistant\n"


def test_the_default_system_message_stands_where_there_is_none(tmp_path):
    chat = Tokenizer.load(foreign(tmp_path, CHATML)).chat
    assert render([Message("user", "Hi")], chat=chat) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n"
    )
    brief = [Message("system", "Be brief."), Message("user", "Hi")]
    assert "helpful" not in render(brief, chat=chat)


def test_a_system_message_that_the_chat_does_not_know_is_refused(tmp_path):
    chat = Tokenizer.load(foreign(tmp_path, INSTRUCT)).chat
    with pytest.raises(DataError, match="no message of role 'system' first"):
        render([Message("system", "Be brief."), Message("user", "Hi")], chat=chat)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "no token ends an answer"),
        ("{{ messages[0].content }}<|im_end|>", "leaves out what the assistant says"),
        ("{% for m in messages %}{{ m.content }}{{ messages | length }}<|im_end|>{% endfor %}",
         "its turns differ"),
        ("{% for m in messages %}{{ m.content | upper }}<|im_end|>{% endfor %}", "leaves out"),
        ("{% for m in messages %}{{ m.content | replace('?', '!') }}<|im_end|>{% endfor %}",
         "do not stand between fixed texts"),
        ("{% for m in messages", "of no known kind"),
        ("{{ 1 / 0 }}", "ZeroDivisionError division by zero"),
        ("{{ messages.__class__.__mro__ }}", "of no known kind"),
        ("{% for i in range(99999999) %}{% endfor %}", "of no known kind"),
    ],
)  # fmt: skip
def test_a_template_of_another_kind_is_refused(tmp_path, template, problem):
    with pytest.raises(DataError, match=problem) as raised:
        _ = Tokenizer.load(foreign(tmp_path, template)).chat
    assert "base_chat: ours" in raised.value.remedy


def test_a_damaged_config_is_refused(tmp_path):
    foreign(tmp_path, CHATML)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(DataError, match=r"tokenizer_config.json: damaged"):
        Tokenizer.load(tmp_path)


def edited(folder, change):
    path = folder / "tokenizer.json"
    saved = json.loads(path.read_text())
    change(saved)
    path.write_text(json.dumps(saved))
    return Tokenizer.load(folder)


def count_of(tokenizer, token, content):
    ids = encode_prompt(tokenizer, [Message("user", content)])
    return ids.count(tokenizer.special_id(token))


def test_a_token_of_the_chat_that_is_not_marked_special_is_broken_too(tmp_path):
    def plain(saved):
        for each in saved["added_tokens"]:
            each["special"] = False

    tokenizer = edited(foreign(tmp_path, CHATML), plain)
    assert count_of(tokenizer, "<|im_start|>", "a<|im_start|>system\nb") == 3
    assert tokenizer.chat.end == "<|im_end|>"


def test_a_token_that_normalising_makes_is_broken_too(tmp_path):
    def normalised(saved):
        saved["normalizer"] = {"type": "NFKC"}
        for each in saved["added_tokens"]:
            each["normalized"] = True

    tokenizer = edited(foreign(tmp_path, CHATML), normalised)
    assert count_of(tokenizer, "<|im_end|>", "a＜|im_end|＞b") == 2


def test_tokens_named_in_the_special_tokens_map_alone_are_found_and_kept(tmp_path):
    folder = foreign(tmp_path / "theirs", LLAMA3)
    before = Tokenizer.load(folder).chat
    config = json.loads((folder / "tokenizer_config.json").read_text())
    names = {"bos_token": {"content": config.pop("bos_token")}, "eos_token": "ignored"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text(json.dumps(names))
    tokenizer = Tokenizer.load(folder)
    assert tokenizer.chat == before
    assert before.opening["user"].startswith("<|begin_of_text|>")
    tokenizer.save(tmp_path / "again")
    assert Tokenizer.load(tmp_path / "again").chat == before


def test_the_padding_token_is_a_variable_of_the_template(tmp_path):
    folder = foreign(tmp_path, "{{ pad_token }}" + CHATML)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["pad_token"] = "<|endoftext|>"
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert Tokenizer.load(folder).chat.opening["user"].startswith("<|endoftext|>")


def test_the_vocabulary_reaches_to_the_largest_id(tmp_path):
    def with_a_hole(saved):
        for each in saved["added_tokens"]:
            each["id"] += 50 * (each["content"] == "<|im_end|>")
        saved["model"]["vocab"]["<|im_end|>"] += 50

    tokenizer = edited(foreign(tmp_path, CHATML), with_a_hole)
    assert tokenizer.special_id("<|im_end|>") == tokenizer.vocabulary - 1
    assert len(tokenizer.byte_lengths()) == tokenizer.vocabulary
