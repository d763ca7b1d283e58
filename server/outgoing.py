"""Answers on their way: no client may leave too much of them unread, or read too slowly."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator

from starlette.types import Scope, Send

from resolvers.errors import UnavailableError
from server.streams.wire import ABORT

_PIECE = 1 << 18  # bytes that are sent before waiting until the client has read
_MOST_EACH = 100_000_000  # bytes of one address that are unread
_MOST = 400_000_000  # of all together
_SLOWEST = 100_000  # bytes a second
_PATIENCE_SECONDS = 15.0  # besides
_TOO_MUCH = (
    "Too much of earlier answers is still unread: read it, ask for less at a time, or try again in "
    "a few seconds."
)


class Outgoing:
    """Counts what is being sent. Answers of one piece are not worth counting."""

    def __init__(self) -> None:
        self._unread: Counter[str] = Counter()

    @contextlib.contextmanager
    def hold(self, scope: Scope, size: int) -> Iterator[None]:
        """Count an answer while the block sends it. Raises UnavailableError before."""
        if size <= _PIECE:
            yield
            return
        address = scope["client"][0] if scope.get("client") else ""
        if self._unread[address] + size > _MOST_EACH or self._unread.total() + size > _MOST:
            raise UnavailableError(_TOO_MUCH)
        self._unread[address] += size
        try:
            yield
        finally:
            self._unread[address] -= size
            if not self._unread[address]:
                del self._unread[address]


async def send_body(content: bytes, scope: Scope, send: Send) -> None:
    """Send an answer piece by piece, each when most of the ones before has been read."""
    if len(content) <= _PIECE:
        await send({"type": "http.response.body", "body": content})
        return
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS + len(content) / _SLOWEST):
            for start in range(0, len(content), _PIECE):
                piece, more = content[start : start + _PIECE], start + _PIECE < len(content)
                await send({"type": "http.response.body", "body": piece, "more_body": more})
    except TimeoutError:
        scope["state"][ABORT]()
