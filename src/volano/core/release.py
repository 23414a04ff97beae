"""A release: an alias such as `production` that stands for one checkpoint, with all it stood for.

    STORE/releases/ALIAS.json    its history, oldest first: promotions, rollbacks, lettings-go

Nothing is ever taken out of the history. What the alias stands for now is the last promotion that
no rollback has undone; the checkpoints below it stay in the store, so that a rollback finds them,
until the alias lets go of them.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from volano.core.artifact import COMMIT, Artifact
from volano.core.errors import StoreError, did_you_mean
from volano.core.files import read_json, write_json
from volano.core.lease import lease

if TYPE_CHECKING:
    from volano.core.store import Store

FORMAT = 1
STANDS, GOES_BACK = "@{} stands for it", "@{} can go back to it"
PASSED_OVER = "passed over: it was deleted"
PRODUCTION = "production"
# forget: from then on no rollback goes behind what stood at that time.
Action = Literal["promote", "rollback", "forget"]
ALIAS = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class Promotion:
    """One line of an alias's history. `gates` is the report that judged the checkpoint, by path."""

    action: Action
    checkpoint: str  # path in the store
    name: str
    digest: str
    time: str
    reason: str
    gates: str | None = None


def promote(
    store: "Store", alias: str, checkpoint: Artifact, *, reason: str, gates: Artifact | None = None
) -> Promotion:
    """Let the alias stand for the checkpoint. Raises StoreError where it is none of this store."""
    if checkpoint.kind != "checkpoint":
        what = f"this is a {checkpoint.kind}, not a checkpoint"
        raise StoreError(what, checkpoint.name, "Name a checkpoint.")
    if not checkpoint.folder.is_relative_to(store.folder):
        remedy = "Import it first: only what lies in the store can be released."
        raise StoreError("lies outside the store", str(checkpoint.folder), remedy)
    judged = store.path_of(gates) if gates else None
    with _editing(store, alias) as history:
        history.append(_line("promote", store, checkpoint, reason, judged))
        return history[-1]


def rollback(store: "Store", alias: str) -> Promotion:
    """Let the alias stand for what it stood for before; what was deleted since is passed over.

    Raises StoreError where that is nothing.
    """
    if not release_history(store, alias):  # and no folder is made to say so
        raise StoreError("never promoted", f"@{alias}", "See `volano show`.")
    with _editing(store, alias) as history:
        standing = _standing(history)
        if len(standing) < 2:
            raise StoreError("nothing to go back to", f"@{alias}", f"See `volano show @{alias}`.")
        reason = f"back from {standing[-1].checkpoint}"
        for former in standing[-2::-1]:
            if _is_there(store, former):
                artifact = _artifact(store, alias, former)
                history.append(_line("rollback", store, artifact, reason, former.gates))
                return history[-1]
            history.append(replace(former, action="rollback", time=_now(), reason=PASSED_OVER))
        what = "all that it could go back to was deleted"
        raise StoreError(what, f"@{alias}", "Promote another: volano promote.")


def forget(store: "Store", alias: str) -> None:
    """Let the alias keep only what stands now: no rollback finds what stood before."""
    if len(_standing(release_history(store, alias))) < 2:
        return
    with _editing(store, alias) as history:
        reason = "what stood before was let go"
        history.append(replace(_standing(history)[-1], action="forget", time=_now(), reason=reason))


def released(store: "Store", alias: str) -> Artifact:
    """The checkpoint that the alias stands for. Raises StoreError where there is none, or it is
    gone."""
    standing = _standing(release_history(store, alias))
    if not standing:
        known = [f"@{each}" for each in aliases(store)]
        remedy = did_you_mean(f"@{alias}", known) if known else "Make one: volano promote."
        raise StoreError(f"no release '@{alias}'", str(store.folder), remedy)
    return _artifact(store, alias, standing[-1])


def current(store: "Store", alias: str) -> Promotion | None:
    """The promotion that stands now."""
    standing = _standing(release_history(store, alias))
    return standing[-1] if standing else None


def release_history(store: "Store", alias: str) -> list[Promotion]:
    """Promotions and rollbacks, oldest first; none where the alias was never used."""
    path = _path(store, alias)
    if not path.is_file():
        return []
    value = read_json(path)
    if value.get("format", 0) > FORMAT:
        what = f"written by a newer Volano (format {value['format']})"
        raise StoreError(what, str(path), "Upgrade Volano to read it.")
    return [Promotion(**each) for each in value["history"]]


def aliases(store: "Store") -> list[str]:
    """Every alias that was ever promoted."""
    return sorted(path.stem for path in (store.folder / "releases").glob("*.json"))


def held_by_releases(store: "Store") -> dict[str, set[str]]:
    """What holds artifacts: that a release stands for them, or can go back to them → their paths,
    gates included."""
    held: dict[str, set[str]] = {}
    for alias in aliases(store):
        standing = _standing(release_history(store, alias))
        held[STANDS.format(alias)] = _paths(standing[-1:])
        held[history_of(alias)] = _paths(standing[:-1])
    return held


def history_of(alias: str) -> str:
    """What holds the artifacts that the alias can go back to, as `held_by_releases` has it."""
    return GOES_BACK.format(alias)


def _paths(promotions: list[Promotion]) -> set[str]:
    found = {each.checkpoint for each in promotions}
    return found | {each.gates for each in promotions if each.gates}


def _standing(history: list[Promotion]) -> list[Promotion]:
    # A rollback's own line says what stands then; it is the former promotion over again.
    standing: list[Promotion] = []
    for each in history:
        if each.action == "rollback":
            standing.pop()
        elif each.action == "forget":
            standing = standing[-1:]
        else:
            standing.append(each)
    return standing


def _artifact(store: "Store", alias: str, promotion: Promotion) -> Artifact:
    if not _is_there(store, promotion):
        raise StoreError(
            f"stands for a checkpoint that was deleted ({promotion.checkpoint})",
            f"@{alias}",
            "Promote another, or go back: volano rollback.",
        )
    return Artifact.open(store.folder / promotion.checkpoint)


def _is_there(store: "Store", promotion: Promotion) -> bool:
    return (store.folder / promotion.checkpoint / COMMIT).is_file()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _line(
    action: Action,
    store: "Store",
    checkpoint: Artifact,
    reason: str,
    gates: str | None,
) -> Promotion:
    path = store.path_of(checkpoint)
    return Promotion(action, path, checkpoint.name, checkpoint.digest, _now(), reason, gates)


@contextmanager
def _editing(store: "Store", alias: str) -> Iterator[list[Promotion]]:
    path = _path(store, alias)
    with lease(path.with_name(f".{alias}.lease"), f"@{alias}"):
        history = release_history(store, alias)
        yield history
        plain: list[dict[str, Any]] = [asdict(each) for each in history]
        write_json(path, {"format": FORMAT, "history": plain})


def _path(store: "Store", alias: str) -> Path:
    if not ALIAS.fullmatch(alias):
        raise StoreError(
            "no name of a release", f"@{alias}", "Use small letters, digits, '-' and '_'."
        )
    return store.folder / "releases" / f"{alias}.json"
