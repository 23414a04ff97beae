"""A step: a function from settings and input artifacts to one new artifact."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, NamedTuple, TypeVar

from volano.core.artifact import Artifact
from volano.core.deletion import digest_of
from volano.core.engine import Engine, LocalEngine
from volano.core.files import json_digest
from volano.core.progress import Bar, progress
from volano.core.recipe import Section

S = TypeVar("S", bound=Section)
Inputs = Mapping[str, Artifact]
Device = Literal["auto", "cpu", "cuda"]  # what tensors lie on; auto: CUDA where there is one


class Entry(NamedTuple):
    """One file of the outside world. `key` does not depend on where the folder is mounted.

    A file of another machine has a `url`; its `sha256` is that of what is known of its version.
    `modified_ns` is when it was last written to; it bears no identity.
    """

    key: str
    path: Path
    bytes: int
    sha256: str
    url: str | None = None
    modified_ns: int | None = None


@dataclass(frozen=True)
class Listing:
    """What a step reads of the outside world: its identity, taken before it runs.

    `notes` say what was looked for and not found; they are shown, and bear identity too, as do the
    documents that were forgotten (see deletion).
    """

    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()

    def digest(self) -> str:
        """SHA-256 over keys and contents; paths bear no identity."""
        named = [[each.key, each.bytes, each.sha256] for each in self.entries]
        return json_digest([*named, *self.notes, *([list(self.forgotten)] * bool(self.forgotten))])

    def forgets(self, identifiers: Sequence[str], texts: Sequence[str]) -> list[bool]:
        """Which documents are forgotten ones, by their id or their text."""
        wanted = set(self.forgotten)
        return [
            bool(wanted) and (digest_of(name) in wanted or digest_of(text) in wanted)
            for name, text in zip(identifiers, texts, strict=True)
        ]


@dataclass
class Context:
    """What a running step is given besides settings and inputs."""

    folder: Path  # the artifact in the making; survives a kill, so finished shards are found again
    scratch: Path  # beside it; survives a kill too, never published
    seed: int
    workers: int = 0
    listing: Listing | None = None
    bill: dict[str, float] = field(default_factory=dict)
    silent: bool = False
    # Artifacts of the same step and inputs with other settings, newest first. What they hold may
    # spare work, never change what comes out.
    siblings: Callable[[], Sequence[Artifact]] = tuple

    runs_on: Engine | None = None  # default: this machine
    device: Device = "auto"  # for what computes with tensors (model/device.py)
    computed_on: str = ""  # for the bill: the device that the step has taken, if any

    @property
    def engine(self) -> Engine:
        """The engine that maps functions over shards."""
        return self.runs_on or LocalEngine(self.workers)

    def progress(self, title: str, total: float, unit: str) -> AbstractContextManager[Bar]:
        """A progress bar."""
        return progress(title, total, unit, silent=self.silent)


@dataclass(frozen=True)
class Step(Generic[S]):
    """One kind of work. `version` is raised whenever its output changes for equal inputs."""

    name: str
    kind: str  # the folder of the store, one of index.KINDS
    version: int
    section: type[S]
    run: Callable[[S, Inputs, Context], None]
    scan: Callable[[S], Listing] | None = None
    seeded: bool = False
    takes_documents: bool = False  # from the outside world, so that one can be forgotten
    on_device: bool = False  # computes with tensors, on the device that is asked for
