"""What an ablation left in the store: each trial with its measurements, its model and their origin.

The verdicts name the measured reports of their trials, those name the base model, and that what it
was made of; so a page is made from them alone, at any later time.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from volano.core.artifact import Artifact
from volano.core.errors import StoreError
from volano.core.report import Report
from volano.core.store import Store
from volano.pretrain.rereading import epochs_in
from volano.study.ablation_step import JUDGE

AT = " @ "  # between a metric and the size at which it was measured
VERDICTS, TOKENS = "verdicts", "tokens"
WHOLE = 1.0  # share of an arm's tokens; the trials of a smaller one serve the signal check
SHARE = "share"
STAGE = re.compile(r"^(?P<name>.*) \((?P<stage>sft|aligned|final)\)$")


class Metric(NamedTuple):
    """The name of a metric in the verdicts, taken apart: bits_per_byte.code (sft) @ 1M parameters.
    Domain and size may be "", and so is the stage of a base model."""

    name: str
    family: str
    domain: str
    stage: str
    size: str

    @property
    def plain(self) -> str:
        """Its name without the size."""
        return self.name.removesuffix(f"{AT}{self.size}") if self.size else self.name


@dataclass(frozen=True)
class FoundTrial:
    """An arm with a seed, trained on a share of the arm's tokens. `behind` is all that its
    measurements were made from, the nearest first; empty where the trial failed or its artifacts
    were deleted."""

    arm: str
    size: str
    seed: int
    share: float
    failure: str
    measured: tuple[Artifact, ...]
    behind: tuple[Artifact, ...]

    @property
    def name(self) -> str:
        """The arm, with what else tells its trials from others of the arm but for the seed."""
        part = f"{self.share:g} of the tokens" if self.share < WHOLE else ""
        return ", ".join(filter(None, [self.arm, self.size, part]))

    @property
    def base(self) -> Artifact | None:
        """The base model; those of later stages were made from it, and a finished one of none."""
        models = [each for each in self.behind if each.kind == "checkpoint"]
        trained = [each for each in models if TOKENS in each.parents]
        return next(iter(trained or [each for each in models if not each.parents]), None)

    @property
    def model(self) -> Artifact | None:
        """The last model that was made: the base model, or what was made of it."""
        models = [each for each in self.behind if each.kind == "checkpoint"]
        read = {parent["digest"] for each in models for parent in each.parents.values()}
        return next((each for each in models if each.digest not in read), None)

    @property
    def tokens(self) -> Artifact | None:
        """What the model was trained on, packed."""
        return self._parent(self.base, TOKENS)

    @property
    def corpus(self) -> Artifact | None:
        """The documents that were packed."""
        return self._parent(self.tokens, "documents")

    @property
    def epochs(self) -> float:
        """How often the model read the text that it read most often; 0 where that is not known."""
        return max(self.epochs_by_kind.values(), default=0.0)

    @property
    def epochs_by_kind(self) -> Mapping[str, float]:
        """Kind → how often the model read it."""
        return {} if self.base is None else epochs_in(self.base.bill())

    @property
    def mixes(self) -> bool:
        """Whether kinds are read more or less often than they are there."""
        settings = {} if self.base is None else self.base.meta["identity"]["settings"]
        return bool(settings.get("mixture") or settings.get("curriculum"))

    @cached_property
    def training(self) -> pa.Table | None:
        """The record of the model's training, a row per step, where it has one."""
        path = None if self.base is None else self.base.folder / "metrics.parquet"
        return pq.read_table(path) if path is not None and path.is_file() else None

    @property
    def tokens_read(self) -> int:
        """Tokens that the model was trained on; 0 where that is not known."""
        table = self.training
        if table is None or "tokens" not in table.column_names:
            return 0
        return sum(table["tokens"].to_pylist())

    def _parent(self, of: Artifact | None, key: str) -> Artifact | None:
        parent = {} if of is None else of.parents.get(key, {})
        same = [each for each in self.behind if each.fingerprint == parent.get("fingerprint")]
        same += [each for each in self.behind if each.digest == parent.get("digest")]
        return same[0] if same else None


