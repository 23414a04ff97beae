"""What a recipe has made: the newest artifact of every stage, by stage and version."""

from dataclasses import dataclass, field

from volano.core.artifact import Artifact
from volano.core.errors import StoreError, did_you_mean
from volano.core.store import Store

FIRST = 1


@dataclass
class Found:
    """The artifacts that the labels NAME/… stand for, by what follows the slash."""

    store: Store
    name: str
    stages: dict[str, Artifact] = field(default_factory=dict)

    def of(self, stage: str, version: int = FIRST) -> Artifact | None:
        """The stage's artifact of that version, if there is one."""
        return self.stages.get(stage if version == FIRST else f"{stage}-{version}")

    def versions(self, stage: str) -> dict[int, Artifact]:
        """Version → the stage's artifact, oldest first."""
        found = {}
        for name, artifact in self.stages.items():
            plain, version = split_version(name)
            if plain == stage:
                found[version] = artifact
        return dict(sorted(found.items()))

    def last(self, stage: str) -> Artifact | None:
        """The stage's artifact of the last version that has one."""
        return next(reversed(self.versions(stage).values()), None)

    def turns(self) -> list[int]:
        """The versions after the first that were begun."""
        return sorted({split_version(name)[1] for name in self.stages} - {FIRST})

    def ordered(self) -> list[tuple[str, Artifact]]:
        """Stages in the order of their making: none before what it was made from."""
        done: dict[str, Artifact] = {}
        begun: set[str] = set()

        def place(name: str) -> None:
            if name in begun or name not in self.stages:
                return
            begun.add(name)
            # By name, since artifacts of equal content share a digest.
            for parent in sorted(each["name"] for each in self.stages[name].parents.values()):
                place(parent.removeprefix(f"{self.name}/"))
            done[name] = self.stages[name]

        for name in sorted(self.stages, key=lambda name: (split_version(name)[1], name)):
            place(name)
        return list(done.items())

    def strangers(self) -> list[tuple[str, str]]:
        """(stage, input) where a stage was made from another artifact than now has the label."""
        found = []
        for name, artifact in self.stages.items():
            for parent in artifact.parents.values():
                recipe, _, stage = parent["name"].partition("/")
                now = self.stages.get(stage) if recipe == self.name else None
                if now is not None and now.digest != parent["digest"]:
                    found.append((name, stage))
        return sorted(set(found))


def find_stages(store: Store, name: str) -> Found:
    """What the labels of a recipe stand for. Raises StoreError where there are none."""
    labels = store.labels()
    stages = {
        label.partition("/")[2]: store.find(label)
        for label in labels
        if label.partition("/")[0] == name and (store.folder / labels[label]).is_dir()
    }
    if not stages:
        known = sorted({label.partition("/")[0] for label in labels})
        remedy = did_you_mean(name, known) if known else "The store is empty."
        raise StoreError(f"nothing was made under the name '{name}'", str(store.folder), remedy)
    return Found(store, name, _without_former_releases(stages))


def _without_former_releases(stages: dict[str, Artifact]) -> dict[str, Artifact]:
    # A version that the gate refuses is not released, and the label of one before it stays.
    kept = dict(stages)
    for name, artifact in stages.items():
        stage, version = split_version(name)
        aligned = stages.get("aligned" if version == FIRST else f"aligned-{version}")
        released = artifact.parents.get("checkpoint") if stage == "released" else None
        if aligned is not None and released is not None and released["digest"] != aligned.digest:
            del kept[name]
    return kept


def split_version(name: str) -> tuple[str, int]:
    """sft-2 → ("sft", 2); requested-preferences → ("requested-preferences", 1)."""
    stage, _, version = name.rpartition("-")
    return (stage, int(version)) if stage and version.isdigit() else (name, FIRST)
