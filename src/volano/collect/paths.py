"""Which files the paths of a recipe name, and what each is called.

A file is called by its path below the deepest folder that all of them share, so that the same
files have the same names wherever that folder lies.
"""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from volano.collect.readers.text import plain_suffix
from volano.collect.section import Format
from volano.collect.suffixes import KNOWN, is_known
from volano.core.errors import DataError, did_you_mean
from volano.core.files import not_read, special_kind

MAX_NEAR_NAMES = 200


def find_files(patterns: Sequence[str], form: Format = "auto") -> tuple[dict[str, Path], list[str]]:
    """Name → path of every file that the patterns mean, and a note on files of unknown kinds.

    A folder means all files below it that can be read (of a Volano corpus, its data); hidden ones
    are passed over. Raises DataError for a pattern that means none.
    """
    found: list[Path] = []
    skipped: Counter[str] = Counter()
    for pattern in patterns:
        found += _meant_by(os.path.expanduser(pattern), form, skipped)
    unique = sorted({Path(os.path.abspath(path)) for path in found})
    common = unique[0].parent if len(unique) == 1 else Path(os.path.commonpath(unique))
    notes = [f"{count} {kind} passed over" for kind, count in sorted(skipped.items())]
    return {path.relative_to(common).as_posix(): path for path in unique}, notes


def _meant_by(pattern: str, form: Format, skipped: Counter[str]) -> list[Path]:
    path = Path(pattern)
    if path.is_dir():
        return _below(path, form, skipped)
    if path.is_file():
        return [_of_known_kind(path, form)]
    special = special_kind(path)
    if special is not None:
        raise not_read(special, path)
    matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
    if not matches:
        raise DataError("no such file or folder", pattern, _remedy(path))
    files: list[Path] = []
    for match in matches:
        if match.is_dir():
            continue
        special = special_kind(match)
        if special is not None:
            skipped[f"files that are {special}"] += 1
        elif is_known(match.name, form):
            files.append(match)
        else:
            skipped[f"files {match.suffix or 'without suffix'}"] += 1
    if not files and not skipped:
        files = [each for match in matches for each in _below(match, form, skipped)]
    if not files:
        raise DataError("matches no file of a known kind", pattern, f"Known: {KNOWN}.")
    return files


def _below(folder: Path, form: Format, skipped: Counter[str]) -> list[Path]:
    if (folder / "manifest.json").is_file() and (folder / "data").is_dir():
        folder = folder / "data"  # a corpus: what it dropped and measured is no text of its own
    files = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith("."):
                continue
            special = special_kind(Path(place, name)) if is_known(name, form) else None
            if special is not None:
                skipped[f"files that are {special}"] += 1
            elif is_known(name, form):
                files.append(Path(place, name))
            else:
                skipped[f"files {Path(name).suffix or 'without suffix'}"] += 1
    if not files:
        raise DataError("no file in this folder can be read", str(folder), f"Known: {KNOWN}.")
    return files


def _of_known_kind(path: Path, form: Format) -> Path:
    if is_known(path.name, form):
        return path
    suffix = plain_suffix(path.name)
    if form != "auto":
        raise DataError(f"no file of format {form}", str(path), "Leave collect.format at auto.")
    kind = f"unknown kind of file '{suffix}'" if suffix else "a file without a suffix"
    raise DataError(kind, str(path), f"Known: {KNOWN}.")


def _remedy(path: Path) -> str:
    parent = path.parent
    if not parent.is_dir():
        return f"There is no folder {parent}."
    near = sorted(each.name for each in parent.iterdir() if not each.name.startswith("."))
    remedy = did_you_mean(path.name, near) if near else f"The folder {parent} is empty."
    few = len(near) <= MAX_NEAR_NAMES and len(remedy) <= 300
    return remedy if few or remedy.startswith("Did you mean") else "Check the path."
