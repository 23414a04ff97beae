"""Recipe sections: what a user may set, checked before any work begins.

A recipe is YAML; every complaint about it names the file, the line and the key. Only literals
bear the identity of what a step makes: a field marked `Runtime` (a path, a worker count, a
device) may change without anything being built anew.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from volano.core.errors import DataError, RecipeError, did_you_mean, unknown_key
from volano.core.files import not_read, special_kind

COMMAND_LINE = "command line"
Path_ = tuple[str | int, ...]  # keys from the root of the recipe to one value
SUFFIXES = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}
AT_KEY = "at_key"  # our own kind of pydantic error; it is of one key of the section
ON_AND_OFF = {"yes": "on", "true": "on", "of": "off", "no": "off", "none": "off", "false": "off"}
EXPECTED = {
    "list_type": "a list, such as [first, second]",
    "dict_type": "names with their values, such as {name: value}",
}
SHOWN_CHARACTERS = 80  # of a wrong value


class Runtime:
    """Marks a field that bears no identity: `workers: Annotated[int, Runtime] = 0`."""


def read_count(text: str) -> float | None:
    """The number in 500, 4k, 1.4M, 2B or 3T, whole where it is; None where there is none."""
    found = re.fullmatch(r"(\d[\d_]*(?:\.\d+)?)\s*([kMBGT]?)", text)
    if found is None:
        return None
    # Decimal, because 2.01 * 10**6 is no whole number in floating point.
    count = Decimal(found[1].replace("_", "")) * SUFFIXES[found[2]]
    return int(count) if count == int(count) else float(count)


def _read_count(value: object) -> object:
    if isinstance(value, str):
        count = read_count(value)
        if count is None:
            raise ValueError("expected a count such as 500, 4k, 1.4M or 2B")
        return count
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _read_switch(value: object) -> object:
    return {"on": True, "off": False}.get(value, value) if isinstance(value, str) else value


Count = Annotated[int, BeforeValidator(_read_count)]  # also reads 4k, 1.4M, 2B
Switch = Annotated[bool, BeforeValidator(_read_switch)]  # also reads on and off


class Section(BaseModel):
    """Plain values of one step; each bears the identity of the artifact that the step makes, unless
    it is marked `Runtime` (paths, worker counts, devices)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _read_on_and_off(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        read = dict(values)
        for name, value in values.items():
            field = cls.model_fields.get(name)
            if field is None or section_of(field.annotation) is None:
                continue
            if value == "on" or value is True:
                read[name] = {}
            elif value == "off" or value is False:
                read[name] = None
            if read[name] is None and not _may_be_off(field.annotation):
                raise problem_at((name,), "this section cannot be off")
        return read

    @classmethod
    def read(
        cls, values: Mapping[str, object], where: str, lines: Mapping[Path_, str] | None = None
    ) -> Self:
        """The section, checked. `where` is its file and path; `lines` knows the line of each key.
        Raises RecipeError."""
        try:
            return cls.model_validate(values)
        except ValidationError as failure:
            problem = failure.errors(include_url=False)[0]
        # Raised out here, or pydantic's own report would trail behind ours.
        raise _explained(cls, problem, values, where, lines or {})

    def identity(self) -> dict[str, Any]:
        """The settings that decide what comes out, as plain JSON values."""
        plain: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            if Runtime not in field.metadata:
                plain[name] = _identity_of(getattr(self, name))
        return plain


def problem_at(keys: Path_, what: str, remedy: str = "") -> PydanticCustomError:
    """What a validator of a section raises where the value at these keys below it is wrong: `read`
    then says in which line that stands. Without a remedy the description of the key is one."""
    context = {"keys": keys, "what": what, "remedy": remedy}
    return PydanticCustomError(AT_KEY, "{what}", context)


def _identity_of(value: Any) -> Any:
    if isinstance(value, Section):
        return value.identity()
    if isinstance(value, list | tuple):
        return [_identity_of(each) for each in value]
    if isinstance(value, dict):
        return {key: _identity_of(each) for key, each in value.items()}
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 1 and 1.0 are one setting
    return value


def _may_be_off(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return _may_be_off(get_args(annotation)[0])
    return NoneType in get_args(annotation)


def section_of(annotation: Any) -> type[Section] | None:
    """The Section class in an annotation such as `X`, `X | None` or `Annotated[X, …]`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    if get_origin(annotation) in (Union, UnionType, Annotated):
        for part in get_args(annotation):
            found = section_of(part)
            if found is not None:
                return found
    return None


def load_yaml(path: Path) -> tuple[dict[str, Any], dict[Path_, str]]:
    """The values of a recipe file, and `file:line` of each key. Raises RecipeError."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        tree = YAML(typ="rt").load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise RecipeError("no such recipe", str(path), "See `volano recipes`.") from None
    except IsADirectoryError:
        raise RecipeError("this is a folder", str(path), "Name a YAML file.") from None
    except OSError as failure:
        raise RecipeError(f"not readable ({failure.strerror})", str(path), "Mend that.") from None
    except UnicodeDecodeError as failure:
        raise RecipeError(
            f"not UTF-8 at byte {failure.start}", str(path), "Save the recipe as UTF-8."
        ) from None
    except MarkedYAMLError as failure:
        mark = failure.problem_mark
        line = f":{mark.line + 1}" if mark else ""
        problem = (failure.problem or "not YAML").replace("\n", " ")
        raise RecipeError(problem, f"{path.name}{line}", "Mend the YAML.") from None
    except YAMLError as failure:
        problem = str(failure).splitlines()[0]
        raise RecipeError(problem, path.name, "Mend the YAML.") from None
    if not isinstance(tree, Mapping):
        found = "nothing" if tree is None else type(tree).__name__
        raise RecipeError(
            f"holds {found}", path.name, "A recipe maps keys such as `curate:` to values."
        )
    lines: dict[Path_, str] = {}
    values = _plain(tree, path.name, (), lines)
    return values, lines


def override(values: dict[str, Any], lines: dict[Path_, str], assignments: Iterable[str]) -> None:
    """Set `a.b=c` in the values of a recipe, in place; c is read as YAML. Of one key the last
    counts. Raises RecipeError, also where one turns off a section of which another sets something.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    given: dict[tuple[str, ...], tuple[str, bool]] = {}  # by its key: as written, and if it is off
    for assignment in assignments:
        key, equals, literal = assignment.partition("=")
        where = f"override '{assignment}'"
        if not equals or not key.strip():
            raise RecipeError("not an assignment", where, "Write it as section.key=value.")
        try:
            value = YAML(typ="safe", pure=True).load(literal)
        except YAMLError:
            raise RecipeError("the value is not YAML", where, "Quote it for the shell.") from None
        parts = tuple(key.strip().split("."))
        _refuse_both(given, parts, assignment, value)
        place = values
        for depth, part in enumerate(parts[:-1], 1):
            if not isinstance(place.get(part), dict):
                place[part] = {}  # the section was absent, off or on
                lines[parts[:depth]] = COMMAND_LINE
            place = place[part]
        place[parts[-1]] = value
        for path in [each for each in lines if each[: len(parts)] == parts]:
            del lines[path]  # what stood there in the file is replaced
        lines[parts] = COMMAND_LINE


def _refuse_both(
    given: dict[tuple[str, ...], tuple[str, bool]],
    parts: tuple[str, ...],
    assignment: str,
    value: Any,
) -> None:
    is_off = value is None or value is False or value == "off"
    for other, (written, other_is_off) in given.items():
        inside = len(other) < len(parts) and parts[: len(other)] == other and other_is_off
        around = len(parts) < len(other) and other[: len(parts)] == parts and is_off
        if inside or around:
            off, of_it = (written, assignment) if inside else (assignment, written)
            raise RecipeError(
                f"sets something of a section that '{off}' turns off",
                f"override '{of_it}'",
                "Leave one of the two out.",
            )
    given[parts] = (assignment, is_off)


def _plain(tree: Any, file: str, path: Path_, lines: dict[Path_, str]) -> Any:
    from ruamel.yaml.comments import CommentedMap, CommentedSeq
    from ruamel.yaml.scalarbool import ScalarBoolean

    if isinstance(tree, CommentedMap):
        for key in tree:
            if key in (tree.lc.data or ()):  # not so where `<<` merged it in
                lines[(*path, str(key))] = f"{file}:{tree.lc.key(key)[0] + 1}"
        return {str(key): _plain(tree[key], file, (*path, str(key)), lines) for key in tree}
    if isinstance(tree, CommentedSeq):
        for place in range(len(tree)):
            lines[(*path, place)] = f"{file}:{tree.lc.item(place)[0] + 1}"
        return [_plain(each, file, (*path, place), lines) for place, each in enumerate(tree)]
    # ruamel's own number and string types must not reach pydantic's strict checks.
    if isinstance(tree, ScalarBoolean):
        return bool(tree)
    for kind in (bool, int, float, str):
        if isinstance(tree, kind):
            return kind(tree)
    return tree


def _explained(
    section: type[Section],
    problem: Any,
    values: Mapping[str, object],
    where: str,
    lines: Mapping[Path_, str],
) -> RecipeError:
    path = _path_in(values, problem)
    line = _line_of(path, lines)
    parent = _section_at(section, path[:-1])
    prefix = f"{line}: " if line else (f"{where}: " if where else "")
    key = str(path[-1]) if path else ""
    if problem["type"] == "extra_forbidden" and parent is not None:
        at = f"{prefix}{_dotted(path[:-1])}"
        return unknown_key(key, at, parent.model_fields, _elsewhere(section, path))
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    remedy = _description(section, path) or "See the reference."
    given = problem["input"]
    if problem["type"] == "missing":
        message = "value missing"
    elif problem["type"] == AT_KEY:
        remedy = problem["ctx"]["remedy"] or remedy
    elif problem["type"] == "model_type":  # a single value where there should be a section
        switches = ", on or off" if parent and _has_switch(parent, key) else ""
        message = f"expected its settings{switches}, got {_shown(given)}"
        meant = ON_AND_OFF.get(given.lower()) if switches and isinstance(given, str) else None
        remedy = f"Did you mean '{meant}'?" if meant else remedy
    elif problem["type"] in EXPECTED:
        message = f"expected {EXPECTED[problem['type']]}, got {_shown(given)}"
    elif not (path and _section_at(section, path)):
        message = f"{message}, got {_shown(given)}"
    return RecipeError(message, f"{prefix}{_dotted(path)}", remedy)


def _elsewhere(section: type[Section], path: Path_) -> list[str]:
    """Where a recipe has a key of that name: those below that place first, the least deep first."""
    key, here = str(path[-1]), f"{_dotted(path[:-1])}."
    named = [each for each in keys_of(section) if each.rpartition(".")[2] == key]
    return sorted(named, key=lambda each: (not each.startswith(here), each.count(".")))


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= SHOWN_CHARACTERS else f"{shown[:SHOWN_CHARACTERS]}…"


def _has_switch(section: type[Section], key: str) -> bool:
    field = section.model_fields.get(key)
    return field is not None and _may_be_off(field.annotation)


def _description(section: type[Section], path: Path_) -> str | None:
    # Of the last key that a section declares: those of a mapping are the user's own.
    for place in reversed(range(len(path))):
        owner = _section_at(section, path[:place])
        field = owner.model_fields.get(str(path[place])) if owner else None
        if field is not None:
            return field.description
    return None


def _path_in(values: Any, problem: Any) -> Path_:
    # Between the keys pydantic names the member of a union that it tried; no recipe has such keys.
    path: list[str | int] = []
    for part in problem["loc"]:
        in_map = isinstance(values, Mapping) and part in values
        if in_map or (isinstance(values, list) and isinstance(part, int)):
            values = values[part]
        elif problem["type"] != "missing" or part != problem["loc"][-1]:
            continue
        path.append(part)
    return (*path, *problem["ctx"]["keys"]) if problem["type"] == AT_KEY else tuple(path)


def _dotted(path: Path_) -> str:
    dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return dotted.removeprefix(".") or "recipe"


def _line_of(path: Path_, lines: Mapping[Path_, str]) -> str:
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return ""


def _section_at(section: type[Section], path: Path_) -> type[Section] | None:
    # A list or a dict of sections keeps `annotation`, so that a position or key steps into it.
    annotation: Any = section
    for part in path:
        found = section_of(annotation)
        if found is None:
            annotation = next(iter(_element_types(annotation)), None)
        else:
            field = found.model_fields.get(str(part))
            annotation = field.annotation if field else None
    return section_of(annotation)


def _element_types(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (list, dict, tuple):
        yield get_args(annotation)[-1 if get_origin(annotation) is dict else 0]
    else:
        for part in get_args(annotation):
            yield from _element_types(part)


def keys_of(section: type[Section], prefix: str = "") -> Iterator[str]:
    """Every dotted key that a recipe of this class may hold."""
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        yield f"{prefix}{name}"
        if inner is not None:
            yield from keys_of(inner, f"{prefix}{name}.")


def require_file(path: Path) -> Path:
    """The path, if it is a file. Raises DataError with a near name otherwise."""
    if path.is_file():
        return path
    if path.is_dir():
        raise DataError("this is a folder", str(path), "Name a file in it.")
    special = special_kind(path)
    if special is not None:
        raise not_read(special, path)
    near = [each.name for each in path.parent.glob("*")] if path.parent.is_dir() else []
    remedy = did_you_mean(path.name, near) if 0 < len(near) < 50 else "Check the path."
    raise DataError("no such file", str(path), remedy)
