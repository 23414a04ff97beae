"""What one Python source file says: its docstrings with signatures, and its code without them.

The file is parsed, never imported, so nothing of it runs. Documentation and code are taken apart
because they are different kinds of text, and because a held-out docstring must not come back
inside the code that it documents.
"""

import ast
import inspect
import io
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Form = Literal["function", "method", "class", "property"]
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
# Calls by which numpy, scipy and torch document what is written in C.
DOCUMENTING_CALLS = {"add_newdoc", "add_docstr", "add_docstr_all", "_add_docstr"}
MAX_DEFAULT_CHARACTERS = 40  # a longer default value says more about layout than about use


class Described(NamedTuple):
    """One docstring and what it describes. `name` is local to the module: "JSONEncoder.encode"."""

    name: str
    form: Form
    signature: str  # "(obj, *, indent=None)"; "" for a property
    docstring: str
    module: str | None = None  # where it differs from the module that was read


class Import(NamedTuple):
    """`from module import name as alias`; a star has the name "*"."""

    level: int  # leading dots
    module: str
    name: str
    alias: str


@dataclass
class SourceFile:
    """All that one file says."""

    docstring: str  # the module's own; "" if it has none
    described: list[Described] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    exports: list[str] | None = None  # __all__, if it is a plain list
    code: str = ""


class Cut(NamedTuple):
    """A statement that only documents, and whether its block holds nothing else."""

    statement: ast.stmt
    leaves_nothing: bool = False


class UnreadableError(Exception):
    """The file is no Python that this interpreter can parse; the message says why."""


