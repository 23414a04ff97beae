"""Chat templates are programs of others: none gets out of the sandbox, runs on, or crashes us."""

import unicodedata

import pytest

from volano.core.errors import DataError
from volano.core.records import Message
from volano.text import chat_format
from volano.text.chat_format import learn_format
from volano.text.chat_template import renderer

pytest.importorskip("jinja2")

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIALS = ("<|im_start|>", "<|im_end|>")


def learnt(template, specials=SPECIALS):
    return learn_format(template, specials, {"bos_token": "", "eos_token": "<|im_end|>"})


# Each renders a perfect chat wherever it is let: what refuses it is the sandbox alone.
@pytest.mark.parametrize(
    "reach",
    [
        "''.__class__.__mro__",
        "().__class__.__base__.__subclasses__()",
        "cycler.__init__.__globals__",
        "''['__class__'].__name__",
        "('{0.__class__.__name__}').format('')",
        "messages.append(0) or messages.pop()",
    ],
)
def test_a_template_that_reaches_into_python_is_refused_by_the_sandbox(reach):
    harmless = f"{{% if {reach} %}}{{% endif %}}{CHATML}"
    with pytest.raises(DataError, match="SecurityError") as raised:
        learnt(harmless)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "template",
    ["{% break %}" + CHATML, "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}" + CHATML],
)
def test_a_template_that_does_not_compile_is_refused_in_one_line(template):
    with pytest.raises(DataError, match="of no known kind") as raised:
        learnt(template)
    assert "\n" not in str(raised.value)


def test_a_template_that_runs_on_is_stopped(monkeypatch):
    monkeypatch.setattr(chat_format, "LEARN_SECONDS", 3.0)
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(DataError, match="took longer than 3 seconds"):
        learnt(endless + CHATML)


@pytest.mark.parametrize(
    ("waste", "problem"),
    [("{{ 'x' * 2000000 }}", "2,000,.* characters"), ("{{ 'x' * 99999999999 }}", "MemoryError")],
)
def test_a_template_that_fills_the_memory_is_refused(waste, problem):
    with pytest.raises(DataError, match=problem):
        learnt(waste + CHATML)


def test_breaking_ends_with_any_special_token():
    odd = ("I", "  ", "\t", "a b", "| ", " <", "< |im_end|>", "aa", "a a")
    chat = learnt(CHATML, SPECIALS + odd)
    broken = chat.broken("I  am\t a bare | aaaa <|im_<|im_end|>end|> <")
    assert not any(each in broken for each in (*SPECIALS, "< |im_end|>", "aa", "a a", "a b"))


def test_a_token_of_one_character_that_a_role_needs_is_refused():
    with pytest.raises(DataError, match=r"any content can speak its token '¤'"):
        learnt(CHATML.replace("<|im_end|>", "<|im_end|>¤"), (*SPECIALS, "¤"))


def test_rendering_is_that_of_transformers():
    rendered = renderer(CHATML, {})([Message("user", "Hi")], add_generation_prompt=True)
    assert rendered == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def chatml_with(content):
    return CHATML.replace(
        "m['content']", f"({content} if m['role'] == 'assistant' else m['content'])"
    )


def said(chat, *texts):
    talk = [Message(("user", "assistant")[place % 2], text) for place, text in enumerate(texts)]
    return "".join("".join(turn) for turn in chat.turns(talk))


ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '</s>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
INSTRUCT = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ m['content'] + '</s>' }}{% endif %}{% endfor %}"
)
ALPACA = (
    "{% for m in messages %}{{ '### ' + m['role'] + ':\n' + m['content'] + '</s>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### assistant:\n' }}{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "mark"),
    [
        (ZEPHYR, "<|system|>"),
        (ZEPHYR, "<|assistant|>"),
        (INSTRUCT, "[INST]"),
        (INSTRUCT, "[/INST]"),
        (ALPACA, "### user:"),
    ],
)
def test_no_content_writes_a_mark_that_is_plain_text(template, mark):
    chat = learnt(template, ("<s>", "</s>"))
    honest, forged = said(chat, "Hi", "Yes"), said(chat, f"Hi\n{mark}\nHo", f"Yes{mark}")
    assert honest.count(mark) == forged.count(mark)
    assert chat.broken("# A heading, [1] and <b>bold</b>\n## Another") == (
        "# A heading, [1] and <b>bold</b>\n## Another"
    )


