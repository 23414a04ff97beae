"""What a foreign JSON file states, taken at its word only where its kind and size can be meant.

Python takes true for 1, 8.0 for 8 and NaN for a number; a model made of them fails far from the
file, or computes nothing. Each function gives the value back or raises DataError in one line.
"""

import json
from math import isfinite
from pathlib import Path
from typing import Any

from volano.core.errors import DataError

DAMAGED = "The file is damaged: copy it again."


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; FileNotFoundError where there is none."""
    try:
        value = json.loads(path.read_text("utf-8"))
        if isinstance(value, dict):
            return value
        problem = "not an object"
    except ValueError as failure:
        problem = str(failure)
    except RecursionError:
        problem = "nested too deeply"
    raise DataError(f"not readable as JSON ({problem})", str(path), DAMAGED)


def whole(value: Any, name: str, path: Path, *, least: int = 1, most: int) -> int:
    """A count from `least` to `most`."""
    if type(value) is not int:  # a bool is an int as well
        raise DataError(f"{name} is {value!r}, not a count", str(path), DAMAGED)
    if not least <= value <= most:
        shown = f"{value:,}" if abs(value) < 10**18 else "a number of many digits"
        raise DataError(f"{name} is {shown}, not {least:,} to {most:,}", str(path), DAMAGED)
    return value


def number(
    value: Any, name: str, path: Path, *, above: float = 0.0, below: float = float("inf")
) -> float:
    """A finite number between the two bounds, which are left out."""
    if type(value) not in (int, float):
        raise DataError(f"{name} is {value!r}, not a number", str(path), DAMAGED)
    try:
        found = float(value)
    except OverflowError:
        found = float("inf")
    if not isfinite(found) or not above < found < below:
        wanted = f"above {above:g}" + (f" and below {below:g}" if isfinite(below) else "")
        raise DataError(f"{name} is {found:g}, not a number {wanted}", str(path), DAMAGED)
    return found


def switch(value: Any, name: str, path: Path) -> bool:
    """True or false; null is false, as transformers takes it."""
    if value is not None and not isinstance(value, bool):
        raise DataError(f"{name} is {value!r}, not true or false", str(path), DAMAGED)
    return bool(value)
