"""What an earlier curation of the same documents has measured already.

Attributes lie beside the text, so another threshold needs no text to be read twice: where an
artifact of this step with the same inputs has measured a group with the same settings, its columns
are taken and only judged anew. Where all settings but the mixture are the same, the shards are
copied. What comes out is the same to the byte; it only comes sooner.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from volano.core.artifact import Artifact
from volano.core.corpus import read_shard
from volano.core.errors import DataError
from volano.core.files import atomic_path, file_digest
from volano.core.mixture import MIX, MIXTURE_FILE
from volano.core.step import Context
from volano.curate.quality import EDITS
from volano.curate.section import CurateSection

BOUNDS = ("min_", "max_")  # how settings begin that judge and do not measure
JUDGING = {"keep", "uncertain", "exempt_kinds", "only_kinds", "action"}
READ_FOR_LANGUAGE = "exempt_kinds"  # documents of these kinds are not even read for it
WRITTEN_ANEW = ("README.md", "manifest.json", MIXTURE_FILE, f"attributes/{MIX}/")  # by any curation


@dataclass(frozen=True)
class Earlier:
    """The attributes of an earlier artifact, and which groups of them hold for these settings."""

    folder: Path
    groups: frozenset[str]
    sha256: Mapping[str, str]  # of its files, by path

    def columns(self, group: str, shard: str) -> dict[str, pa.Array] | None:
        """The columns of a group for a shard, without `passed`, which judging gives; None where
        they have to be measured."""
        path = self.folder / "attributes" / group / shard
        if group not in self.groups or not self._is_whole(path):
            return None
        table = read_shard(path)
        names = [name for name in table.column_names if name not in ("id", "passed")]
        return {name: table[name].combine_chunks() for name in names}

    def _is_whole(self, path: Path) -> bool:
        # A store asks its artifacts for sizes only; what is taken over has to be what was written.
        known = self.sha256.get(path.relative_to(self.folder).as_posix())
        try:
            return known is not None and file_digest(path) == known
        except OSError:
            return False


def earlier_measures(artifacts: Sequence[Artifact], section: CurateSection) -> Earlier | None:
    """Of these artifacts of the step, with the same inputs, the one that saves most."""
    best: Earlier | None = None
    wanted = _measuring(section.identity())
    for artifact in artifacts:
        there = _measuring(artifact.meta["identity"]["settings"])
        groups = frozenset(name for name, how in wanted.items() if there.get(name) == how)
        if groups and (best is None or len(groups) > len(best.groups)):
            digests = {name: each["sha256"] for name, each in artifact.meta["files"].items()}
            best = Earlier(artifact.folder, groups, digests)
    return best


def _measuring(settings: Mapping[str, Any]) -> dict[str, Any]:
    # Group of attributes → the settings that decide its values, those of the text first.
    boilerplate = dict(settings.get("boilerplate") or {})
    boilerplate.pop("min_words_left", None)  # which judges only
    return {name: [boilerplate, how] for name, how in _of_groups(settings).items()}


def _of_groups(settings: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if settings.get("decontaminate"):  # which reads the text as it was collected
        found["decontaminate"] = settings["decontaminate"]
    language = settings.get("language")
    if language and language.get("paragraphs"):
        return found  # what is left of the text stands nowhere
    if language:
        found["language"] = [_without_bounds(language), language[READ_FOR_LANGUAGE]]
    quality = settings.get("quality") or {"rules": []}
    if set(EDITS) & set(quality["rules"]):  # they change the text that all others read
        return found
    for rule in quality["rules"]:
        found[rule] = [quality["words"], _without_bounds(quality[rule])]
    toxicity = settings.get("toxicity")
    if toxicity:  # which weights, the listing says
        line = toxicity["per"] == "line"
        bound = toxicity["min_probability"] if line else None  # from which on a line is toxic
        found["toxicity"] = [toxicity[name] for name in ("per", "neutral", "exempt_kinds")]
        found["toxicity"].append(bound)
    if settings.get("perplexity"):  # which model, the listing says
        found["perplexity"] = settings["perplexity"]["exempt_kinds"]
    if settings.get("classifier"):
        found["classifier"] = [settings["classifier"][name] for name in ("label", "exempt_kinds")]
    if settings.get("dedup"):
        found["dedup"] = True  # the hash of a document depends on its text alone
    if settings.get("pii"):
        found["pii"] = [settings["pii"]["kinds"], settings["pii"].get("name_model")]
    return found


def _without_bounds(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in settings.items()
        if not name.startswith(BOUNDS) and name not in JUDGING
    }


def take_over(section: CurateSection, context: Context) -> bool:
    """Copy the shards of an artifact that differs in its mixture alone; whether there was one.

    A file that is not what was written is not taken, and False returned: what is missing is then
    made as if nothing had been there.
    """
    wanted = section.identity()
    for artifact in context.siblings():
        there = artifact.meta["identity"]["settings"]
        # Of equal settings it is the corpus that is made anew, and so not to be copied.
        if there != wanted and _but_mixture(there) == _but_mixture(wanted):
            digests = {
                name: each["sha256"]
                for name, each in artifact.meta["files"].items()
                if not name.startswith(WRITTEN_ANEW)
            }
            break
    else:
        return False
    # The shards of data last: where one is there, all that belongs to it is.
    names = sorted(digests, key=lambda name: (name.startswith("data/"), name))
    first = sum(not name.startswith("data/") for name in names)
    try:
        with context.progress("curate: copy", len(names), "files") as bar:
            for part in (names[:first], names[first:]):
                context.engine.map(
                    partial(_copy, folder=artifact.folder, digests=digests),
                    part,
                    [context.folder / name for name in part],
                    bar=bar,
                )
    except _Damaged:
        return False
    return True


class _Damaged(DataError): ...


def _copy(name: str, output: Path, *, folder: Path, digests: Mapping[str, str]) -> None:
    with atomic_path(output) as unfinished:
        shutil.copyfile(folder / name, unfinished)
        if file_digest(unfinished) != digests[name]:
            raise _Damaged("not what was written", str(folder / name), "It is made anew.")


def _but_mixture(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "mix"}
