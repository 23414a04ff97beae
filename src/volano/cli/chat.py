"""`volano chat`: talk to a checkpoint in the terminal."""

import sys
from typing import Annotated

import typer

from volano.cli.run import DEFAULT_STORE, DeviceOption, StoreOption


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command()(chat)


def chat(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint's name, path or fingerprint.")],
    question: Annotated[
        str | None, typer.Argument(help="Ask this and leave; without: a conversation.")
    ] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Longest answer.")] = 64,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, max=5, help="0 is greedy.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the sampling.")] = 0,
    device: DeviceOption = "auto",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Ask a checkpoint. Empty line or Ctrl-D ends."""
    from pathlib import Path

    from volano.cli.output import print_line
    from volano.core.errors import StoreError
    from volano.core.records import Message
    from volano.core.store import Store

    if (Path(checkpoint) / "config.json").is_file():
        folder = Path(checkpoint)
    else:
        artifact = Store(store).find(checkpoint)
        if artifact.kind != "checkpoint":
            raise StoreError(
                f"this is a {artifact.kind}, not a checkpoint", checkpoint, "Name a checkpoint."
            )
        folder = artifact.folder
    from volano.model.responder import LocalResponder

    responder = LocalResponder(folder, device=device)

    def answer(text: str) -> str:
        response = responder.respond(
            [[Message("user", text)]], max_tokens=max_tokens, temperature=temperature, seed=seed
        )[0]
        return response.text if response.ended else f"{response.text} …"

    if question is not None:
        print_line(answer(question))
        return
    prompt = "you> " if sys.stdin.isatty() else ""
    while True:
        try:
            text = input(prompt).strip()
        except EOFError:
            return
        if not text:
            return
        print_line(answer(text))
