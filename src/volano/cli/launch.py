"""`volano launch`: the script that starts a recipe on many processes or machines."""

from pathlib import Path
from typing import Annotated

import typer

from volano.cli.run import DEFAULT_STORE, StoreOption


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command()(launch)


def launch(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name, or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings, such as pretrain.parallel.shard=8.")
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", min=1, help="On each machine; one for each GPU.")
    ] = 1,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Machines.")] = 1,
    slurm: Annotated[bool, typer.Option("--slurm", help="A script for sbatch.")] = False,
    endpoint: Annotated[
        str | None,
        typer.Option("--endpoint", help="HOST:PORT of the machine that the others meet at."),
    ] = None,
    max_restarts: Annotated[
        int, typer.Option("--max-restarts", min=0, help="Of all processes, after one is lost.")
    ] = 3,
    gpus: Annotated[bool, typer.Option("--gpus", help="Slurm: one GPU for each process.")] = False,
    cpus: Annotated[
        int | None, typer.Option("--cpus", min=1, help="Slurm: cores for each process.")
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", help="Slurm: the job's time, such as 24:00:00.")
    ] = None,
    partition: Annotated[str | None, typer.Option("--partition", help="Slurm.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="Slurm.")] = None,
    only: Annotated[
        str | None, typer.Option("--only", help="Make one phase; the rest must exist.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write it to; without: to the screen.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write the script that starts a recipe on many processes: with torchrun, for Slurm or by hand.

    Lost processes are started again, up to --max-restarts times; the run goes on from the state
    kept last. Several machines need a store that all of them share.
    """
    from volano.core.errors import RecipeError
    from volano.study.launch import Command, Machines, check, script
    from volano.study.recipe import load_recipe

    asked = {"--gpus": gpus, "--cpus": cpus, "--time": time}
    asked |= {"--partition": partition, "--account": account}
    unread = [name for name, value in asked.items() if value and not slurm]
    if unread:
        raise RecipeError("is for a Slurm job", unread[0], "Add --slurm, or leave it out.")
    settings = load_recipe(recipe, overrides or [])
    machines = Machines(
        nodes, processes, max_restarts, endpoint, time, partition, account, gpus, cpus
    )
    check(settings, machines, slurm=slurm)
    written = script(settings, Command(recipe, overrides or [], store, only), machines, slurm=slurm)
    if out is None:
        typer.echo(written, nl=False)
        return
    from volano.core.files import atomic_path

    with atomic_path(out) as unfinished:
        unfinished.write_text(written, "utf-8")
        unfinished.chmod(0o755)
