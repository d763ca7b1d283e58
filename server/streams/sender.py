"""Sends messages on one connection and aborts it if the client stops reading."""

import asyncio
from collections.abc import Callable

from starlette.types import Message, Scope, Send

from server.access.callers import caller_of
from server.http.backpressure import (
    UNCOUNTED,
    BackpressureBudget,
    drain_of,
    read_timeout,
    split_into_pieces,
)
from server.http.scope_state import ABORT
from server.http.write_turns import write_turn

STALLED_SECONDS = 30.0
ENDING_SECONDS = 2.0
SHORT = 2048  # bytes: each operation may have one message of this size waiting unreserved

# Makes the ASGI message for a piece of a client message. Arguments: the piece, True for the first
# piece, True if more follow.
AsMessage = Callable[[bytes | memoryview, bool, bool], Message]


class PeerGoneError(Exception):
    """The client has disconnected, or does not read."""


class Sender:
    """Sends messages and waits while the write buffer is full.

    So a message is only produced when the one before it is sent. If the client reads nothing for
    `seconds`, the connection is aborted; closing it would wait until the buffer is read.
    """

    __slots__ = (
        "_abort",
        "_as_message",
        "_backpressure",
        "_caller",
        "_delivering",
        "_drain",
        "_send",
        "gone",
        "seconds",
    )

    def __init__(
        self,
        scope: Scope,
        send: Send,
        backpressure: BackpressureBudget,
        as_message: AsMessage,
        seconds: float = STALLED_SECONDS,
    ) -> None:
        self._send = send
        self._backpressure = backpressure
        self._as_message = as_message
        client = scope.get("client")
        self._caller = caller_of(client[0] if client else None)
        self._abort = scope.get("state", {}).get(ABORT)
        self._drain = drain_of(scope)
        self._delivering = asyncio.Lock()
        self.seconds = seconds
        self.gone = False

    @property
    def busy(self) -> bool:
        """True while a message is being sent."""
        return self._delivering.locked()

    async def send(self, message: Message) -> None:
        """Send an ASGI message. Raises PeerGoneError."""
        if self.gone:
            raise PeerGoneError
        try:
            async with asyncio.timeout(self.seconds):
                await self._send(message)
        except TimeoutError:
            self.abort()
            raise PeerGoneError from None
        except OSError:
            self.gone = True
            raise PeerGoneError from None

    async def deliver(self, content: bytes, before: bytes = b"", after: bytes = b"") -> None:
        """Send one message of three parts, after those that are being sent.

        The content is reserved in the back-pressure budget until it is read, and is not copied.
        No reservation is made for up to SHORT bytes, or UNCOUNTED bytes if no message is being
        sent. Raises PeerGoneError, and UnavailableError if the budget is exhausted.
        """
        uncounted = SHORT if self.busy else UNCOUNTED
        with self._backpressure.reserve(self._caller, content, uncounted):
            async with self._delivering:
                if len(content) > UNCOUNTED:
                    await self._deliver_pieces(list(split_into_pieces(before, content, after)))
                else:
                    whole = b"".join((before, content, after))
                    await self.send(self._as_message(whole, True, False))

    async def _deliver_pieces(self, pieces: list[bytes | memoryview]) -> None:
        try:
            async with asyncio.timeout(read_timeout(sum(map(len, pieces)))):
                for number, piece in enumerate(pieces, start=1):
                    await write_turn(self._caller, len(piece))
                    await self.send(self._as_message(piece, number == 1, number < len(pieces)))
                await self._until_read()
        except TimeoutError:
            self.abort()
            raise PeerGoneError from None

    async def _until_read(self) -> None:
        if (waiting := self._drain()) is not None:
            async with asyncio.timeout(self.seconds):
                await waiting

    def abort(self) -> None:
        """Abort the connection and discard its write buffer."""
        self.gone = True
        if self._abort is not None:
            self._abort()
