"""Scripts that start a recipe on many processes: for Slurm, or to be run on each machine by hand.

torchrun does the work: it finds the machines (rendezvous), starts the processes, and starts them
again where one is lost; the run then goes on from the state kept last. What can be known to be
impossible is refused here, and not by a job that has waited for its machines.
"""

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from volano.core.errors import RecipeError
from volano.study.recipe import Recipe
from volano.study.run import check_parallel
from volano.study.wheel import stages_of

PORT = 29_400  # torchrun's own choice
# What sbatch takes: minutes, with hours before or seconds behind, and days before a "-".
TIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}|UNLIMITED|INFINITE")
WORD = re.compile(r"[\w.,@+-]+")  # one line of a script holds it as it is
WARNING_SECONDS = 120  # before the end of a job's time: enough to keep a state


class Machines(NamedTuple):
    """Where a run goes."""

    nodes: int = 1
    processes: int = 1  # on each of them
    restarts: int = 3  # of all processes, after one is lost
    endpoint: str | None = None  # HOST:PORT of the node that the others meet at
    time: str | None = None  # of a Slurm job, as sbatch takes it
    partition: str | None = None
    account: str | None = None
    gpus: bool = False  # one for each process
    cpus: int | None = None  # for each process


class Command(NamedTuple):
    """What every process runs."""

    recipe: str
    overrides: Sequence[str]
    store: Path
    only: str | None = None

    def words(self) -> list[str]:
        """The command behind `python -m`, with paths that hold in any folder."""
        path = Path(self.recipe)
        recipe = str(path.resolve()) if path.suffix in {".yaml", ".yml"} else self.recipe
        words = ["volano", "run", recipe, *self.overrides, "--store", str(self.store.resolve())]
        return [*words, "--only", self.only] if self.only is not None else words


def check(recipe: Recipe, machines: Machines, *, slurm: bool) -> None:
    """Raise RecipeError where the recipe cannot be shared by so many processes, or where the
    machines could not meet."""
    check_parallel(stages_of(recipe), recipe, started=machines.nodes * machines.processes)
    if machines.nodes > 1 and not slurm and machines.endpoint is None:
        raise RecipeError(
            f"{machines.nodes} machines have to meet somewhere",
            "--endpoint",
            f"Name the first of them, as --endpoint HOST:{PORT}; with --slurm it is found.",
        )
    if machines.time is not None and not TIME.fullmatch(machines.time):
        what, remedy = (
            f"no time: '{machines.time}'",
            "Write it as 24:00:00, 2-12:00 or 90 (minutes).",
        )
        raise RecipeError(what, "--time", remedy)
    for name, value in (("--partition", machines.partition), ("--account", machines.account)):
        if value is not None and not WORD.fullmatch(value):
            raise RecipeError(f"no name: '{value}'", name, "Write it as Slurm lists it.")
    if machines.endpoint is not None:
        host, colon, port = machines.endpoint.rpartition(":")
        if not (host and colon and port.isdigit() and 0 < int(port) < 1 << 16):
            raise RecipeError(
                f"no address: '{machines.endpoint}'", "--endpoint", f"Write it as HOST:{PORT}."
            )


def script(recipe: Recipe, command: Command, machines: Machines, *, slurm: bool) -> str:
    """The script, for bash."""
    torchrun = [sys.executable, "-m", "volano.train.torchrun"]
    torchrun += [f"--nnodes={machines.nodes}", f"--nproc-per-node={machines.processes}"]
    torchrun += [f"--max-restarts={machines.restarts}", "--rdzv-backend=c10d"]
    run = ["-m", *command.words()]
    if slurm:
        meeting = ['--rdzv-id="$SLURM_JOB_ID"', f'--rdzv-endpoint="$first:{PORT}"']
        if machines.endpoint is not None:
            meeting[1] = f"--rdzv-endpoint={shlex.quote(machines.endpoint)}"
        started = ["srun", "--kill-on-bad-exit=1", *torchrun]
        head = [
            *_sbatch(recipe, machines),
            "set -euo pipefail",
            'first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        ]
    else:
        endpoint = machines.endpoint or "localhost:0"
        meeting = [f"--rdzv-id={shlex.quote(recipe.name)}"]
        meeting += [f"--rdzv-endpoint={shlex.quote(endpoint)}"]
        started = ["exec", *torchrun]
        where = "on each machine" if machines.nodes > 1 else "here"
        head = [f"# {_says(recipe, machines)}: to be run {where}.", "set -euo pipefail"]
    folder = f"cd {shlex.quote(str(Path.cwd()))}"
    last = " ".join([*map(shlex.quote, started), *meeting, *map(shlex.quote, run)])
    return "\n".join(["#!/usr/bin/env bash", *head, folder, last]) + "\n"


def _sbatch(recipe: Recipe, machines: Machines) -> list[str]:
    asked = {
        "job-name": recipe.name,
        "nodes": machines.nodes,
        "ntasks-per-node": 1,  # torchrun, which starts the processes of its node
        "cpus-per-task": machines.cpus and machines.cpus * machines.processes,
        "gpus-per-node": machines.processes if machines.gpus else None,
        "time": machines.time,
        "partition": machines.partition,
        "account": machines.account,
        # The state is kept when the time is nearly up, and a job that was pushed out comes again.
        "signal": f"TERM@{WARNING_SECONDS}",
        "open-mode": "append",
    }
    lines = [f"#SBATCH --{name}={value}" for name, value in asked.items() if value is not None]
    return [f"# {_says(recipe, machines)}: sbatch THIS_FILE", *lines, "#SBATCH --requeue"]


def _says(recipe: Recipe, machines: Machines) -> str:
    nodes = f"{machines.nodes} nodes of " if machines.nodes > 1 else ""
    plural = "es" if machines.processes > 1 else ""
    return f"{recipe.name} on {nodes}{machines.processes} process{plural}"
