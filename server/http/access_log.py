"""The access log: one line for each request."""

import re
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.log_values import shortened

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:=+/-]{1,128}")

log = structlog.get_logger("coingraph.http")


def is_valid_request_id(text: str) -> bool:
    """Return True if X-Request-ID of a caller may be copied into responses and logs."""
    return _REQUEST_ID.fullmatch(text) is not None


class AccessLog:
    """ASGI middleware that logs each HTTP request after its response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def record_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, record_status)
        finally:
            log.info(
                "request",
                method=scope["method"],
                path=shortened(scope["path"]),
                status=status or None,
                ms=round((time.perf_counter() - started) * 1000, 1),
                client=scope["client"][0] if scope.get("client") else None,
            )


def log_rejected_request(status: int, client: str | None) -> None:
    """Log bytes that are no valid HTTP request, or a rejected WebSocket handshake."""
    log.info("request", method=None, path=None, status=status, client=client)
