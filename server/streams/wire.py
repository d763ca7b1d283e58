"""The way out of a connection, which is cut where nothing flows through it."""

import asyncio

from starlette.types import Message, Scope, Send

STALLED_SECONDS = 30.0
ENDING_SECONDS = 2.0
ABORT = "abort_connection"  # in the scope's state: drops the connection at once


class GoneError(Exception):
    """Nobody is at the other end any more, or nobody who reads."""


class Wire:
    """Sends, and waits until the socket takes more: what is not sent yet is not made yet either.

    A peer that has taken nothing for `seconds` is dropped. To close its connection would not do:
    closing waits until what was written is read.
    """

    __slots__ = ("_abort", "_send", "gone", "seconds")

    def __init__(self, scope: Scope, send: Send, seconds: float = STALLED_SECONDS) -> None:
        self._send = send
        self._abort = scope.get("state", {}).get(ABORT)
        self.seconds = seconds
        self.gone = False

    async def send(self, message: Message) -> None:
        """Raises GoneError."""
        if self.gone:
            raise GoneError
        try:
            async with asyncio.timeout(self.seconds):
                await self._send(message)
        except TimeoutError:
            self.abort()
            raise GoneError from None
        except OSError:
            self.gone = True
            raise GoneError from None

    def abort(self) -> None:
        """Drop the connection with all that is still to be sent."""
        self.gone = True
        if self._abort is not None:
            self._abort()
