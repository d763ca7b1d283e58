"""One operation of a WebSocket, from `subscribe` to its last message."""

import asyncio
import contextlib
from collections.abc import Callable
from enum import Enum

import structlog
from asgi_correlation_id import correlation_id

from resolvers.errors import UnavailableError
from schema.errors import UNAVAILABLE, failure, masked
from server.access.memory_budget import Reservation
from server.graphql.request import GraphQLRequest
from server.graphql.request_parsing import RequestRefusedError
from server.streams import graphql_transport_ws
from server.streams.execution import StreamOperations, SubscriptionPayloads
from server.streams.sender import PeerGoneError, Sender

log = structlog.get_logger("coingraph.streams")


class _State(Enum):
    """How the operation ends."""

    RUNNING = "running"  # by itself
    LEFT_OPEN = "left open"  # without `complete`: the client subscribes again at another server
    ABANDONED = "abandoned"  # without any further message


class WebSocketOperation:
    """A running operation. `forget` is called when its id is free again.

    Only subscriptions are cancelled. A query or a mutation runs to its end, as over HTTP when the
    client disconnects.
    """

    def __init__(
        self,
        operation_id: str,
        sender: Sender,
        forget: Callable[[], None],
    ) -> None:
        self.id = operation_id
        self.task: asyncio.Task[None]
        self._sender = sender
        self._forget = forget
        self._state = _State.RUNNING
        self._streaming = False

    def start(self, operations: StreamOperations, request: GraphQLRequest) -> asyncio.Task[None]:
        """Start the task. Raises RequestRefusedError if the caller's operations hold too much."""
        reservation = operations.reserve(request)
        self.task = asyncio.create_task(self._run(operations, request, reservation))
        return self.task

    def stop_without_complete(self) -> None:
        """Stop a subscription without `complete`, so that the client subscribes again."""
        self._stop(_State.LEFT_OPEN)

    def abandon(self) -> None:
        """Send no further message: the client has lost interest or disconnected."""
        self._stop(_State.ABANDONED)

    def _stop(self, wish: _State) -> None:
        self._state = wish
        if self._streaming:
            self.task.cancel()

    async def _run(
        self, operations: StreamOperations, request: GraphQLRequest, reservation: Reservation
    ) -> None:
        answering = self._answer(operations, request, reservation)
        del request  # a subscription may last for days
        with reservation, contextlib.suppress(PeerGoneError):
            last = await answering
            # before the last message, after which the client may reuse the id
            self._forget()
            if last is not None and self._state is not _State.ABANDONED:
                await self._send_last(last)

    async def _send_last(self, last: bytes) -> None:
        try:
            await self._sender.deliver(last)
        except UnavailableError as error:  # a long message: many errors
            await self._sender.deliver(self._unread(error))

    async def _answer(
        self, operations: StreamOperations, request: GraphQLRequest, reservation: Reservation
    ) -> bytes | None:
        """Send the payloads; return the last message, None if the operation is left open."""
        try:
            begun = await operations.begin(request, reservation)
            del request
            if isinstance(begun, SubscriptionPayloads):
                if not await self._stream(begun):
                    return None
            elif self._state is not _State.ABANDONED:
                await self._next(begun)
        except RequestRefusedError as refused:
            if self._state is _State.LEFT_OPEN and refused.is_transient:
                return None  # another server may answer it
            return graphql_transport_ws.error(self.id, refused.answer.body["errors"])
        except UnavailableError as error:
            return self._unread(error)
        except PeerGoneError:
            raise
        except Exception:
            log.exception("unexpected error")
            errors = masked(correlation_id.get() or "").body["errors"]
            return graphql_transport_ws.error(self.id, errors)
        return graphql_transport_ws.complete(self.id)

    def _unread(self, error: UnavailableError) -> bytes:
        return graphql_transport_ws.error(self.id, failure(UNAVAILABLE, str(error)).body["errors"])

    async def _next(self, payload: bytes) -> None:
        await self._sender.deliver(payload, graphql_transport_ws.opening(self.id), b"}")

    async def _stream(self, begun: SubscriptionPayloads) -> bool:
        """Send each event; return True if the source of events ended by itself."""
        try:
            async with begun.opened() as payloads:
                if self._state is not _State.RUNNING:
                    return False
                self._streaming = True
                async for payload in payloads:
                    await self._next(payload)
        except asyncio.CancelledError:
            if self._state is _State.RUNNING:
                raise  # cancelled from outside, at the end of the process
            return False
        else:
            return True
        finally:
            self._streaming = False
