"""How verbs print: tables for people on stdout, or one JSON value for programs."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

MIN_TEXT_CHARACTERS = 10  # of a column of text; narrower, its words are torn to letters


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str = "",
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:
    """A table on stdout; the columns named in `right` hold numbers, and those in `whole` hold ids
    or times, which stay on one line too. Where the terminal is too narrow: a block for each row."""
    from rich.table import Table
    from rich.text import Text

    cells = [[str(cell) for cell in row] for row in rows]
    if _width(columns, cells, {*right, *whole}) > console().width:
        _print_blocks(columns, cells, title)
        return
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column in right or column in whole,
            overflow="fold",
        )
    for row in cells:
        table.add_row(*map(Text, row))  # as it is: what people wrote may look like markup
    console().print(table)


def _width(columns: Sequence[str], rows: list[list[str]], whole: set[str]) -> int:
    """Characters that the table needs at least: whole cells, or a word's width of text."""
    from rich.cells import cell_len

    needed = 1  # the right edge; each column has a left edge and a blank on both sides
    for place, column in enumerate(columns):
        lines = [line for row in rows for line in row[place].split("\n")]
        longest = max(map(cell_len, lines), default=0)
        if column not in whole:
            longest = min(longest, MIN_TEXT_CHARACTERS)
        needed += 3 + max(longest, cell_len(column) if column in whole else 0)
    return needed


def _print_blocks(columns: Sequence[str], rows: list[list[str]], title: str) -> None:
    blocks = [title] if title else []
    for row in rows:
        named = [(column, cell) for column, cell in zip(columns, row, strict=True) if cell]
        lines = [(f"{column}: " if column else "") + cell for column, cell in named]
        blocks.append("\n".join(lines))
    print_line("\n\n".join([*blocks, ""]))  # a blank line before what follows


def console() -> Any:
    """The console for results; wide enough for tables when stdout is no terminal."""
    from rich.console import Console

    plain = Console(highlight=False, soft_wrap=False)
    return plain if plain.is_terminal else Console(highlight=False, width=130)


def print_line(text: str) -> None:
    """A line on stdout, taken as it is."""
    console().print(text, markup=False, soft_wrap=True)


def tell(text: str) -> None:
    """A line on stderr, beside results: what a command that takes its time is at."""
    print(text, file=sys.stderr, flush=True)


def size(count: float) -> str:
    """Bytes for people: 1.2 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def time_of_day(time: str) -> str:
    """A time in ISO 8601 for people, to the second: 2026-01-31 12:00:00."""
    return time[:19].replace("T", " ")


def duration(seconds: float | None) -> str:
    """Seconds for people: 0.4 s, 12 s, 3 min 20 s."""
    if seconds is None:
        return "?"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
