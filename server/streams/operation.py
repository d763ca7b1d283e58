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
    """What is wanted of the operation."""

    RUNNING = "go on"
    LEFT_OPEN = "leave open"  # the server stops: the client subscribes again at another one
    ABANDONED = "give up"  # and say nothing more


class WebSocketOperation:
    """An operation under way. `forget` is called when its id is free again.

    Only a subscription is stopped midway. A query or a mutation goes on, as it does over HTTP
    when its caller has gone.
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
        """Begin. Raises RequestRefusedError where the caller has too many operations under way."""
        reservation = operations.reserve(request)
        self.task = asyncio.create_task(self._run(operations, request, reservation))
        return self.task

    def stop_without_complete(self) -> None:
        """Stop a subscription without `complete`, after which clients would not subscribe again."""
        self._stop(_State.LEFT_OPEN)

    def abandon(self) -> None:
        """Send nothing more: the client has lost interest, or has gone."""
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
            # before it is told: the client may use the id again at once
            self._forget()
            if last is not None and self._state is not _State.ABANDONED:
                await self._say(last)

    async def _say(self, last: bytes) -> None:
        try:
            await self._sender.deliver(last)
        except UnavailableError as error:  # it is long: many errors
            await self._sender.deliver(self._unread(error))

    async def _answer(
        self, operations: StreamOperations, request: GraphQLRequest, reservation: Reservation
    ) -> bytes | None:
        """Send what the operation gives; its last message, None where it is left open."""
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
        """Send each event; whether they came to their own end."""
        try:
            async with begun.opened() as payloads:
                if self._state is not _State.RUNNING:
                    return False
                self._streaming = True
                async for payload in payloads:
                    await self._next(payload)
        except asyncio.CancelledError:
            if self._state is _State.RUNNING:
                raise  # somebody else's, at the end of the process
            return False
        else:
            return True
        finally:
            self._streaming = False
