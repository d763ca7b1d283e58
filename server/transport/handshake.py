"""Rejected WebSocket handshakes: the response is JSON like all other errors."""

import logging
from collections.abc import Callable

import orjson
from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.server import ServerProtocol
from websockets.typing import StatusLike

from schema.errors import INTERNAL, failure
from server.http.access_log import log_rejected_request
from server.transport.early_errors import early_headers

_NOT_FOUND, _FAULT = 404, 500
_NO_SOCKET = "There is no WebSocket at this address: it is at /graphql."


class HandshakeProtocol(ServerProtocol):
    """websockets' server protocol with JSON errors. `client` returns the peer's address or None."""

    def __init__(
        self, max_size: int, client: Callable[[], tuple[str, int] | None], logger: logging.Logger
    ) -> None:
        super().__init__(max_size=max_size, logger=logger)
        self._client = client

    def reject(self, status: StatusLike, text: str) -> Response:
        """Make the response to a handshake that uvicorn or websockets rejects."""
        code = "BAD_USER_INPUT"
        if not text:  # uvicorn's 403 for an unknown path
            status, text, code = _NOT_FOUND, _NO_SOCKET, "NOT_FOUND"
        elif status == _FAULT:
            text, code = "Internal error.", INTERNAL
        content = orjson.dumps(failure(code, text.partition("\n")[0], int(status)).body)
        response = super().reject(status, "")
        response.body = content
        response.headers = Headers(
            (name.decode(), value.decode()) for name, value in early_headers(content)
        )
        client = self._client()
        log_rejected_request(response.status_code, client[0] if client else None)
        return response
