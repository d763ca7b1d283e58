"""Server-Sent Events: the distinct connections mode of GraphQL over SSE.

https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import orjson
from starlette.types import Message, Receive

from server.access.memory_budget import Reservation
from server.graphql.request import GraphQLRequest
from server.streams.execution import StreamOperations
from server.streams.operation import StreamedOperation
from server.streams.sender import ENDING_SECONDS, PeerGoneError, Sender

KEEP_ALIVE_SECONDS = 15.0  # proxies and browsers close after about 60 seconds of silence
# With an empty data line: browsers dispatch no event without data.
_COMPLETE = b"event: complete\ndata:\n\n"
_COMMENT = b":\n\n"
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"vary", b"Accept, Accept-Encoding, Authorization"),
    (b"x-accel-buffering", b"no"),  # else nginx buffers events
)


class _Messages:
    """The messages of the operation; see server.streams.operation.Messages."""

    around_payload = b"event: next\ndata: ", b"\n\n"

    def error(self, body: dict[str, Any]) -> bytes:
        before, after = self.around_payload
        return before + orjson.dumps(body) + after + _COMPLETE

    def complete(self) -> bytes:
        return _COMPLETE


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
        self._request = request
        self._sender = sender
        self._keep_alive_seconds = keep_alive_seconds
        self._operation = StreamedOperation(sender, _Messages())
        self._answering: asyncio.Task[bytes | None]

    async def serve(self, receive: Receive) -> None:
        """Stream until the operation ends, the client disconnects, or `end` is called.

        Raises RequestRefusedError, before it sends anything, if the caller's operations hold too
        much.
        """
        with self._operations.reserve(self._request) as reservation:
            await self._serve(receive, reservation)

    async def _serve(self, receive: Receive, reservation: Reservation) -> None:
        headers = [*_HEADERS, *self._request.rate_limit()]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        with contextlib.suppress(PeerGoneError):
            await self._sender.send(start)
            await self._sender.deliver(b"", _COMMENT)  # confirms the connection to the client
            self._answering = asyncio.create_task(
                self._operation.run(self._operations, self._request, reservation)
            )
            leaving = asyncio.create_task(_left(receive))
            try:
                last = await self._last(leaving)
                await self._sender.send({"type": "http.response.body", "body": last})
            finally:
                leaving.cancel()
                self._operation.abandon()
                await asyncio.wait((leaving, self._answering))
                if not self._answering.cancelled():
                    self._answering.exception()  # retrieved, or asyncio would log it

    def end(self) -> Coroutine[Any, Any, None]:
        """Stop a subscription at once; the result of a query or mutation is still sent.

        The body of a subscription ends without `complete`, so that clients connect again.
        """
        self._sender.seconds = ENDING_SECONDS
        self._operation.stop_without_complete()
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
        return self._answering.result() or b""  # left open


def body_part(data: bytes | memoryview, _first: bool, _more: bool) -> Message:
    """Make the ASGI message for a part of the stream."""
    return {"type": "http.response.body", "body": data, "more_body": True}


async def _left(receive: Receive) -> None:
    """Return when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass
