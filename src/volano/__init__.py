"""Volano: raw text to an aligned model, and its use back into better data.

    store = volano.open("runs")
    store["python-docs/curated"].to_arrow(columns=["id", "text"])
    volano.curate(["crawl/*.jsonl"], out="clean/", quality={"rules": ["gopher_repetition"]})

A phase is a package (`volano.curate.step`) and can be called as well (`volano.curate(…)`).
Importing this imports nothing heavy.
"""

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from volano.core.store import Store

# Read when torch loads OpenMP. By default its idle threads spin for milliseconds on a core that
# another process needs: two trainings at once are then eight times as slow. With this they take
# an eighth longer than with 1,000 spins, and one alone a seventh less (docs/log.md). A value that
# the user has set stays.
IDLE_SPINS = "3000"
os.environ.setdefault("GOMP_SPINCOUNT", IDLE_SPINS)

__all__ = [
    "ablate",
    "align",
    "collect",
    "curate",
    "evaluate",
    "finetune",
    "open",
    "pretrain",
    "run",
]
PHASES = ("collect", "curate", "pretrain", "finetune", "align", "evaluate")


def open(folder: "Path | str" = "runs") -> "Store":  # noqa: A001  (volano.open reads well)
    """The store in a folder; it need not exist yet."""
    return import_module("volano.core.store").Store(folder)  # type: ignore[no-any-return]


def run(recipe: str, *overrides: str, store: "Path | str" = "runs") -> Any:
    """Run a recipe (a shipped name or a file), its turn included: the outcome of each stage.

    volano.run("tiny/python-docs", "pretrain.tokens=50k", store="runs")
    """
    loaded = import_module("volano.study.recipe").load_recipe(recipe, overrides)
    return import_module("volano.study.whole").run_whole(loaded, open(store))[0]


def ablate(recipe: str, *settings: str, store: "Path | str" = "runs") -> Any:
    """Compare arms of a recipe, as `volano ablate` does: the artifact with the verdicts.

    volano.ablate("tiny/python-docs", "curate.dedup.minhash=on,off", "ablate.seeds=3")
    """
    arms = import_module("volano.study.axes").arms_of(recipe, settings)
    module = import_module("volano.study.ablation")
    return module.ablate(module.plan_ablation(arms), open(store)).report


class _Phase(ModuleType):
    """A phase's package that can be called: `volano.curate(data, out=…, **settings)`."""

    def __call__(
        self,
        data: "list[str] | str" = (),  # type: ignore[assignment]
        *,
        checkpoint: str | None = None,
        out: "Path | str | None" = None,
        store: "Path | str" = "runs",
        name: str = "mine",
        **settings: Any,
    ) -> Any:
        """Run the phase on files, folders or an artifact; the artifact it made.

        Keyword arguments are the keys of the phase's recipe section, as nested dicts.
        """
        phase = self.__name__.rpartition(".")[2]
        outcomes = import_module("volano.study.single").run_phase(
            phase,
            open(store),
            data=[data] if isinstance(data, str) else list(data),
            checkpoint=checkpoint,
            settings=settings,
            name=name,
            out=out,
        )
        return outcomes[-1].artifact


class _Package(ModuleType):
    """Makes each phase callable in the moment when Python binds it as an attribute."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in PHASES and isinstance(value, ModuleType):
            value.__class__ = _Phase
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name in PHASES:
            return import_module(f"volano.{name}")
        if name == "__version__":
            from importlib.metadata import version

            return version("volano")
        raise AttributeError(f"module 'volano' has no attribute '{name}'")


sys.modules[__name__].__class__ = _Package
