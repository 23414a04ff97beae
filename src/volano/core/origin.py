"""Where a finished model came from, and on what terms: kept beside every model made of it.

What went into it is not known to us; its name and licence are, where its files say so.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from volano.core.files import read_json, write_json

ORIGIN_FILE = "origin.json"


def write_origin(folder: Path, source: Path, found: Mapping[str, Any]) -> None:
    """Write what the model in `source` says of itself: name, licence and so on, where a string.

    `licence` is null where it says nothing.
    """
    named = {key: value for key, value in found.items() if isinstance(value, str) and value}
    write_json(folder / ORIGIN_FILE, {"file": source.name, "licence": None} | named)


def stated_by_folder(folder: Path) -> dict[str, Any]:
    """`name` and `licence` of a Hugging Face checkpoint, by the head of its README."""
    path = folder / "README.md"
    if not path.is_file():
        return {}
    _, opened, rest = path.read_text("utf-8", "replace").partition("---\n")
    head, closed, _ = rest.partition("\n---")
    if not opened or not closed:
        return {}
    try:
        values = YAML(typ="safe").load(head)
    except YAMLError:
        return {}  # a card that cannot be read states nothing; the weights are the same
    if not isinstance(values, dict):
        return {}
    # "other" is explained by license_name.
    licence = values.get("license_name") or values.get("license")
    return {"name": values.get("model_name"), "licence": licence}


def keep_origin(base: Path, folder: Path) -> None:
    """Carry what is known of an imported model on to one that was made of it."""
    origin = origin_of(base)
    if origin is not None:
        write_json(folder / ORIGIN_FILE, origin)


def origin_of(folder: Path) -> dict[str, str | None] | None:
    """What is known of the imported model that a checkpoint was made of; None without one.

    Raises StoreError where the file is damaged.
    """
    path = folder / ORIGIN_FILE
    found: dict[str, str | None] | None = read_json(path) if path.is_file() else None
    return found
