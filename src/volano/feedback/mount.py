"""The chat page and the blind comparison, added to a FastAPI application from outside.

Answers come from ChatModels that somebody else built; what is said of them goes to the database.
"""

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles

from volano.core.responder import ChatModel
from volano.feedback.chat import add_chat_routes
from volano.feedback.compare import add_compare_routes
from volano.feedback.database import Database
from volano.feedback.pages import ChatSettings, Pages, fresh, refusing
from volano.feedback.turns import answer
from volano.feedback.visitors import is_key, let_in, read_form
from volano.page.security import SecurityHeaders
from volano.page.templates import STATIC_FOLDER, STATIC_URL


def add_chat_pages(
    application: FastAPI,
    database: Database,
    models: Sequence[ChatModel],
    *,
    keys: Sequence[str] = (),
    settings: ChatSettings | None = None,
) -> None:
    """Add /chat, /chat/compare and /static to the application, and security headers to all of it.

    The first model answers on /chat; the first two are compared. With `keys` the pages ask for one.
    """
    pages = Pages(database, models, tuple(keys), settings or ChatSettings())
    router = APIRouter(include_in_schema=False)
    _add_common_routes(router, pages)
    add_chat_routes(router, pages)
    add_compare_routes(router, pages)
    application.include_router(router)
    application.mount(STATIC_URL, StaticFiles(directory=STATIC_FOLDER), name="static")
    application.add_middleware(SecurityHeaders)


def _add_common_routes(router: APIRouter, pages: Pages) -> None:
    @router.get("/")
    async def root() -> Response:
        return RedirectResponse("/chat", 307)

    @router.post("/chat/login")
    @refusing
    async def login(request: Request) -> Response:
        form = await read_form(request)
        if not is_key(form.get("key", ""), pages.keys):
            return fresh(pages.html("login.html", problem="This key is not known."), 401)
        response = RedirectResponse("/chat", 303)
        let_in(response, request, form["key"])
        return response

    @router.get("/chat/stream/{token}")
    @refusing
    async def stream(request: Request, token: str) -> Response:
        turn = pages.waiting.take(token, pages.visitor(request).who)
        if turn is None:
            return Response(status_code=204)  # tells an EventSource not to ask again
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            answer(turn, pages.database), media_type="text/event-stream", headers=headers
        )
