"""One operation of a stream, from its beginning to its last message, for all transports."""

import asyncio
from enum import Enum
from typing import Any, Protocol

import structlog
from asgi_correlation_id import correlation_id

from resolvers.errors import UnavailableError
from schema.errors import UNAVAILABLE, failure, masked
from server.access.memory_budget import Reservation
from server.graphql.request import GraphQLRequest
from server.graphql.request_parsing import RequestRefusedError
from server.streams.execution import StreamOperations, SubscriptionPayloads
from server.streams.sender import PeerGoneError, Sender

log = structlog.get_logger("coingraph.streams")


class _State(Enum):
    """How the operation ends."""

    RUNNING = "running"  # by itself
    LEFT_OPEN = "left open"  # without `complete`: the client subscribes again at another server
    ABANDONED = "abandoned"  # without any further message


class Messages(Protocol):
    """The messages of one operation, as a transport encodes them."""

    @property
    def around_payload(self) -> tuple[bytes, bytes]:
        """The bytes before and after the payload of a `next` message."""

    def error(self, body: dict[str, Any]) -> bytes:
        """Encode the last message of an operation that failed with this response body."""

    def complete(self) -> bytes:
        """Encode the last message of an operation that has ended by itself."""


class StreamedOperation:
    """A running operation and its three ends.

    It ends by itself, is left open, or is abandoned. Only subscriptions are cancelled. A query or a
    mutation runs to its end, as over HTTP when the client disconnects.
    """

    def __init__(self, sender: Sender, messages: Messages) -> None:
        self._sender = sender
        self._messages = messages
        self._state = _State.RUNNING
        self._streaming: asyncio.Task[Any] | None = None  # while it may be cancelled

    @property
    def abandoned(self) -> bool:
        """True if no further message may be sent."""
        return self._state is _State.ABANDONED

    def stop_without_complete(self) -> None:
        """Stop a subscription without `complete`, so that the client subscribes again."""
        self._stop(_State.LEFT_OPEN)

    def abandon(self) -> None:
        """Send no further message: the client has lost interest or disconnected."""
        self._stop(_State.ABANDONED)

    def _stop(self, wish: _State) -> None:
        self._state = wish
        if self._streaming is not None:
            self._streaming.cancel()

    async def run(
        self, operations: StreamOperations, request: GraphQLRequest, reservation: Reservation
    ) -> bytes | None:
        """Send the payloads; return the last message, None if the operation is left open.

        Raises PeerGoneError.
        """
        try:
            begun = await operations.begin(request, reservation)
            del request.parameters, request  # a subscription may last for days
            if isinstance(begun, SubscriptionPayloads):
                if not await self._stream(begun):
                    return None
            elif not self.abandoned:
                await self._next(begun)
        except RequestRefusedError as refused:
            if self._state is _State.LEFT_OPEN and refused.is_transient:
                return None  # another server may answer it
            return self._messages.error(refused.answer.body)
        except UnavailableError as error:
            return self.unread(error)
        except PeerGoneError:
            raise
        except Exception:
            log.exception("unexpected error")
            return self._messages.error(masked(correlation_id.get() or "").body)
        return self._messages.complete()

    def unread(self, error: UnavailableError) -> bytes:
        """Encode the last message of an operation whose client holds too much unread."""
        return self._messages.error(failure(UNAVAILABLE, str(error)).body)

    async def _next(self, payload: bytes) -> None:
        await self._sender.deliver(payload, *self._messages.around_payload)

    async def _stream(self, begun: SubscriptionPayloads) -> bool:
        """Send each event; return True if the source of events ended by itself."""
        try:
            async with begun.opened() as payloads:
                if self._state is not _State.RUNNING:
                    return False
                self._streaming = asyncio.current_task()
                async for payload in payloads:
                    await self._next(payload)
        except asyncio.CancelledError:
            if self._state is _State.RUNNING:
                raise  # cancelled from outside, at the end of the process
            return False
        else:
            return True
        finally:
            self._streaming = None