@dataclass(frozen=True)
class FoundAblation:
    """An ablation, in the order of its arms; the first is the one that others are compared with.
    `signalling` are trials on a part of the tokens, which no arm is judged by."""

    store: Store
    verdicts: Artifact
    trials: tuple[FoundTrial, ...]
    signalling: tuple[FoundTrial, ...] = ()

    @cached_property
    def report(self) -> Report:
        """Means, comparisons, failures, values."""
        return self.verdicts.report()

    @property
    def name(self) -> str:
        """Of the ablation."""
        return self.verdicts.name.removesuffix(f"/{VERDICTS}")

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(dict.fromkeys(self.report.extra["arms"]))

    @cached_property
    def sizes(self) -> tuple[str, ...]:
        """Sizes of the model; one that is "" where there are not several."""
        return tuple(dict.fromkeys(each.size for each in self.trials)) or ("",)

    def letter(self, arm: str) -> str:
        """A for the first arm, B for the next …, AA after Z."""
        return letter_of(self.arms.index(arm))

    def of(self, arm: str, size: str | None = None) -> list[FoundTrial]:
        """The trials of an arm whose model is in the store, by seed."""
        found = [
            each
            for each in self.trials
            if each.arm == arm and size in {None, each.size} and each.base is not None
        ]
        return sorted(found, key=lambda each: (self.sizes.index(each.size), each.seed))

    def metric(self, name: str) -> Metric:
        """A metric's name, taken apart."""
        plain, at, size = name.rpartition(AT)
        if not at or size not in self.sizes:
            plain, size = name, ""
        later = STAGE.match(plain)
        family, _, domain = (later["name"] if later else plain).partition(".")
        return Metric(name, family, domain, later["stage"] if later else "", size)

    @cached_property
    def _units(self) -> Mapping[str, str]:
        measured = [each for trial in self.trials for each in trial.measured]
        return {each.name: each.unit for found in measured for each in found.report().measurements}

    def unit(self, metric: Metric) -> str:
        """Of a metric, as the trials' own measurements have it; "" where it is not known."""
        return self._units.get(".".join(filter(None, [metric.family, metric.domain])), "")

    @cached_property
    def greyed(self) -> Mapping[str, list[str]]:
        """Metric without its size → in what its signal check failed; those that passed are not in
        it."""
        found: dict[str, list[str]] = {}
        for name, each in self.report.extra.get("signal", {}).items():
            if each["fails"]:
                found.setdefault(self.metric(name).plain, []).extend(each["fails"])
        return found


def verdicts_named(store: Store, reference: str) -> Artifact | None:
    """The verdicts that a reference means: their label or path, or the name of the ablation. None
    where it means something else, or nothing."""
    for name in (f"{reference}/{VERDICTS}", reference):
        try:
            found = store.find(name)
        except StoreError:
            continue
        if is_verdicts(found):
            return found
    return None


def is_verdicts(artifact: Artifact) -> bool:
    """Whether an artifact is the report of an ablation."""
    return artifact.kind == JUDGE.kind and artifact.meta["identity"]["step"] == JUDGE.name


def find_ablation(store: Store, verdicts: Artifact) -> FoundAblation:
    """The ablation that some verdicts are of. Raises StoreError where they are none."""
    if not is_verdicts(verdicts):
        what = f"this is a {verdicts.kind}, not the verdicts of an ablation"
        raise StoreError(what, verdicts.name, "Name NAME-ablation/verdicts.")
    shelf = _Shelf(store.artifacts())
    measured: dict[str, list[Artifact]] = {}
    for key, parent in sorted(verdicts.parents.items()):
        artifact = shelf.find(parent)
        if artifact is not None:
            # A trial has several measurements: trial-0000.domains, trial-0000.memorisation …
            measured.setdefault(_trial_of(key), []).append(artifact)
    trials = []
    for key, said in sorted(verdicts.meta["identity"]["settings"]["trials"].items()):
        reports = tuple(measured.get(key, ()))
        trials.append(
            FoundTrial(
                str(said["arm"]),
                str(said["size"]),
                int(said["seed"]),
                float(said.get("share", WHOLE)),
                str(said["failure"]),
                reports,
                shelf.behind(reports),
            )
        )
    whole, part = ([each for each in trials if (each.share < WHOLE) == b] for b in (False, True))
    return FoundAblation(store, verdicts, tuple(whole), tuple(part))


def _trial_of(key: str) -> str:
    return key.partition(".")[0]


class _Shelf:
    """Artifacts by what they were made from, and by what they hold."""

    def __init__(self, artifacts: Iterable[Artifact]) -> None:
        self.by_fingerprint: dict[str, Artifact] = {}
        self.by_digest: dict[str, Artifact] = {}
        for each in artifacts:
            self.by_fingerprint[each.fingerprint] = each
            self.by_digest.setdefault(each.digest, each)

    def find(self, parent: Mapping[str, Any]) -> Artifact | None:
        """That artifact, or one of the same content: what was deleted may be there twice."""
        found = self.by_fingerprint.get(parent["fingerprint"])
        return found or self.by_digest.get(parent["digest"])

    def behind(self, artifacts: Iterable[Artifact]) -> tuple[Artifact, ...]:
        """All that these were made from, the nearest first."""
        found: dict[str, Artifact] = {}
        waiting = [each for artifact in artifacts for each in artifact.parents.values()]
        while waiting:
            artifact = self.find(waiting.pop(0))
            if artifact is not None and artifact.fingerprint not in found:
                found[artifact.fingerprint] = artifact
                waiting += artifact.parents.values()
        return tuple(found.values())


def letter_of(place: int) -> str:
    """A to Z, then AA and so on."""
    above, letter = divmod(place, 26)
    return (letter_of(above - 1) if above else "") + chr(ord("A") + letter)
