"""The single phases on plain files or artifacts: `volano curate crawl/*.jsonl --out clean/`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from volano.cli.run import DEFAULT_STORE, JsonOption, StoreOption

Settings = Annotated[
    list[str], typer.Option("--set", "-s", help="A setting of the phase, such as pii.action=off.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Also copy the result to this folder.")]
NameOption = Annotated[str, typer.Option("--name", help="Label of what is made.")]
Data = Annotated[
    list[str], typer.Argument(help="Files, folders, patterns in quotes, or one artifact.")
]
Checkpoint = Annotated[
    str, typer.Argument(help="A checkpoint: artifact, folder, hf:FOLDER or gguf:FILE.")
]


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    for verb in VERBS:
        app.command()(verb)
    app.command("import")(import_checkpoint)


def collect(
    data: Annotated[
        list[str] | None, typer.Argument(help="Files or folders; without: this Python.")
    ] = None,
    setting: Settings = [],  # noqa: B006  (typer reads it, nobody writes it)
    out: Out = None,
    name: NameOption = "mine",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Read files (or this Python installation) into a corpus."""
    _phase("collect", name, store, json, out, setting, data=data or [])


def curate(
    data: Data,
    setting: Settings = [],  # noqa: B006
    out: Out = None,
    name: NameOption = "mine",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Filter, deduplicate and redact text; every decision on record."""
    _phase("curate", name, store, json, out, setting, data=data)


def tokenizer(
    data: Data,
    setting: Settings = [],  # noqa: B006
    out: Out = None,
    name: NameOption = "mine",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Train a tokenizer on a corpus."""
    _phase("tokenizer", name, store, json, out, setting, data=data)


def pretrain(
    data: Data,
    setting: Settings = [],  # noqa: B006
    out: Out = None,
    name: NameOption = "mine",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Train a base model on a corpus (files are collected first, not curated)."""
    _phase("pretrain", name, store, json, out, setting, data=data)


def finetune(
    checkpoint: Checkpoint,
    data: Data,
    setting: Settings = [],  # noqa: B006
    out: Out = None,
    name: NameOption = "mine",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Fine-tune a checkpoint on conversations (JSONL with `messages`), or a corpus of them."""
    _phase("finetune", name, store, json, out, setting, data=data, checkpoint=checkpoint)


def align(
    checkpoint: Checkpoint,
    data: Data,
    setting: Settings = [],  # noqa: B006
    out: Out = None,
    name: NameOption = "mine",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Align a checkpoint with preferences (JSONL with `prompt`, `chosen`, `rejected`), or a corpus
    of them."""
    _phase("align", name, store, json, out, setting, data=data, checkpoint=checkpoint)


def evaluate(
    checkpoint: Checkpoint,
    data: Annotated[list[str], typer.Argument(help="A collected corpus that holds out functions.")],
    setting: Settings = [],  # noqa: B006
    out: Out = None,
    name: NameOption = "mine",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Evaluate one checkpoint on held-out functions; its figures stand in the column `base`."""
    _phase("evaluate", name, store, json, out, setting, data=data, checkpoint=checkpoint)


def import_checkpoint(
    checkpoint: Annotated[str, typer.Argument(help="hf:FOLDER or gguf:FILE.")],
    chat: Annotated[
        str, typer.Option("--chat", help="kept: that of its own template, or ours.")
    ] = "kept",
    out: Out = None,
    name: NameOption = "mine",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Take a finished model into the store: a checkpoint to fine-tune, evaluate or serve."""
    setting = [f"base_chat={chat}"]
    _phase("import", name, store, json, out, setting, data=[], checkpoint=checkpoint)


VERBS = (collect, curate, tokenizer, pretrain, finetune, align, evaluate)


def _phase(
    phase: str,
    name: str,
    store: Path,
    json: bool,
    out: Path | None,
    setting: list[str],
    data: list[str],
    checkpoint: str | None = None,
) -> Any:
    from volano.cli.stages import finish, reporter
    from volano.core.store import Store
    from volano.study.single import run_phase

    opened = Store(store)
    outcomes = run_phase(
        phase,
        opened,
        data=data,
        checkpoint=checkpoint,
        settings=setting,
        name=name,
        out=out,
        silent=json,
        report=reporter(opened, json),
    )
    finish(outcomes, opened, json)
