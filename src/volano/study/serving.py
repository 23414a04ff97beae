"""A checkpoint served with its feedback: where the rooms `serve` and `feedback` meet."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from volano.core.artifact import Artifact
from volano.core.errors import MissingExtra
from volano.core.step import Device

LINKED = ("/", "/chat", "/chat/compare")
PAGES = ("/", "/chat", "/static")  # they ask for a key themselves


def joined(
    models: Sequence[Any], database: Any, *, keys: Sequence[str] = (), limits: Any = None
) -> Any:
    """The application over the models; feedback on their answers goes into the database."""
    require_extra()
    from volano.feedback.mount import add_chat_pages
    from volano.feedback.router import feedback_router
    from volano.serve.application import build_application

    application = build_application(
        {each.name: each for each in models},
        keys=keys,
        limits=limits,
        recorder=database,
        public=PAGES,
        linked=LINKED,
    )
    application.include_router(feedback_router(database))
    add_chat_pages(application, database, models, keys=keys)
    return application


@contextmanager
def serving(
    artifact: Artifact, database_url: str, *, slots: int, device: Device = "auto"
) -> Iterator[int]:
    """Serve a checkpoint on a free port of the loopback while the block runs; the port."""
    require_extra()
    from volano.feedback.database import Database
    from volano.feedback.step import served_as
    from volano.serve.served import ServedModel
    from volano.serve.server import running

    database = Database.open(database_url)
    try:
        model = ServedModel(
            "model",
            artifact.folder,
            checkpoint=served_as(artifact),
            digest=artifact.digest,
            slots=slots,
            device=device,
        )
        with running(joined([model], database)) as port:
            yield port
    finally:
        database.close()


def require_extra() -> None:
    """Raise MissingExtra where the server's packages are not installed."""
    from importlib.util import find_spec

    for package in ("fastapi", "uvicorn", "sqlalchemy"):
        if find_spec(package) is None:
            raise MissingExtra(
                f"{package} is not installed", "serve", "Install it: pip install 'volano[serve]'."
            )
