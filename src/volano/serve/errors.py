"""Errors as OpenAI's clients read them: a status, and {"error": {message, type, param, code}}."""

import sys
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """A request that cannot be answered; `param` names its field."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = headers


def error_body(
    status: int, message: str, *, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """The JSON of an error."""
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def add_handlers(application: FastAPI) -> None:
    """Answer every error of the application in that form."""

    @application.exception_handler(ApiError)
    async def refused(request: Request, problem: ApiError) -> JSONResponse:
        body = error_body(problem.status, problem.message, param=problem.param, code=problem.code)
        return JSONResponse(body, problem.status, problem.headers)

    @application.exception_handler(HTTPException)
    async def unknown(request: Request, problem: HTTPException) -> JSONResponse:
        what = {
            404: f"There is nothing at {request.url.path}.",
            405: f"{request.method} is not possible at {request.url.path}.",
        }.get(problem.status_code, str(problem.detail))
        return JSONResponse(error_body(problem.status_code, what), problem.status_code)

    @application.exception_handler(Exception)
    async def failed(request: Request, problem: Exception) -> JSONResponse:
        print(
            f"volano: {request.method} {request.url.path}: {type(problem).__name__}: {problem}",
            file=sys.stderr,
            flush=True,
        )
        return JSONResponse(error_body(500, "The server failed on this request."), 500)
