"""Server-Sent Events: the distinct connections mode of GraphQL over SSE.

https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import orjson
import structlog
from asgi_correlation_id import correlation_id
from starlette.types import Message, Receive

from resolvers.errors import UnavailableError
from schema.errors import UNAVAILABLE, failure, masked
from server.access.memory_budget import Reservation
from server.graphql.request import GraphQLRequest
from server.graphql.request_parsing import RequestRefusedError
from server.streams.execution import StreamOperations, SubscriptionPayloads
from server.streams.sender import ENDING_SECONDS, PeerGoneError, Sender

log = structlog.get_logger("coingraph.streams")

KEEP_ALIVE_SECONDS = 15.0  # proxies and browsers close after about 60 seconds of silence
# With an empty data line: browsers dispatch no event without data.
_COMPLETE = b"event: complete\ndata:\n\n"
_LEFT_OPEN = b""
_COMMENT = b":\n\n"
_BEFORE, _AFTER = b"event: next\ndata: ", b"\n\n"
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"vary", b"Accept, Accept-Encoding, Authorization"),
    (b"x-accel-buffering", b"no"),  # else nginx buffers events
)


class EventStream:
    """The event stream of one admitted operation."""

    def __init__(
        self,
        operations: StreamOperations,
        request: GraphQLRequest,
        sender: Sender,
        *,
        keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
    ) -> None:
        self._operations = operations
        self._exchange = request
        self._sender = sender
        self._keep_alive_seconds = keep_alive_seconds
        self._stopping = False
        self._streaming = False
        self._answering: asyncio.Task[bytes]

    async def serve(self, receive: Receive) -> None:
        """Stream until the operation ends, the client disconnects, or `end` is called.

        Raises RequestRefusedError, before it sends anything, if the caller's operations hold too
        much.
        """
        with self._operations.reserve(self._exchange) as reservation:
            await self._serve(receive, reservation)

    async def _serve(self, receive: Receive, reservation: Reservation) -> None:
        headers = [*_HEADERS, *self._exchange.rate_limit()]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        with contextlib.suppress(PeerGoneError):
            await self._sender.send(start)
            await self._sender.deliver(b"", _COMMENT)  # confirms the connection to the client
            self._answering = asyncio.create_task(self._answer(reservation))
            leaving = asyncio.create_task(_left(receive))
            try:
                last = await self._last(leaving)
                await self._sender.send({"type": "http.response.body", "body": last})
            finally:
                leaving.cancel()
                self._stop()
                await asyncio.wait((leaving, self._answering))
                if not self._answering.cancelled():
                    self._answering.exception()  # retrieved, or asyncio would log it

    def end(self) -> Coroutine[Any, Any, None]:
        """Stop a subscription at once; the result of a query or mutation is still sent.

        The body of a subscription ends without `complete`, so that clients connect again.
        """
        self._sender.seconds = ENDING_SECONDS
        self._stop()
        return self._end()

    async def _end(self) -> None:
        """Do nothing: `serve` sends the rest."""

    def abort(self) -> None:
        """Abort the connection."""
        self._sender.abort()

    async def _last(self, leaving: asyncio.Task[None]) -> bytes:
        """Send keep-alive comments until the operation ends; return its last bytes."""
        while not self._answering.done():
            done, _ = await asyncio.wait(
                (self._answering, leaving),
                timeout=self._keep_alive_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if leaving in done:
                raise PeerGoneError
            if not done and not self._sender.busy:
                await self._sender.deliver(b"", _COMMENT)
        return self._answering.result()

    async def _answer(self, reservation: Reservation) -> bytes:
        """Send the payloads; return the last bytes."""
        try:
            begun = await self._operations.begin(self._exchange, reservation)
            del self._exchange.parameters  # a subscription may last for days
            if isinstance(begun, SubscriptionPayloads):
                return _COMPLETE if await self._stream(begun) else _LEFT_OPEN
            await self._next(begun)
        except RequestRefusedError as refused:
            if self._stopping and refused.is_transient:
                return _LEFT_OPEN  # another server may answer it
            return _BEFORE + orjson.dumps(refused.answer.body) + _AFTER + _COMPLETE
        except UnavailableError as error:
            body = failure(UNAVAILABLE, str(error)).body
            return _BEFORE + orjson.dumps(body) + _AFTER + _COMPLETE
        except PeerGoneError:
            raise
        except Exception:
            log.exception("unexpected error")
            body = masked(correlation_id.get() or "").body
            return _BEFORE + orjson.dumps(body) + _AFTER + _COMPLETE
        return _COMPLETE

    async def _stream(self, begun: SubscriptionPayloads) -> bool:
        """Send each event; return True if the source of events ended by itself."""
        try:
            async with begun.opened() as payloads:
                if self._stopping:
                    return False
                self._streaming = True
                async for payload in payloads:
                    await self._next(payload)
        except asyncio.CancelledError:
            if not self._stopping:
                raise  # cancelled from outside, at the end of the process
            return False
        else:
            return True
        finally:
            self._streaming = False

    def _stop(self) -> None:
        """Cancel a subscription. A query or a mutation runs to its end, as without a stream."""
        self._stopping = True
        if self._streaming:
            self._answering.cancel()

    async def _next(self, payload: bytes) -> None:
        await self._sender.deliver(payload, _BEFORE, _AFTER)


def body_part(data: bytes | memoryview, _first: bool, _more: bool) -> Message:
    """Make the ASGI message for a part of the stream."""
    return {"type": "http.response.body", "body": data, "more_body": True}


async def _left(receive: Receive) -> None:
    """Return when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass
