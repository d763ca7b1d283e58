"""Back-pressure: bounds on the response bytes that clients leave unread, and on slow reading.

All transports share one budget. A response holds its content, which several responses to one caller
may share, and the piece of it that is in the write buffer of the connection.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from starlette.types import Scope, Send

from server.access.callers import caller_of
from server.access.memory_budget import MemoryBudget, Reservation
from server.http.scope_state import ABORT, DRAIN
from server.http.write_turns import write_turn

PIECE = 1 << 18  # bytes written before waiting for the client to read them
UNCOUNTED = 1 << 14  # bytes that each connection may leave unread without a reservation
_MOST_EACH = 64_000_000  # unread bytes of one caller
_MOST = 256_000_000  # unread bytes of all callers
MIN_BYTES_PER_SECOND = 100_000  # bytes a second
READ_GRACE_SECONDS = 30.0  # in addition to the time at MIN_BYTES_PER_SECOND
_TOO_MUCH = (
    "Too much of earlier responses is unread: read it, request less at a time, or try again in "
    "a few seconds."
)
UNRESERVED = Reservation(None, "")  # of no budget: its size stays 0

Drain = Callable[[], Awaitable[None] | None]
"""Returns an awaitable until the client has read all but UNCOUNTED bytes; None if it has."""


class BackpressureBudget:
    """The memory budget of responses that are being sent, beyond UNCOUNTED of each connection."""

    def __init__(self, most_each: int = _MOST_EACH, most: int = _MOST) -> None:
        self.budget = MemoryBudget(most_each, most, _TOO_MUCH)

    def reserve(self, caller: str, content: bytes, uncounted: int = UNCOUNTED) -> Reservation:
        """Reserve memory for a content until the reservation is released.

        Call it before the content is compressed or copied. Raises UnavailableError if the budget of
        the caller or of the process is exhausted.
        """
        if len(content) <= uncounted:
            return UNRESERVED
        return self.budget.reserve(caller, min(len(content), PIECE), content)


def read_timeout(size: int) -> float:
    """Return how many seconds a client may take to read `size` bytes."""
    return READ_GRACE_SECONDS + size / MIN_BYTES_PER_SECOND


def split_into_pieces(*parts: bytes) -> Iterator[bytes | memoryview]:
    """Split content into pieces without copying; what fits into one piece is joined."""
    if sum(map(len, parts)) <= PIECE:
        yield b"".join(parts)
        return
    for part in parts:
        for start in range(0, len(part), PIECE):
            yield memoryview(part)[start : start + PIECE]


async def send_body(content: bytes, scope: Scope, send: Send) -> None:
    """Send a response body in pieces and return once the client has read it.

    Aborts the connection if the client takes longer than `read_timeout`.
    """
    size = len(content)
    if size <= UNCOUNTED:
        await send({"type": "http.response.body", "body": content})
        return
    client = scope.get("client")
    caller = caller_of(client[0] if client else None)
    if size <= PIECE:
        await write_turn(caller, size)
        await send({"type": "http.response.body", "body": content})
        if (waiting := drain_of(scope)()) is None:
            return
    else:
        waiting = _send_pieces(content, caller, drain_of(scope), send)
    try:
        async with asyncio.timeout(read_timeout(size)):
            await waiting
    except TimeoutError:
        scope["state"][ABORT]()


async def _send_pieces(content: bytes, caller: str, drain: Drain, send: Send) -> None:
    left = len(content)
    for piece in split_into_pieces(content):
        left -= len(piece)
        await write_turn(caller, len(piece))
        await send({"type": "http.response.body", "body": piece, "more_body": left > 0})
    if (waiting := drain()) is not None:
        await waiting


def drain_of(scope: Scope) -> Drain:
    """Return the drain function of the connection; without one, nothing is ever unread."""
    drain: Drain = scope.get("state", {}).get(DRAIN, _nothing)
    return drain


def _nothing() -> None:
    """Nothing is unread."""
