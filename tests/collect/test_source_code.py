import ast
import contextlib
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volano.collect.source_code import Described, UnreadableError, read_source, topics_of

STDLIB = Path(sysconfig.get_paths()["stdlib"])
REAL_MODULES = ["argparse", "dataclasses", "locale", "ntpath", "typing", "turtle", "asyncio/tasks"]


@pytest.mark.parametrize("name", REAL_MODULES)
def test_code_of_real_modules_is_the_same_program_without_docstrings(name):
    source = (STDLIB / f"{name}.py").read_bytes()
    left = ast.parse(read_source(source, with_code=True).code)
    assert ast.dump(left) == ast.dump(without_text_statements(ast.parse(source)))


def without_text_statements(tree):
    """The plain reference: drop every string statement; an emptied block gets `pass`."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if not isinstance(block, list) or not block:
                continue
            kept = [each for each in block if not is_text_statement(each)]
            setattr(node, name, kept or [ast.Pass()] if not isinstance(node, ast.Module) else kept)
    return tree


def is_text_statement(node):
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ('"""Only this."""\n', ""),
        ('def f(): "doc"\n', "def f(): pass\n"),
        ('def f():\n    "doc"\n', "def f():\n    pass\n"),
        ('def f():\n    "doc"; return 1\n', "def f():\n    pass; return 1\n"),
        (
            'def f():\n    """é\n    語"""  # why\n    return 1\n',
            "def f():\n      # why\n    return 1\n",
        ),
        ('x = 1\n"""Of x."""\ny = "kept"\n', 'x = 1\ny = "kept"\n'),
        ('if a:\n    "one"\n    "two"\n', "if a:\n    pass\n"),
        ("class A:\r\n    'doc'\r\n    b = 1\r\n", "class A:\n    b = 1\n"),
        ('add_newdoc("m", "f", """Doc.""")\nx = 1\n', "x = 1\n"),
    ],
)
def test_documenting_statements_are_cut_and_nothing_else(source, code):
    left = read_source(source.encode(), with_code=True).code
    assert left.strip() == code.strip() or (code, left.strip()) == ("", "pass")


@pytest.mark.parametrize(
    ("definition", "signature"),
    [
        ("f()", "()"),
        ("f(a, /, b: int = 1, *c, d, e=None, **g) -> str", "(a, /, b=1, *c, d, e=None, **g)"),
        ("f(a, *, b)", "(a, *, b)"),
        ("f(a=..., b=-1, c='x')", "(a=..., b=-1, c='x')"),
        ("f(a={'key': 1, 'other key': 2, 'yet another': 3})", "(a=...)"),
    ],
)
def test_signature_has_names_and_short_defaults(definition, signature):
    read = read_source(f'def {definition}:\n    "Doc."\n'.encode(), with_code=False)
    assert read.described == [Described("f", "function", signature, "Doc.")]


def test_forms_and_what_cannot_be_reached():
    source = '''
class A:
    """Class."""
    def __init__(self, x): "Dunder."
    def m(self, y): "Method."
    @staticmethod
    def s(z): "Static."
    @cached_property
    def p(self): "Property."
    class B:
        "Inner."
def f():
    def inside(): "Unreachable."
    class C: "Unreachable."
try:
    async def g(t): "Async."
except E:
    pass
add_newdoc("m.n", "h", ("i", """Newdoc of a method."""))
add_newdoc("m.n", "h", """Newdoc.""")
'''
    read = read_source(source.encode(), with_code=False)
    assert [(each.name, each.form, each.signature) for each in read.described] == [
        ("A", "class", "(x)"),
        ("A.m", "method", "(y)"),
        ("A.s", "method", "(z)"),
        ("A.p", "property", ""),
        ("A.B", "class", ""),
        ("g", "function", "(t)"),
        ("h.i", "method", ""),
        ("h", "function", ""),
    ]
    assert {each.module for each in read.described[-2:]} == {"m.n"}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"def f(:\n", r"not Python: .+ \(line 1\)"),
        (b"\0", "not Python: "),
        (b'"\xff"\n', "not UTF-8 at byte 1"),
        (b"# coding: no-such\n", "not text: unknown encoding"),
        (b"x = " + b"(" * 100_000 + b")" * 100_000, "not Python: "),
    ],
)
def test_what_is_no_python_says_why(source, reason):
    with pytest.raises(UnreadableError, match=f"^{reason}"):
        read_source(source, with_code=True)


def test_stated_encoding_is_read():
    assert (
        read_source('# coding: latin-1\n"""é"""\n'.encode("latin-1"), with_code=False).docstring
        == "é"
    )


def test_surrogate_in_a_docstring_becomes_a_question_mark():
    assert read_source(b'"""a\\ud800b"""\n', with_code=False).docstring == "a?b"


def test_topics_are_read_without_running_the_file():
    assert topics_of(b"topics = {'b': '\\nB\\n', 'a': 'A'}\n") == {"a": "A", "b": "B"}
    with pytest.raises(UnreadableError, match="no dictionary of topics"):
        topics_of(b"print(1)\n")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(UnreadableError):
        assert read_source(text.encode(), with_code=True).code is not None
