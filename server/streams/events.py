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
from starlette.types import Receive

from schema.errors import masked
from server.exchange import Exchange
from server.requests import RequestRefusedError
from server.streams.operations import Operations, Payloads
from server.streams.wire import ENDING_SECONDS, GoneError, Wire

log = structlog.get_logger("coingraph.streams")

KEEP_ALIVE_SECONDS = 15.0  # proxies and browsers take some 60 seconds of silence for the end
# With a line of data, though there is none: browsers do not tell of an event without.
_COMPLETE = "event: complete\ndata:\n\n"
_LEFT_OPEN = ""
_COMMENT = ":\n\n"
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
        operations: Operations,
        exchange: Exchange,
        wire: Wire,
        *,
        keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
    ) -> None:
        self._operations = operations
        self._exchange = exchange
        self._wire = wire
        self._keep_alive_seconds = keep_alive_seconds
        self._stopping = False
        self._streaming = False
        self._answering: asyncio.Task[str]

    async def serve(self, receive: Receive) -> None:
        """Send until the operation ends, the client leaves, or `end` is called."""
        headers = [*_HEADERS, *self._exchange.rate_limit()]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        with contextlib.suppress(GoneError):
            await self._wire.send(start)
            await self._send(_COMMENT)  # the client hears that it is connected
            self._answering = asyncio.create_task(self._answer())
            leaving = asyncio.create_task(_left(receive))
            try:
                await self._send(await self._last(leaving), more=False)
            finally:
                leaving.cancel()
                self._stop()
                await asyncio.wait((leaving, self._answering))

    def end(self) -> Coroutine[Any, Any, None]:
        """Stop a subscription at once; an answer that is under way is still sent.

        The body of a subscription ends without `complete`, after which clients connect again.
        """
        self._wire.seconds = ENDING_SECONDS
        self._stop()
        return self._end()

    async def _end(self) -> None:
        """Leave the rest to `serve`."""

    def abort(self) -> None:
        self._wire.abort()

    async def _last(self, leaving: asyncio.Task[None]) -> str:
        """Give signs of life until all is sent but what comes last, which is returned."""
        while not self._answering.done():
            done, _ = await asyncio.wait(
                (self._answering, leaving),
                timeout=self._keep_alive_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if leaving in done:
                raise GoneError
            if not done:
                await self._send(_COMMENT)
        return self._answering.result()

    async def _answer(self) -> str:
        try:
            begun = await self._operations.begin(self._exchange)
            if isinstance(begun, Payloads):
                return _COMPLETE if await self._stream(begun) else _LEFT_OPEN
            return _next(begun) + _COMPLETE
        except RequestRefusedError as refused:
            if self._stopping and refused.passing:
                return _LEFT_OPEN  # another server may answer it
            body = refused.answer.body
        except GoneError:
            raise
        except Exception:
            log.exception("unexpected error")
            body = masked(correlation_id.get() or "").body
        return _next(orjson.dumps(body).decode()) + _COMPLETE

    async def _stream(self, begun: Payloads) -> bool:
        """Send each event; whether they came to their own end."""
        try:
            async with begun.opened() as payloads:
                if self._stopping:
                    return False
                self._streaming = True
                async for payload in payloads:
                    await self._send(_next(payload))
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

    async def _send(self, text: str, *, more: bool = True) -> None:
        body = {"type": "http.response.body", "body": text.encode(), "more_body": more}
        await self._wire.send(body)


def _next(payload: str) -> str:
    return f"event: next\ndata: {payload}\n\n"


async def _left(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
