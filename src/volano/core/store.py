"""The store: publishes artifacts atomically, finds them again, and never makes one twice.

    STORE/KIND/NAME-FINGERPRINT12/    an artifact
    STORE/labels/NAME.json            which artifact a name stands for: the newest made or reused
    STORE/releases/ALIAS.json         what @production stands for, and stood for (see release)
    STORE/deletions.json              what was erased from the feedback (see deletion)
    STORE/building/…                  what is being made; a killed run finds its finished parts here
    STORE/index.sqlite                built from the folders at any time

An artifact's fingerprint is what it was made from: the step and its version, the settings, the
content of its inputs, and the scanned outside world. Same fingerprint: reused. Anything else: a
new artifact beside the old.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from volano.core.artifact import (
    BILL,
    COMMIT,
    FORMAT,
    Artifact,
    content_digest,
    describe_files,
)
from volano.core.bill import Meter
from volano.core.deletion import forgotten
from volano.core.engine import Engine
from volano.core.errors import DataError, StoreError, VolanoError, did_you_mean
from volano.core.files import (
    explained,
    json_digest,
    read_json,
    remove_unfinished,
    sync,
    write_json,
)
from volano.core.index import Index, has_artifacts
from volano.core.lease import is_leased, lease
from volano.core.recipe import Section
from volano.core.step import Context, Device, Inputs, Listing, Step

STORE_FORMAT = 1
MARK = "volano-store.json"
HASHED = re.compile(r"-[0-9a-f]{4,}$")  # the end of an artifact's path
SITTINGS = "sittings.json"  # what the stopped sittings of an artifact in the making cost
S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class Made:
    """What `Store.make` gives: the artifact, and whether it was there already."""

    artifact: Artifact
    reused: bool


@dataclass(frozen=True)
class Order:
    """One step with its settings and inputs, ready to be made, and its identity."""

    step: Step[Any]
    section: Section
    inputs: Inputs
    name: str
    seed: int
    listing: Listing | None

    def identity(self) -> dict[str, Any]:
        """What decides the content. Equal identities have equal fingerprints."""
        return {
            "step": self.step.name,
            "version": self.step.version,
            "settings": self.section.identity(),
            "seed": self.seed if self.step.seeded else None,
            "listing": self.listing.digest() if self.listing else None,
            "parents": {name: parent.digest for name, parent in sorted(self.inputs.items())},
        }

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the identity."""
        return json_digest(self.identity())


