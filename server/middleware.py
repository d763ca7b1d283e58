"""What every request passes on its way in, from the outside to the inside."""

import secrets
from collections.abc import Sequence

from asgi_correlation_id import CorrelationIdMiddleware
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

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
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "If-None-Match", "X-Request-ID"],
            expose_headers=["ETag", "Retry-After", "Server-Timing", "X-Cache", "X-Request-ID"],
            max_age=86400,
        )
    ]
