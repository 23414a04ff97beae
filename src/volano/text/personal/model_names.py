"""Names of persons by a model of the user's own: any spaCy pipeline that recognises entities.

A model reads the sentence, so it finds names that no list holds, and takes a hundred times as long.
It comes with the extra `ner`, and no pipeline comes with Volano.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from volano.core.errors import DataError, MissingExtra

LABELS = frozenset({"PERSON", "PER"})  # as pipelines for English call it, and for other languages
_SETTING = "pii.name_model"
_RECOGNISERS = ("ner", "entity_ruler", "span_ruler", "beam_ner")


def model_names(texts: Sequence[str], pipeline: str) -> Iterator[list[tuple[int, int]]]:
    """The persons of each text, in characters. Raises MissingExtra or DataError."""
    for document in _loaded(pipeline).pipe(texts):
        yield [(ent.start_char, ent.end_char) for ent in document.ents if ent.label_ in LABELS]


def pipeline_version(pipeline: str) -> str:
    """Name and version as its meta.json says them; bears identity. Raises DataError."""
    folder = Path(pipeline)
    if not folder.is_dir():
        spec = find_spec(pipeline) if pipeline.isidentifier() else None
        folder = Path(spec.origin).parent if spec and spec.origin else folder
    for path in (folder / "meta.json", *sorted(folder.glob("*/meta.json"))):
        if path.is_file():
            meta = json.loads(path.read_text("utf-8"))
            return f"{meta.get('lang')}_{meta.get('name')} {meta.get('version')}"
    raise DataError(
        f"no spaCy pipeline '{pipeline}'", _SETTING, "Give its folder, or its installed package."
    )


@cache
def _loaded(pipeline: str) -> Any:
    try:
        import spacy
    except ImportError:
        raise MissingExtra(
            "spaCy is not installed", _SETTING, 'Install it: `pip install "volano[ner]"`.'
        ) from None
    pipeline_version(pipeline)
    loaded = spacy.load(pipeline)
    if not set(_RECOGNISERS) & set(loaded.pipe_names):
        raise DataError(
            f"the pipeline '{pipeline}' recognises no entities",
            _SETTING,
            f"It has {', '.join(loaded.pipe_names) or 'nothing'}; give one with `ner`.",
        )
    loaded.max_length = 10**9  # its limit is for parsers
    return loaded


def check_pipeline(pipeline: str) -> None:
    """Raises MissingExtra or DataError where names cannot be found with it."""
    _loaded(pipeline)