def read_source(source: bytes, *, with_code: bool) -> SourceFile:
    """Take one file apart. Raises UnreadableError."""
    text = _decoded(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's invalid escape sequences
            tree = ast.parse(text)
    except SyntaxError as problem:
        raise UnreadableError(f"not Python: {problem.msg} (line {problem.lineno})") from None
    except (ValueError, RecursionError, MemoryError) as problem:
        raise UnreadableError(f"not Python: {problem}") from None
    read = SourceFile(docstring=_docstring(tree))
    cuts: list[Cut] = []
    _walk(tree.body, "", in_class=False, visible=True, read=read, cuts=cuts)
    if with_code:
        read.code = _without(text, cuts)
    return read


def topics_of(source: bytes) -> dict[str, str]:
    """The topics of `pydoc_data/topics.py`: name → text. Raises UnreadableError."""
    for statement in ast.parse(_decoded(source)).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
            topics = ast.literal_eval(statement.value)
            return {str(name): str(text).strip("\n") for name, text in sorted(topics.items())}
    raise UnreadableError("no dictionary of topics")


def _decoded(source: bytes) -> str:
    encoding = "utf-8"
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    except SyntaxError as problem:
        if "unknown encoding" in str(problem.msg):
            raise UnreadableError(f"not text: {problem.msg}") from None
    try:
        text = source.decode(encoding)
    except UnicodeDecodeError as problem:
        raise UnreadableError(f"not {encoding.upper()} at byte {problem.start}") from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _walk(
    body: list[ast.stmt],
    prefix: str,
    *,
    in_class: bool,
    visible: bool,
    read: SourceFile,
    cuts: list[Cut],
) -> None:
    """Collect docstrings of what can be reached by name, and every statement that only documents.

    What is defined inside a function cannot be reached: it gives no record, but its docstrings
    are cut all the same.
    """
    already_cut = len(cuts)
    for statement in body:
        if isinstance(statement, Definition):
            name = prefix + statement.name
            if visible and not _is_dunder(statement.name):
                docstring = _docstring(statement)
                if docstring:
                    form = _form(statement, in_class)
                    signature = "" if form == "property" else _signature(statement, in_class)
                    _add(read, Described(name, form, signature, docstring))
            is_class = isinstance(statement, ast.ClassDef)
            _walk(
                statement.body,
                f"{name}.",
                in_class=is_class,
                visible=visible and is_class,
                read=read,
                cuts=cuts,
            )
        elif isinstance(statement, ast.Expr):
            if _is_text(statement.value):
                cuts.append(Cut(statement))
            elif isinstance(statement.value, ast.Call):
                _read_call(statement, statement.value, visible, read, cuts)
        elif isinstance(statement, ast.ImportFrom):
            if visible and not prefix:
                for each in statement.names:
                    alias = each.asname or each.name
                    read.imports.append(
                        Import(statement.level, statement.module or "", each.name, alias)
                    )
        elif isinstance(statement, ast.Assign):
            if visible and not prefix and _is_named(statement.targets[0], "__all__"):
                read.exports = _plain_names(statement.value)
        else:
            for block in _blocks(statement):
                _walk(block, prefix, in_class=in_class, visible=visible, read=read, cuts=cuts)
    if body and len(cuts) - already_cut >= len(body):
        own = {id(cut.statement) for cut in cuts[already_cut:]}
        if all(id(statement) in own for statement in body):
            cuts[already_cut] = Cut(body[0], leaves_nothing=True)


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        block = getattr(statement, name, None)
        if block:
            yield block
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield part.body


def _add(read: SourceFile, described: Described) -> None:
    # An overload or a fallback that repeats the docstring word for word is no second record.
    for earlier in read.described[-8:]:
        if earlier.name == described.name and earlier.docstring == described.docstring:
            return
    read.described.append(described)


def _docstring(node: ast.Module | Definition) -> str:
    if not node.body or not isinstance(node.body[0], ast.Expr):
        return ""
    value = node.body[0].value
    if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
        return ""
    return _clean(value.value)


def _clean(docstring: str) -> str:
    # An escape such as "\ud800" makes a surrogate, which no UTF-8 file can hold.
    text = inspect.cleandoc(docstring).strip()
    return text.encode("utf-8", "replace").decode("utf-8")


def _read_call(
    statement: ast.Expr, call: ast.Call, visible: bool, read: SourceFile, cuts: list[Cut]
) -> None:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name not in DOCUMENTING_CALLS:
        return
    cuts.append(Cut(statement))
    if not visible or name != "add_newdoc":
        return  # torch's calls are documented in its .pyi files as well
    parts: list[object] = []
    for argument in call.args:
        try:
            parts.append(ast.literal_eval(argument))
        except ValueError:
            return  # a computed text
    match parts:
        case [str(module), str(owner), (str(method), str(text))]:
            read.described.append(
                Described(f"{owner}.{method}", "method", "", _clean(text), module)
            )
        case [str(module), str(owner), str(text)]:
            read.described.append(Described(owner, "function", "", _clean(text), module))
        case [str(owner), str(text)]:
            read.described.append(Described(owner, "function", "", _clean(text), ""))


def _form(node: Definition, in_class: bool) -> Form:
    if isinstance(node, ast.ClassDef):
        return "class"
    if not in_class:
        return "function"
    for decorator in node.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
        if name.endswith("property"):
            return "property"
    return "method"


def _signature(node: Definition, in_class: bool) -> str:
    if not isinstance(node, ast.ClassDef):
        return _parameters(node.args, skip_first=in_class and not _is_static(node))
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return _parameters(statement.args, skip_first=True)
    return ""


def _is_static(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(_is_named(decorator, "staticmethod") for decorator in node.decorator_list)


def _parameters(arguments: ast.arguments, *, skip_first: bool) -> str:
    """Names and defaults. Types are left out: they are longer than all the rest."""
    positional = [*arguments.posonlyargs, *arguments.args]
    without_default = len(positional) - len(arguments.defaults)
    shown = []
    for place, parameter in enumerate(positional):
        default = arguments.defaults[place - without_default] if place >= without_default else None
        if not (place == 0 and skip_first):
            shown.append(_parameter(parameter.arg, default))
        if arguments.posonlyargs and place + 1 == len(arguments.posonlyargs) and shown:
            shown.append("/")
    if arguments.vararg:
        shown.append(f"*{arguments.vararg.arg}")
    elif arguments.kwonlyargs:
        shown.append("*")
    for parameter, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        shown.append(_parameter(parameter.arg, default))
    if arguments.kwarg:
        shown.append(f"**{arguments.kwarg.arg}")
    return f"({', '.join(shown)})"


def _parameter(name: str, default: ast.expr | None) -> str:
    if default is None:
        return name
    if isinstance(default, ast.Constant):
        literal = "..." if default.value is ... else repr(default.value)
    elif isinstance(default, ast.Name):
        literal = default.id
    else:
        literal = ast.unparse(default)
    literal = literal if len(literal) <= MAX_DEFAULT_CHARACTERS else "..."
    return f"{name}={literal}".encode("utf-8", "replace").decode("utf-8")


def _without(text: str, cuts: list[Cut]) -> str:
    """The source without the statements in `cuts`; a block that held nothing else gets `pass`."""
    lines = [line.encode() for line in text.splitlines(keepends=True)]
    if len(lines) != text.count("\n") + (not text.endswith("\n")):
        # Form feeds and the like end a line for str, but not for Python.
        lines = [line.encode() for line in io.StringIO(text, newline="\n")]
    for statement, leaves_nothing in sorted(cuts, key=_position, reverse=True):
        first, last = statement.lineno - 1, (statement.end_lineno or statement.lineno) - 1
        before = lines[first][: statement.col_offset]
        after = lines[last][statement.end_col_offset :]
        rest = after.strip()
        needed = leaves_nothing or before.strip() or rest.startswith(b";")
        keep = b"pass" if needed else b""
        if keep or rest:
            lines[first : last + 1] = [before + keep + after]
        else:
            del lines[first : last + 1]
    return b"".join(lines).decode()


def _position(cut: Cut) -> tuple[int, int]:
    return cut.statement.lineno, cut.statement.col_offset


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _is_text(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _is_named(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _plain_names(value: ast.expr) -> list[str] | None:
    try:
        names = ast.literal_eval(value)
    except (ValueError, TypeError):
        return None
    if not isinstance(names, list | tuple):
        return None
    return [str(name) for name in names]
