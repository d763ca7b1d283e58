"""The way out of a connection, which is cut where nothing flows through it."""

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

STALLED_SECONDS = 30.0
ENDING_SECONDS = 2.0
SHORT = 2048  # bytes: of each operation there may be one such message that waits to be sent

# Makes the message that sends a piece of what is one message to the client: the piece, whether it
# is the first one, and whether more follow.
AsMessage = Callable[[bytes | memoryview, bool, bool], Message]


class PeerGoneError(Exception):
    """Nobody is at the other end any more, or nobody who reads."""


class Sender:
    """Sends, and waits until the socket takes more: what is not sent yet is not made yet either.

    A peer that has taken nothing for `seconds` is dropped. To close its connection would not do:
    closing waits until what was written is read.
    """

    __slots__ = (
        "_abort",
        "_as_message",
        "_caller",
        "_delivering",
        "_drain",
        "_outgoing",
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
        self._outgoing = backpressure
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
        """Whether something is on its way to the client."""
        return self._delivering.locked()

    async def send(self, message: Message) -> None:
        """Raises GoneError."""
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
        """Send one message of three parts, behind those that are on their way.

        The content is counted until it is read, and not copied. A short one is not, nor a small
        one of a connection with nothing on its way. Raises GoneError, and UnavailableError where
        too much is unread already.
        """
        uncounted = SHORT if self.busy else UNCOUNTED
        with self._outgoing.reserve(self._caller, content, uncounted):
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
        """Drop the connection with all that is still to be sent."""
        self.gone = True
        if self._abort is not None:
            self._abort()
