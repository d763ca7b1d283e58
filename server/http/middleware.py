"""The middleware stack and the handlers of unhandled errors."""

import secrets
from collections.abc import Collection, Mapping

import orjson
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, ExceptionHandler, Receive, Scope, Send

from schema.errors import Answer, failure, masked
from server.config.settings import Settings
from server.http.access_log import AccessLog, is_valid_request_id
from server.http.cross_origin import CrossOrigin, Origins
from server.http.forwarding import Forwarding
from server.http.security_headers import SECURITY_HEADERS, SecurityHeaders


def middleware(
    settings: Settings, origins: Origins, graphql: ASGIApp, paths: Collection[str]
) -> list[Middleware]:
    """Return the middleware from the outside to the inside.

    `graphql`: the endpoint at /graphql. `paths`: the paths of all routes.
    """
    return [
        Middleware(
            Forwarding,
            proxies=settings.trusted_proxies,
            root_path=settings.root_path,
            paths=paths,
        ),
        Middleware(
            CorrelationIdMiddleware,
            validator=is_valid_request_id,
            generator=lambda: secrets.token_hex(16),  # ten times faster than uuid4
            update_request_header=False,
            transformer=None,
        ),
        Middleware(SecurityHeaders),
        Middleware(AccessLog),
        Middleware(CrossOrigin, origins=origins),
        Middleware(RouterBypass, path="/graphql", endpoint=graphql),
    ]


class RouterBypass:
    """Calls one endpoint without the router, which costs more than a cached response."""

    def __init__(self, app: ASGIApp, path: str, endpoint: ASGIApp) -> None:
        self._app = app
        self._path = path
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        here = scope["type"] != "lifespan" and scope["path"] == scope["root_path"] + self._path
        await (self._endpoint if here else self._app)(scope, receive, send)


async def _no_such_page(request: Request, error: Exception) -> Response:
    """Answer the errors of the router and the static files: 404 and 405."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered only for this class
    code = "NOT_FOUND" if error.status_code == 404 else "BAD_USER_INPUT"  # noqa: PLR2004 - HTTP's
    root = request.scope.get("app_root_path", request.scope.get("root_path", ""))
    answer = failure(code, f"{error.detail}. The API is at {root}/graphql.", error.status_code)
    return _response(answer, error.headers or {})


def _response(answer: Answer, headers: Mapping[str, str]) -> Response:
    return Response(
        orjson.dumps(answer.body),
        answer.status,
        {"Cache-Control": "no-store", **headers},
        "application/json",
    )


def error_handlers(origins: Origins) -> dict[type[Exception] | int, ExceptionHandler]:
    """Return the handlers of exceptions that no endpoint handles."""

    async def unexpected(request: Request, _error: Exception) -> Response:
        """Answer an exception that passed all middleware; uvicorn logs it."""
        request_id = correlation_id.get() or ""
        response = _response(masked(request_id), {"X-Request-ID": request_id})
        response.raw_headers.extend(SECURITY_HEADERS)
        response.raw_headers.extend(origins.response_headers(request.headers.get("origin")))
        return response

    return {HTTPException: _no_such_page, Exception: unexpected}
