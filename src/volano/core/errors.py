"""What Volano says when it cannot go on. Each message: where, what, and what to do.

VolanoError          the command line prints it without a traceback; exit code 2, the user's mistake
├── RecipeError      a recipe names something unknown, or a value out of range
├── DataError        a column, shard or record is not what the step reads
├── StoreError       a store or artifact is not there, not ours, or not writable
├── MissingExtra     an optional engine is not installed
├── RunFailed        exit code 1: diverged, disk full, worker dead
└── GateRefused      exit code 3: the new model is not better
"""

from collections.abc import Iterable
from difflib import get_close_matches

MOST_NAMES = 20  # in one message; more would bury it


class VolanoError(Exception):
    """What the user can mend or must know. `what` is a clause, `remedy` a whole sentence."""

    exit_code = 2

    def __init__(self, what: str, where: str, remedy: str) -> None:
        # Exception keeps all three, or the error could not be pickled back from a worker process.
        super().__init__(what, where, remedy)
        self.what, self.where, self.remedy = what, where, remedy

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. {self.remedy}"


class RecipeError(VolanoError): ...


class DataError(VolanoError): ...


class StoreError(VolanoError): ...


class MissingExtra(VolanoError, ImportError): ...


class RunFailed(VolanoError):
    exit_code = 1


class GateRefused(VolanoError):
    exit_code = 3


def unknown_key(
    key: str, where: str, known: Iterable[str], elsewhere: Iterable[str] = ()
) -> RecipeError:
    """The error for a key that no section reads, with the nearest one that is read. `elsewhere`:
    the same name at other places, the likeliest first, for when none of the known is near."""
    known, other = list(known), next(iter(elsewhere), None)
    if other is not None and not get_close_matches(key, known, n=1):
        return RecipeError(f"unknown key '{key}'", where, f"Did you mean '{other}'?")
    return RecipeError(f"unknown key '{key}'", where, did_you_mean(key, known))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy: the nearest of the known names, or the first of them where none is near."""
    known = list(known)
    if not known:
        return "There is none to choose from."
    nearest = get_close_matches(name, known, n=1)
    if nearest:
        return f"Did you mean '{nearest[0]}'?"
    others = len(known) - MOST_NAMES
    rest = f" and {others} more" if others > 0 else ""
    return f"Known: {', '.join(known[:MOST_NAMES])}{rest}."
