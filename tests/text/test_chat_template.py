"""Chat templates are programs of others: none gets out of the sandbox, runs on, or crashes us."""

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