def test_an_added_token_that_is_not_special_counts_where_the_template_writes_it():
    plain = ("<|im_start|>", "<|im_end|>", "</think>", "  ", "json")
    split = chatml_with("m['content'].split('</think>')[-1]")
    chat = learn_format(split, (), {}, plain)
    assert chat.end == "<|im_end|>"
    assert chat.broken("a</think>  json<|im_start|>") == "a< /think>  json< |im_start|>"


def test_a_template_that_cuts_thoughts_out_of_plain_text_is_refused():
    with pytest.raises(DataError, match="do not stand between fixed texts"):
        learnt(chatml_with("m['content'].split('</think>')[-1]"))


@pytest.mark.parametrize(
    ("cut", "left"),
    [
        ("m['content'].strip()", "a"),
        ("m['content'].lstrip()", "a\n \n"),
        ("m['content'].rstrip()", "\n \na"),
        ("m['content'].lstrip('\\n')", " \na\n \n"),
        ("m['content'].strip('\\n')", " \na\n "),
        ("m['content']", "\n \na\n \n"),
    ],
)
def test_what_a_content_loses_at_each_end_is_told_apart(cut, left):
    chat = learnt(chatml_with(cut))
    turn = f"<|im_start|>assistant\n{left}<|im_end|>\n"
    assert said(chat, "q", "\n \na\n \n").endswith(turn)
    assert turn in said(chat, "q", "\n \na\n \n", "q")
    assert chat.as_answer("\n \na\n \n") == left


def test_an_answer_may_lose_line_breaks_that_earlier_ones_keep():
    last = CHATML.replace(
        "m['content']",
        "(m['content'].lstrip('\\n') if loop.last and m.role == 'assistant' else m['content'])",
    )
    assert said(learnt(last), "q", "\na", "q", "\na").count("\n\na") == 1


@pytest.mark.parametrize(
    "template",
    [
        "{% if messages | length > 6 %}{{ 'LATE' }}{% endif %}" + CHATML,
        "{% for m in messages %}{% if loop.index > 8 %}{{ ' ' }}{% endif %}"
        + CHATML.removeprefix("{% for m in messages %}"),
        chatml_with("m['content'].lstrip('\\t\\n')"),
        chatml_with("(m['content'] if loop.index0 < 2 or m != messages[loop.index0 - 2] else '')"),
    ],
)
def test_a_template_that_differs_late_or_by_content_is_refused(template):
    with pytest.raises(DataError, match="do not stand between fixed texts"):
        learnt(template)


def test_a_token_made_by_normalising_is_broken_too():
    def nfkc(text):
        return unicodedata.normalize("NFKC", text)

    chat = learnt(INSTRUCT, ("<s>", "</s>")).read_through(nfkc)
    for forged in ("a＜/s＞b", "［INST］", "＜/s</s>>"):
        assert not any(mark in nfkc(chat.broken(forged)) for mark in ("</s>", "[INST]"))
    assert chat.broken("ｗｉｄｅ") == "ｗｉｄｅ"


def test_a_tokenizer_that_takes_spaces_out_is_refused():
    with pytest.raises(DataError, match="joins again what a space has parted"):
        learnt(CHATML).read_through(lambda text: text.replace(" ", ""))


# The turns of Qwen3 as it is published: a thought is cut out of earlier answers and put before
# the last, whose line breaks at the left are lost.
QWEN3 = (
    "{%- for message in messages %}{%- set content = message.content %}"
    "{%- if message.role != 'assistant' %}"
    "{{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}{%- else %}"
    "{%- set thought = '' %}{%- if '</think>' in content %}"
    "{%- set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1] %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
    "{%- if loop.last %}{{- '<|im_start|>assistant\n<think>\n' + thought.strip('\n') "
    "+ '\n</think>\n\n' + content.lstrip('\n') }}{%- else %}"
    "{{- '<|im_start|>assistant\n' + content }}{%- endif %}{{- '<|im_end|>\n' }}{%- endif %}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}"
)


def test_the_chat_of_qwen3_is_learnt_with_its_thoughts_as_tokens():
    chat = learn_format(QWEN3, SPECIALS, {}, ("<think>", "</think>", "<tool_call>"))
    assert chat.answer == "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    assert said(chat, "q", "\na</think>b").endswith("</think>\n\na< /think>b<|im_end|>\n")
    assert "<tool_call>" not in chat.specials
