"""`volano serve`: a checkpoint behind OpenAI's interface, with a page to chat and rate."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from volano import IDLE_SPINS
from volano.cli.run import DEFAULT_STORE, DeviceOption, StoreOption

KEYS_VARIABLE = "VOLANO_KEYS"
SPINS = "10000"  # between the steps of an answer lies more than between those of a training
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command()(serve)


def serve(
    checkpoints: Annotated[
        list[str], typer.Argument(help="A checkpoint, or @production; a second one to compare.")
    ],
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")
    ] = 8000,
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    key: Annotated[
        list[str], typer.Option("--key", help=f"A key that opens it; also ${KEYS_VARIABLE}.")
    ] = [],  # noqa: B006  (typer reads it, nobody writes it)
    slots: Annotated[int, typer.Option("--slots", min=1, max=256, help="Answers at a time.")] = 8,
    waiting: Annotated[int, typer.Option("--waiting", min=1, help="Requests that may wait.")] = 256,
    context: Annotated[
        int,
        typer.Option(
            "--context",
            min=0,
            help="Tokens of prompt and answer together; 0: the model's, at most 2,048.",
        ),
    ] = 0,
    max_body_bytes: Annotated[
        int, typer.Option("--max-body-bytes", min=1, help="Largest body of a request.")
    ] = 1_000_000,
    requests_per_minute: Annotated[
        int, typer.Option("--requests-per-minute", min=0, help="Per key or address; 0: any.")
    ] = 0,
    database_url: Annotated[
        str, typer.Option("--database-url", help="Where feedback goes; default: in the store.")
    ] = "",
    device: DeviceOption = "auto",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Serve a checkpoint at /v1 as OpenAI does, and keep what people say of its answers."""
    from volano.core.errors import StoreError
    from volano.core.feedback import default_database
    from volano.core.store import Store
    from volano.study.serving import joined, require_extra

    require_extra()
    if os.environ.get("GOMP_SPINCOUNT") == IDLE_SPINS:  # and not what the user has set
        os.environ["GOMP_SPINCOUNT"] = SPINS
    listed = [each for each in os.environ.get(KEYS_VARIABLE, "").split(",") if each]
    for where, given in (("--key", key), (f"${KEYS_VARIABLE}", listed)):
        if not all(each.strip() for each in given):  # who shows no key would show this one
            raise StoreError("a key is empty or blank", where, "Give one that nobody guesses.")
    keys = [*key, *listed]
    if host not in LOOPBACK and not keys:
        raise StoreError(
            "open to others, and without a key", f"--host {host}", "Give one: --key KEY."
        )
    from volano.feedback.database import Database
    from volano.model.device import require_devices
    from volano.serve.limits import LOOPBACK as NAMES
    from volano.serve.limits import Limits
    from volano.serve.served import ServedModel
    from volano.serve.server import listen, run

    require_devices(device, 1)
    opened = Store(store)
    found = [_resolve(opened, reference) for reference in dict.fromkeys(checkpoints)]
    socket = listen(host, port)  # before anything is loaded: a taken port costs no minute
    compute = ThreadPoolExecutor(1, "compute")
    try:
        models = [
            ServedModel(
                name,
                folder,
                checkpoint=path,
                digest=digest,
                slots=slots,
                waiting=waiting,
                context=context,
                compute=compute,
                device=device,
            )
            for name, folder, path, digest in found
        ]
        database = Database.open(database_url or default_database(opened.folder))
        try:
            database.require_writable()
            limits = Limits(max_body_bytes, requests_per_minute, NAMES if host in LOOPBACK else ())
            application = joined(models, database, keys=keys, limits=limits)
            address = f"[{host}]" if ":" in host else host
            _announce_cut(models)
            _announce(f"http://{address}:{socket.getsockname()[1]}", [each[0] for each in found])
            run(application, socket)
        finally:
            database.close()
    finally:
        compute.shutdown(wait=False)
        socket.close()


def _resolve(store: Any, reference: str) -> tuple[str, Path, str, str]:
    """Name, folder, path in the store and digest of what a reference stands for."""
    from volano.core.errors import StoreError

    if (Path(reference) / "config.json").is_file() and not (
        Path(reference) / "artifact.json"
    ).is_file():
        folder = Path(reference).absolute()
        return folder.name, folder, str(folder), ""
    artifact = store.find(reference)
    if artifact.kind != "checkpoint":
        raise StoreError(
            f"this is a {artifact.kind}, not a checkpoint", reference, "Name a checkpoint."
        )
    return reference.removeprefix("@"), artifact.folder, store.path_of(artifact), artifact.digest


def _announce_cut(models: list[Any]) -> None:
    from volano.cli.output import print_line

    for model in models:
        whole = model.engine.model.config.context
        if model.context < whole:
            print_line(
                f"{model.name} answers within {model.context:,} of the {whole:,} tokens that it "
                f"reads, to save memory: --context {whole} for all."
            )


def _announce(address: str, names: list[str]) -> None:
    from volano.cli.output import print_line

    print_line(f"{', '.join(names)}: chat at {address}, OpenAI's interface at {address}/v1")
    print_line("Ctrl-C ends.")
