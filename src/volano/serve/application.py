"""The server's application: routes, checks and models; the routers of other rooms join it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from volano.core.feedback import Recorder
from volano.serve.completions import completion_router
from volano.serve.errors import add_handlers
from volano.serve.limits import Gatekeeper, Keys, Limits
from volano.serve.served import ServedModel

HEALTH = "/healthz"


def build_application(
    models: Mapping[str, ServedModel],
    *,
    keys: Sequence[str] = (),
    limits: Limits | None = None,
    recorder: Recorder | None = None,
    public: Sequence[str] = (),
    linked: Sequence[str] = (),
) -> FastAPI:
    """The application over these models.

    `recorder` keeps every exchange before its answer is complete. Routers of other rooms are
    included afterwards and stand behind the same keys and limits; `public` names paths that need
    no key, `linked` the pages that a link on another site may lead to.
    """

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[None]:
        yield
        for model in models.values():
            model.close()

    # No documentation pages: they load scripts from elsewhere.
    application = FastAPI(
        title="Volano", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan
    )
    application.state.models = dict(models)
    application.add_middleware(
        Gatekeeper,
        keys=Keys(keys),
        limits=limits or Limits(),
        public=[HEALTH, *public],
        linked=linked,
    )
    add_handlers(application)

    @application.get(HEALTH)
    async def health() -> dict[str, Any]:
        # Open to all, so it names no model.
        loads = [model.engine.load for model in models.values()]
        return {
            "status": "ok",
            "answering": sum(answering for answering, _ in loads),
            "waiting": sum(waiting for _, waiting in loads),
        }

    application.include_router(completion_router(models, recorder))
    return application