class Store:
    """A folder of artifacts. `store["python-docs/curated"]` is the newest of that name."""

    def __init__(self, folder: Path | str) -> None:
        if re.match(r"[a-z][a-z0-9+.-]+:/", str(folder)):  # pathlib folds s3:// into s3:/
            raise StoreError(
                "a store behind a URL is not supported yet", str(folder), "Name a local folder."
            )
        self.folder = Path(folder).absolute()
        # An empty folder is left as it is until something is made in it.
        self.index = Index(self.folder) if self._is_store() else None

    def __getitem__(self, reference: str) -> Artifact:
        return self.find(reference)

    def order(
        self,
        step: Step[S],
        section: S,
        inputs: Inputs,
        *,
        name: str,
        seed: int = 0,
    ) -> Order:
        """The step as an order: its outside world scanned, its identity known."""
        listing = step.scan(section) if step.scan else None
        if listing is not None and step.takes_documents:
            listing = replace(listing, forgotten=forgotten(self.folder))
        return Order(step, section, inputs, name, seed, listing)

    def existing(self, order: Order) -> Artifact | None:
        """The artifact of that order, if it is there and whole."""
        artifact = self._present(order)
        return artifact if artifact is not None and artifact.damage() is None else None

    def make(
        self,
        order: Order,
        *,
        workers: int = 0,
        silent: bool = False,
        reuse: bool = True,
        engine: Engine | None = None,
        device: Device = "auto",
    ) -> Made:
        """The artifact of that order: reused, or made and published.

        Two runs that want the same artifact: one makes it, the other waits and reuses it. A run
        that was killed is taken up where it stopped.
        """
        found = self.existing(order) if reuse else None
        if found is not None:
            self._label(order.name, found)
            return Made(found, reused=True)
        self._create()
        building = self.building(order)
        with _os_errors(self.folder), lease(_lease_of(building), order.name):
            found = self.existing(order) if reuse else None
            if found is None:
                damaged = self._present(order) if reuse else None
                if damaged is not None:
                    where, damage = self.path_of(damaged), damaged.damage()
                    print(f"{where}: {damage}; it is made anew.", file=sys.stderr, flush=True)
                found = self._make(order, building, workers, silent, engine, device)
                made = Made(found, reused=False)
            else:
                made = Made(found, reused=True)
            self._label(order.name, found)
        return made

    def building(self, order: Order) -> Path:
        """Where the artifact of that order is in the making, or would be."""
        stem = f"{order.name.replace('/', '.')}-{order.fingerprint[:12]}"
        return self.folder / "building" / stem

    def find(self, reference: str) -> Artifact:
        """The artifact that a name, a path (with or without the kind that it begins with), @RELEASE
        or the start of a fingerprint stands for."""
        if reference.startswith("@"):
            from volano.core.release import released

            return released(self, reference[1:])
        path = Path(reference)
        if (path / COMMIT).is_file():
            return Artifact.open(path)
        if (self.folder / reference / COMMIT).is_file():
            return Artifact.open(self.folder / reference)
        if path.is_absolute() and not path.exists():
            raise StoreError("no artifact here", reference, "Check the path.")
        label = self.folder / "labels" / f"{reference}.json"
        target = _labelled(label)
        if target is not None and (self.folder / target / COMMIT).is_file():
            return Artifact.open(self.folder / target)
        artifacts = self.artifacts()
        found = [
            each
            for each in artifacts
            if each.fingerprint.startswith(reference) and len(reference) >= 6
        ]
        found += [
            each
            for each in artifacts
            if reference in (each.name, self.path_of(each).partition("/")[2])
        ]
        if found:
            return max(found, key=lambda each: each.folder.stat().st_mtime_ns)
        if HASHED.search(reference):  # a path with less of its hash, and nothing else left out
            shortened = re.compile(rf"([^/]+/)?{re.escape(reference)}[0-9a-f]*")
            begun = [each for each in artifacts if shortened.fullmatch(self.path_of(each))]
            if len(begun) == 1:
                return begun[0]
        known = sorted({*self.labels(), *(each.name for each in artifacts)})
        remedy = did_you_mean(reference, known) if known else "The store is empty."
        raise StoreError(f"no artifact '{reference}'", str(self.folder), remedy)

    def trace(self, document: str) -> list[Any]:
        """Every artifact and checkpoint that met a document; see lineage.trace_document."""
        from volano.core.lineage import trace_document

        return trace_document(self, document)

    def artifacts(self) -> list[Artifact]:
        """Every artifact, by path."""
        if self.index is None:
            return []
        self.index.refresh()
        return [Artifact(self.folder / path, meta) for path, meta in self.index.all()]

    def labels(self) -> dict[str, str]:
        """Name → path of the artifact it stands for."""
        root = self.folder / "labels"
        found = {}
        for path in sorted(root.rglob("*.json")):
            target = _labelled(path)
            if target is not None:
                found[path.relative_to(root).with_suffix("").as_posix()] = target
        return found

    def unlabelled(self) -> list[tuple[Artifact, list[str]]]:
        """Artifacts that no label stands for, nor anything made from them, each with what else
        holds it: a release, in words."""
        from volano.core.release import held_by_releases

        artifacts = self.artifacts()
        named = self._needed(artifacts, set(self.labels().values()))
        held = {
            why: self._needed(artifacts, paths) for why, paths in held_by_releases(self).items()
        }
        return [
            (each, [why for why, folders in held.items() if each.folder in folders])
            for each in artifacts
            if each.folder not in named
        ]

    def _needed(self, artifacts: list[Artifact], paths: set[str]) -> set[Path]:
        """Folders of the artifacts at these paths, and of all that they were made from."""
        by_digest: dict[str, list[Artifact]] = {}
        for each in artifacts:
            by_digest.setdefault(each.digest, []).append(each)
        stack = [each for each in artifacts if self.path_of(each) in paths]
        kept: set[Path] = set()
        while stack:
            artifact = stack.pop()
            if artifact.folder not in kept:
                kept.add(artifact.folder)
                for parent in artifact.parents.values():
                    stack.extend(by_digest.get(parent["digest"], []))
        return kept

    def unfinished(self) -> list[Path]:
        """Folders of runs that were stopped and that nobody has taken up."""
        folders = (self.folder / "building").glob("*/")
        return [each for each in sorted(folders) if not is_leased(_lease_of(each))]

    def delete(self, folder: Path) -> None:
        """Remove an artifact or an unfinished folder; the commit goes first."""
        with _os_errors(folder):
            (folder / COMMIT).unlink(missing_ok=True)
            shutil.rmtree(folder)
            if folder.parent == self.folder / "building":
                _lease_of(folder).unlink(missing_ok=True)

    def path_of(self, artifact: Artifact) -> str:
        """The artifact's path inside the store."""
        if artifact.folder.is_relative_to(self.folder):
            return artifact.folder.relative_to(self.folder).as_posix()
        return str(artifact.folder)

    def _present(self, order: Order) -> Artifact | None:
        if self.index is None:
            return None
        self.index.refresh()
        path = self.index.find(order.fingerprint)
        return None if path is None else Artifact.open(self.folder / path)

    def _siblings(self, order: Order) -> list[Artifact]:
        identity = order.identity()
        alike = [
            each
            for each in self.artifacts()
            if all(
                each.meta["identity"][key] == identity[key]
                for key in ("step", "version", "listing", "parents")
            )
            and each.damage() is None
        ]
        return sorted(alike, key=lambda each: -each.folder.stat().st_mtime_ns)

    def _make(
        self,
        order: Order,
        building: Path,
        workers: int,
        silent: bool,
        engine: Engine | None,
        device: Device,
    ) -> Artifact:
        folder, scratch = building / "artifact", building / "scratch"
        folder.mkdir(parents=True, exist_ok=True)
        scratch.mkdir(exist_ok=True)
        meter = Meter(building / SITTINGS)
        context = Context(
            folder,
            scratch,
            order.seed,
            workers,
            order.listing,
            silent=silent,
            siblings=lambda: self._siblings(order),
            runs_on=engine,
            device=device,
        )
        remove_unfinished(folder)  # of a killed run; below, of killed workers
        try:
            order.step.run(order.section, order.inputs, context)
        except BaseException:
            with suppress(OSError, VolanoError):  # a full disk is told of by what failed on it
                meter.stop()
            raise
        remove_unfinished(folder)
        files = describe_files(folder)
        if not files:
            raise DataError("nothing came out", order.name, "This is a bug in the step.")
        meta = {
            "format": FORMAT,
            "kind": order.step.kind,
            "name": order.name,
            "fingerprint": order.fingerprint,
            "digest": content_digest(files),
            "identity": order.identity(),
            "parents": {name: _described(parent) for name, parent in order.inputs.items()},
            "files": files,
            "provenance": _provenance(),
        }
        computed_on = {"device": context.computed_on} if context.computed_on else {}
        write_json(folder / BILL, {**meter.read(), **computed_on, **context.bill})
        for path in folder.rglob("*"):
            sync(path)
        write_json(folder / COMMIT, meta)
        target = self.folder / order.step.kind / f"{order.name}-{order.fingerprint[:12]}"
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():  # damaged, or it would have been reused
            shutil.rmtree(target)
        sync(folder)
        folder.rename(target)
        sync(target.parent)
        shutil.rmtree(building)
        return Artifact.open(target)

    def _label(self, name: str, artifact: Artifact) -> None:
        path = self.folder / "labels" / f"{name}.json"
        if _labelled(path) != self.path_of(artifact):
            write_json(path, {"artifact": self.path_of(artifact)})

    def _create(self) -> None:
        mark = self.folder / MARK
        if self.index is None or not mark.is_file():
            with _os_errors(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                if not os.access(self.folder, os.W_OK):
                    raise StoreError(
                        "not writable", str(self.folder), "Name a writable folder with --store."
                    )
                write_json(mark, {"format": STORE_FORMAT})
            self.index = Index(self.folder)

    def _is_store(self) -> bool:
        # Raises StoreError where it is one that we cannot read, or a folder of other things.
        mark = self.folder / MARK
        if mark.is_file():
            try:
                content = read_json(mark)
            except StoreError as problem:
                raise StoreError(
                    problem.what,
                    str(mark),
                    "Delete this file alone, and the next run writes it anew; what is in the store "
                    "stays.",
                ) from None
            version = content.get("format", 0) if isinstance(content, dict) else 0
            if version > STORE_FORMAT:
                raise StoreError(
                    f"written by a newer Volano (store format {version}, known: {STORE_FORMAT})",
                    str(self.folder),
                    "Upgrade Volano, or name another folder with --store.",
                )
            return True
        if self.folder.exists() and not self.folder.is_dir():
            raise StoreError("this is no folder", str(self.folder), "Name a folder with --store.")
        if not self.folder.is_dir():
            return False
        if has_artifacts(self.folder):
            return True  # the mark was lost; the artifacts are the store
        others = [each.name for each in self.folder.iterdir() if not _is_ours(each.name)]
        if others:
            raise StoreError(
                f"this folder holds other things ({min(others)}, …)",
                str(self.folder),
                "Name an empty or a new folder with --store.",
            )
        return False


def _is_ours(name: str) -> bool:
    # Left by a run that was killed before its first artifact, by a server, by mkfs, or by an
    # ablation that was fitted to some minutes.
    ours = {"building", "fitted", "index.sqlite", "lost+found"}
    return name in ours or name.startswith((f".{MARK}.", "feedback.sqlite", "deletions.json"))


def _lease_of(building: Path) -> Path:
    # Not with_suffix: a recipe called "python-3.12" has a suffix of its own.
    return building.with_name(f"{building.name}.lease")


def _labelled(label: Path) -> str | None:
    # A damaged label is as good as none: the next run writes it again.
    try:
        return str(read_json(label)["artifact"])
    except (StoreError, KeyError, TypeError):
        return None


def _described(parent: Artifact) -> dict[str, str]:
    return {
        "kind": parent.kind,
        "name": parent.name,
        "fingerprint": parent.fingerprint,
        "digest": parent.digest,
    }


def _provenance() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in ("volano", "numpy", "pyarrow", "numba", "tokenizers", "torch"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@contextmanager
def _os_errors(where: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise explained(problem, Path(problem.filename or where)) from problem
