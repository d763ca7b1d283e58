"""Answers on their way: no client may leave too much of them unread, or read too slowly.

All transports take the same bound. What an answer holds is its content, which several answers to
one caller may share, and the piece of it that is in the connection.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from starlette.types import Scope, Send

from server.access.memory_budget import MemoryBudget, Reservation
from server.http.scope_state import ABORT, DRAIN

PIECE = 1 << 18  # bytes that are sent before waiting until the client has read
UNCOUNTED = 1 << 14  # bytes: no more than a connection may leave unread in any case
_MOST_EACH = 64_000_000  # bytes of one caller that are unread
_MOST = 256_000_000  # of all together
MIN_BYTES_PER_SECOND = 100_000  # bytes a second
READ_GRACE_SECONDS = 30.0  # besides
_TOO_MUCH = (
    "Too much of earlier answers is still unread: read it, ask for less at a time, or try again in "
    "a few seconds."
)
_FREE = Reservation(None, "")

Drain = Callable[[], Awaitable[None] | None]
"""Gives what to wait for until a client has read all but UNCOUNTED bytes; None where it has."""


class BackpressureBudget:
    """Counts what is being sent. What a connection may leave unread in any case is not counted."""

    def __init__(self, most_each: int = _MOST_EACH, most: int = _MOST) -> None:
        self.budget = MemoryBudget(most_each, most, _TOO_MUCH)

    def reserve(self, caller: str, content: bytes, uncounted: int = UNCOUNTED) -> Reservation:
        """Count a content until it is read. Raises UnavailableError where that is too much.

        To be called before a copy of it is made, in whatever form.
        """
        if len(content) <= uncounted:
            return _FREE
        return self.budget.reserve(caller, min(len(content), PIECE), content)


def read_timeout(size: int) -> float:
    """Return how long a client may take to read so many bytes."""
    return READ_GRACE_SECONDS + size / MIN_BYTES_PER_SECOND


def split_into_pieces(*parts: bytes) -> Iterator[bytes | memoryview]:
    """Cut what is sent into pieces. Nothing is copied, but what is one piece is joined."""
    if sum(map(len, parts)) <= PIECE:
        yield b"".join(parts)
        return
    for part in parts:
        for start in range(0, len(part), PIECE):
            yield memoryview(part)[start : start + PIECE]


async def send_body(content: bytes, scope: Scope, send: Send) -> None:
    """Send an answer piece by piece, and return when it is read; a client that is slow is cut."""
    size = len(content)
    if size <= PIECE:
        await send({"type": "http.response.body", "body": content})
        if size <= UNCOUNTED or (waiting := drain_of(scope)()) is None:
            return
    else:
        waiting = _send_pieces(content, drain_of(scope), send)
    try:
        async with asyncio.timeout(read_timeout(size)):
            await waiting
    except TimeoutError:
        scope["state"][ABORT]()


async def _send_pieces(content: bytes, drain: Drain, send: Send) -> None:
    left = len(content)
    for piece in split_into_pieces(content):
        left -= len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": left > 0})
    if (waiting := drain()) is not None:
        await waiting


def drain_of(scope: Scope) -> Drain:
    """Give what tells how to wait until a client has read; without a connection, nothing does."""
    drain: Drain = scope.get("state", {}).get(DRAIN, _nothing)
    return drain


def _nothing() -> None:
    """Nothing is unread."""
