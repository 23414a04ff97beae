"""Writes docs/reference/recipes.md: every key of a recipe, from the classes that read it.

What a key means is written once, beside its default; a test fails when the page is stale.

    make docs
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from volano.core.recipe import Count, Runtime, Section, Switch, section_of
from volano.study.recipe import Recipe

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "recipes.md"
OPENING = """\
# Every key of a recipe

<!-- Written by `make docs` from the code. Edit the descriptions there. -->

A recipe is YAML. What it leaves out takes the default given here; a key that is not in these
tables is refused, with its line and the nearest key that is. On the command line a key is set as
`section.key=value`. A *count* is a whole number and may be written `4k`, `2.5M` or `1B`. A section
that may be off takes `off` for nothing of it, and `on` or nothing for its defaults. A key marked
*runtime* never decides what comes out: changing it builds nothing anew.
"""
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
COUNT, SWITCH = get_args(Count)[1], get_args(Switch)[1]


def page() -> str:
    """The whole page."""
    return "\n".join([OPENING, *_section(Recipe, "", "The recipe")])


def _section(section: type[Section], path: str, title: str) -> Iterator[str]:
    yield f"## {title}\n"
    if section is not Recipe and section.__doc__:
        yield inspect.cleandoc(section.__doc__) + "\n"
    inner = []
    rows = []
    for name, field in section.model_fields.items():
        key = f"{path}.{name}" if path else name
        child = section_of(field.annotation)
        if child is not None:
            inner.append((child, key))
        description = (field.description or "").replace("|", "\\|")
        runtime = "*Runtime.* " if Runtime in field.metadata else ""
        rows.append(f"| `{name}` | {_kind(field)} | {_default(field)} | {runtime}{description} |")
    if rows:
        yield "\n".join(["| key | value | default | what it is |", "|---|---|---|---|", *rows, ""])
    for child, key in inner:
        yield from _section(child, key, f"`{key}`")


def _kind(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(each, bound):g}"
        for each in field.metadata
        for bound, sign in BOUNDS.items()
        if getattr(each, bound, None) is not None
    ]
    return ", ".join([_type_name(field.annotation, field.metadata), *bounds])


def _type_name(annotation: Any, metadata: Any = ()) -> str:
    if COUNT in metadata or annotation == Count:
        return "count"
    if SWITCH in metadata or annotation == Switch or annotation is bool:
        return "on, off"
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(parts[0], parts[1:])
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in parts)
    if origin in (Union, UnionType):
        is_section = section_of(annotation) is not None
        names = [_type_name(each) for each in parts if each is not NoneType]
        return ", ".join(
            names + (["off" if is_section else "nothing"] if NoneType in parts else [])
        )
    if origin in (list, tuple):
        return f"list of {_type_name(parts[0])}"
    if origin is dict:
        return f"{_type_name(parts[0])} → {_type_name(parts[1])}"
    if section_of(annotation) is not None:
        return "section"
    return {int: "whole number", float: "number", str: "text"}[annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    value = field.get_default(call_default_factory=True)
    assert value is not PydanticUndefined
    if section_of(field.annotation) is not None:
        return "off" if value is None else "on"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{_written(value)}`"


def _written(value: Any) -> str:
    """The value as one would write it in a recipe."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_written(each)}' for key, each in value.items())}}}"
    if isinstance(value, int) and value >= 1_000_000 and value % 100_000 == 0:
        return f"{value / 1_000_000:g}M"
    return '""' if value == "" else str(value)


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), "utf-8")
    print(PAGE)
