"""One answer as Server-Sent Events: the distinct connections mode of GraphQL over SSE.

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

KEEP_ALIVE_SECONDS = 15.0  # proxies and browsers take some 60 seconds of silence for the end
# With a line of data, though there is none: browsers do not tell of an event without.
_COMPLETE = b"event: complete\ndata:\n\n"
_LEFT_OPEN = b""
_COMMENT = b":\n\n"
_BEFORE, _AFTER = b"event: next\ndata: ", b"\n\n"
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"vary", b"Accept, Accept-Encoding, Authorization"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
)


class EventStream:
    """The stream of one operation that was admitted."""

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
        """Send until the operation ends, the client leaves, or `end` is called.

        Raises RequestRefusedError, before anything is sent, where too many are under way.
        """
        with self._operations.reserve(self._exchange) as reservation:
            await self._serve(receive, reservation)

    async def _serve(self, receive: Receive, reservation: Reservation) -> None:
        headers = [*_HEADERS, *self._exchange.rate_limit()]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        with contextlib.suppress(PeerGoneError):
            await self._sender.send(start)
            await self._sender.deliver(b"", _COMMENT)  # the client hears that it is connected
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
                    self._answering.exception()  # or that it has gone would be logged as a fault

    def end(self) -> Coroutine[Any, Any, None]:
        """Stop a subscription at once; an answer that is under way is still sent.

        The body of a subscription ends without `complete`, after which clients connect again.
        """
        self._sender.seconds = ENDING_SECONDS
        self._stop()
        return self._end()

    async def _end(self) -> None:
        """Leave the rest to `serve`."""

    def abort(self) -> None:
        self._sender.abort()

    async def _last(self, leaving: asyncio.Task[None]) -> bytes:
        """Give signs of life until all is sent but what comes last, which is returned."""
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
        """Send what the operation gives, but for what comes last."""
        try:
            begun = await self._operations.begin(self._exchange, reservation)
            del self._exchange.operation  # a subscription may last for days
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
        """Send each event; whether they came to their own end."""
        try:
            async with begun.opened() as payloads:
                if self._stopping:
                    return False
                self._streaming = True
                async for payload in payloads:
                    await self._next(payload)
        except asyncio.CancelledError:
            if not self._stopping:
                raise  # somebody else's, at the end of the process
            return False
        else:
            return True
        finally:
            self._streaming = False

    def _stop(self) -> None:
        """Stop a subscription. A query or a mutation goes on, as it does without a stream."""
        self._stopping = True
        if self._streaming:
            self._answering.cancel()

    async def _next(self, payload: bytes) -> None:
        await self._sender.deliver(payload, _BEFORE, _AFTER)


def body_part(data: bytes | memoryview, _first: bool, _more: bool) -> Message:
    """Make what sends a part of the stream, which goes on."""
    return {"type": "http.response.body", "body": data, "more_body": True}


async def _left(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
