"""One operation of a WebSocket, from `subscribe` to its last message."""

import asyncio
import contextlib
from collections.abc import Callable
from enum import Enum

import structlog
from asgi_correlation_id import correlation_id

from resolvers.errors import UnavailableError
from schema.errors import UNAVAILABLE, failure, masked
from server.access.memory_budget import Held
from server.graphql.exchange import Exchange
from server.graphql.request import RequestRefusedError
from server.streams import graphql_transport_ws
from server.streams.execution import Operations, Payloads
from server.streams.sender import GoneError, Wire

log = structlog.get_logger("coingraph.streams")


class _Wish(Enum):
    """What is wanted of the operation."""

    GO_ON = "go on"
    LEAVE_OPEN = "leave open"  # the server stops: the client subscribes again at another one
    GIVE_UP = "give up"  # and say nothing more


class Running:
    """An operation under way. `forget` is called when its id is free again.

    Only a subscription is stopped midway. A query or a mutation goes on, as it does over HTTP
    when its caller has gone.
    """

    def __init__(
        self,
        operation_id: str,
        wire: Wire,
        forget: Callable[[], None],
    ) -> None:
        self.id = operation_id
        self.task: asyncio.Task[None]
        self._wire = wire
        self._forget = forget
        self._wish = _Wish.GO_ON
        self._streaming = False

    def start(self, operations: Operations, exchange: Exchange) -> asyncio.Task[None]:
        """Begin. Raises RequestRefusedError where the caller has too many operations under way."""
        held = operations.hold(exchange)
        self.task = asyncio.create_task(self._run(operations, exchange, held))
        return self.task

    def leave_open(self) -> None:
        """Stop a subscription without `complete`, after which clients would not subscribe again."""
        self._stop(_Wish.LEAVE_OPEN)

    def give_up(self) -> None:
        """Send nothing more: the client has lost interest, or has gone."""
        self._stop(_Wish.GIVE_UP)

    def _stop(self, wish: _Wish) -> None:
        self._wish = wish
        if self._streaming:
            self.task.cancel()

    async def _run(self, operations: Operations, exchange: Exchange, held: Held) -> None:
        answering = self._answer(operations, exchange, held)
        del exchange  # a subscription may last for days
        with held, contextlib.suppress(GoneError):
            last = await answering
            # before it is told: the client may use the id again at once
            self._forget()
            if last is not None and self._wish is not _Wish.GIVE_UP:
                await self._say(last)

    async def _say(self, last: bytes) -> None:
        try:
            await self._wire.deliver(last)
        except UnavailableError as error:  # it is long: many errors
            await self._wire.deliver(self._unread(error))

    async def _answer(self, operations: Operations, exchange: Exchange, held: Held) -> bytes | None:
        """Send what the operation gives; its last message, None where it is left open."""
        try:
            begun = await operations.begin(exchange, held)
            del exchange
            if isinstance(begun, Payloads):
                if not await self._stream(begun):
                    return None
            elif self._wish is not _Wish.GIVE_UP:
                await self._next(begun)
        except RequestRefusedError as refused:
            if self._wish is _Wish.LEAVE_OPEN and refused.passing:
                return None  # another server may answer it
            return graphql_transport_ws.error(self.id, refused.answer.body["errors"])
        except UnavailableError as error:
            return self._unread(error)
        except GoneError:
            raise
        except Exception:
            log.exception("unexpected error")
            errors = masked(correlation_id.get() or "").body["errors"]
            return graphql_transport_ws.error(self.id, errors)
        return graphql_transport_ws.complete(self.id)

    def _unread(self, error: UnavailableError) -> bytes:
        return graphql_transport_ws.error(self.id, failure(UNAVAILABLE, str(error)).body["errors"])

    async def _next(self, payload: bytes) -> None:
        await self._wire.deliver(payload, graphql_transport_ws.opening(self.id), b"}")

    async def _stream(self, begun: Payloads) -> bool:
        """Send each event; whether they came to their own end."""
        try:
            async with begun.opened() as payloads:
                if self._wish is not _Wish.GO_ON:
                    return False
                self._streaming = True
                async for payload in payloads:
                    await self._next(payload)
        except asyncio.CancelledError:
            if self._wish is _Wish.GO_ON:
                raise  # somebody else's, at the end of the process
            return False
        else:
            return True
        finally:
            self._streaming = False
