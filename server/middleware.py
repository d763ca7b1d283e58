"""What every request passes on its way in, from the outside to the inside."""

import secrets
from collections.abc import Mapping, Sequence

import orjson
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, ExceptionHandler, Receive, Scope, Send

from schema.errors import Answer, failure, masked
from server.browsers import PREFLIGHTED, SECURITY_HEADERS, SecurityHeaders
from server.logs import RequestLog, is_request_id
from server.settings import Settings


def middleware(settings: Settings, graphql: ASGIApp) -> list[Middleware]:
    """List it, `graphql` being the endpoint at /graphql."""
    return [
        Middleware(
            CorrelationIdMiddleware,
            validator=is_request_id,
            generator=lambda: secrets.token_hex(16),  # a uuid4 takes ten times as long
            update_request_header=False,
            transformer=None,
        ),
        Middleware(SecurityHeaders),
        Middleware(RequestLog),
        *_cors(settings.cors_origins),
        Middleware(Shortcut, path="/graphql", endpoint=graphql),
    ]


class Shortcut:
    """Leads to one endpoint past the router, which costs more than an answer that is kept."""

    def __init__(self, app: ASGIApp, path: str, endpoint: ASGIApp) -> None:
        self._app = app
        self._path = path
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        here = scope["type"] != "lifespan" and scope["path"] == self._path
        await (self._endpoint if here else self._app)(scope, receive, send)


def _cors(origins: Sequence[str]) -> list[Middleware]:
    """Never with credentials: tokens are sent by pages that know them, cookies there are none."""
    if not origins:
        return []
    named = ["Content-Type", "If-None-Match", "X-Request-ID", "Last-Event-ID"]
    return [
        Middleware(
            _Cors,
            allow_origins=list(origins),
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=[*named, *(name.decode() for name in PREFLIGHTED)],
            expose_headers=[
                *("ETag", "Retry-After", "Server-Timing", "X-Cache", "X-Request-ID"),
                *("RateLimit", "RateLimit-Policy"),
            ],
            max_age=86400,
        )
    ]


class _Cors(CORSMiddleware):
    """Says in JSON what a preflight is refused for."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code == 200:  # noqa: PLR2004 - OK
            return response
        told = bytes(response.body).decode()
        message = f"{told}: origins are named in CORS_ORIGINS on the server."
        return _response(
            failure("FORBIDDEN", message, response.status_code),
            {name: response.headers[name] for name in ("vary",) if name in response.headers},
        )


async def _no_such_page(_request: Request, error: Exception) -> Response:
    """Answer what the router and the files refuse: 404 and 405."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these alone
    code = "NOT_FOUND" if error.status_code == 404 else "BAD_USER_INPUT"  # noqa: PLR2004 - HTTP's
    answer = failure(code, f"{error.detail}. The API is at /graphql.", error.status_code)
    return _response(answer, error.headers or {})


async def _unexpected(_request: Request, _error: Exception) -> Response:
    """Answer what nothing else has caught, outside of all middleware; the server logs it."""
    request_id = correlation_id.get() or ""
    response = _response(masked(request_id), {"X-Request-ID": request_id})
    response.raw_headers.extend(SECURITY_HEADERS)
    return response


def _response(answer: Answer, headers: Mapping[str, str]) -> Response:
    return Response(
        orjson.dumps(answer.body),
        answer.status,
        {"Cache-Control": "no-store", **headers},
        "application/json",
    )


ERROR_HANDLERS: dict[type[Exception] | int, ExceptionHandler] = {
    HTTPException: _no_such_page,
    Exception: _unexpected,
}
