"""Admits WebSockets and event streams, and ends them when the server stops."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
import structlog
from starlette.types import Receive, Scope, Send

from schema.errors import UNAVAILABLE, Answer, failure
from schema.execution.schema import LimitedSchema
from server.graphql.admission import Admission
from server.graphql.handler import OperationHandler
from server.graphql.request import GraphQLRequest
from server.graphql.request_parsing import RequestRefusedError, headers_of
from server.http.backpressure import BackpressureBudget
from server.http.cross_origin import Origins
from server.http.security_headers import SECURITY_HEADERS
from server.streams.execution import StreamOperations
from server.streams.graphql_transport_ws import SUBPROTOCOL, UNKNOWN_SUBPROTOCOL
from server.streams.sender import STALLED_SECONDS, AsMessage, PeerGoneError, Sender
from server.streams.sse import KEEP_ALIVE_SECONDS, EventStream, body_part
from server.streams.websocket import INIT_SECONDS, RequestFactory, WebSocketConnection, fragment

log = structlog.get_logger("coingraph.streams")


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """`origins`: the pages of other sites that may open a WebSocket. Times are in seconds."""

    origins: Origins = Origins()  # noqa: RUF009 - it is immutable
    most_operations: int = 20
    init_seconds: float = INIT_SECONDS
    stalled_seconds: float = STALLED_SECONDS
    keep_alive_seconds: float = KEEP_ALIVE_SECONDS


class _Stream(Protocol):
    def end(self) -> Coroutine[Any, Any, None]: ...

    def abort(self) -> None: ...


class StreamEndpoint:
    """Serves WebSockets and event streams. Its length is the number of open ones."""

    def __init__(
        self,
        schema: LimitedSchema,
        admission: Admission,
        handler: OperationHandler,
        settings: StreamSettings,
        backpressure: BackpressureBudget,
    ) -> None:
        self.operations = StreamOperations(schema, admission, handler)
        self._admission = admission
        self._settings = settings
        self._backpressure = backpressure
        self._open: set[_Stream] = set()
        self._closing = False

    def __len__(self) -> int:
        return len(self._open)

    async def serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a WebSocket handshake and serve the WebSocket to its end."""
        await receive()  # websocket.connect
        sender = self._sender(scope, send, fragment)
        headers = headers_of(scope)
        with contextlib.suppress(PeerGoneError):
            if not self._settings.origins.allows_websocket(headers):
                await _refuse(sender, failure("FORBIDDEN", _FOREIGN))
            elif self._closing:
                await _refuse(sender, _STOPPING)
            elif refused := await self._charge(scope):
                await _refuse(sender, refused)
            elif SUBPROTOCOL not in scope["subprotocols"]:
                await sender.send({"type": "websocket.accept"})
                reason = f"Use the subprotocol {SUBPROTOCOL}"
                await sender.send(
                    {"type": "websocket.close", "code": UNKNOWN_SUBPROTOCOL, "reason": reason}
                )
            else:
                await sender.send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
                await self._serve_accepted(scope, receive, sender)

    def _sender(self, scope: Scope, send: Send, as_message: AsMessage) -> Sender:
        return Sender(scope, send, self._backpressure, as_message, self._settings.stalled_seconds)

    async def _charge(self, scope: Scope) -> Answer | None:
        """Charge a connection as a request; return the error if the rate limit is exhausted."""
        try:
            await self._admission.charge_request(self._request_factory(scope)(None))
        except RequestRefusedError as refused:
            return refused.answer
        return None

    async def _serve_accepted(self, scope: Scope, receive: Receive, sender: Sender) -> None:
        started = time.perf_counter()
        socket = WebSocketConnection(
            self.operations,
            self._request_factory(scope),
            receive,
            sender,
            most_operations=self._settings.most_operations,
            init_seconds=self._settings.init_seconds,
        )
        with self._counted(socket):
            try:
                await socket.serve()
            except asyncio.CancelledError:  # the grace period of the stopping server is over
                sender.abort()
        log.info(
            "websocket closed",
            code=socket.code,
            operations=socket.begun,
            seconds=round(time.perf_counter() - started, 1),
            client=scope["client"][0] if scope.get("client") else None,
        )

    async def serve_events(self, request: GraphQLRequest, receive: Receive, send: Send) -> None:
        """Stream the results of an operation.

        Raises RequestRefusedError before it sends anything.
        """
        self.operations.admit(request)
        if self._closing:
            raise RequestRefusedError(_STOPPING)
        stream = EventStream(
            self.operations,
            request,
            self._sender(request.scope, send, body_part),
            keep_alive_seconds=self._settings.keep_alive_seconds,
        )
        with self._counted(stream):
            await stream.serve(receive)

    async def close(self, seconds: float) -> None:
        """End all streams; abort those that take longer than `seconds`.

        All subscriptions are stopped before the first await, so that none sends `complete` because
        its source of events ends with the server.
        """
        self._closing = True
        ends = {asyncio.create_task(each.end()): each for each in self._open}
        if not ends:
            return
        _, late = await asyncio.wait(ends, timeout=seconds)
        for end in late:
            end.cancel()
            ends[end].abort()

    @contextlib.contextmanager
    def _counted(self, stream: _Stream) -> Iterator[None]:
        self._open.add(stream)
        try:
            yield
        finally:
            self._open.discard(stream)

    def _request_factory(self, scope: Scope) -> RequestFactory:
        """Return a function that makes the request of an operation, as if it were sent by POST."""
        others = [header for header in scope["headers"] if header[0] != b"authorization"]

        def make(authorization: str | None) -> GraphQLRequest:
            headers = scope["headers"]
            if authorization is not None:
                headers = [*others, (b"authorization", authorization.encode())]
            return self._admission.new_request(
                {**scope, "type": "http", "method": "POST", "headers": headers}
            )

        return make


_FOREIGN = "Pages of this origin may not connect: add it to CORS_ORIGINS on the server."
_STOPPING = failure(UNAVAILABLE, "The server is stopping. Connect again in a few seconds.")


async def _refuse(sender: Sender, answer: Answer) -> None:
    """Answer a handshake with an HTTP error."""
    headers = [(b"content-type", b"application/json; charset=utf-8"), *SECURITY_HEADERS]
    if answer.retry_after is not None:
        headers.append((b"retry-after", b"%d" % answer.retry_after))
    await sender.send(
        {"type": "websocket.http.response.start", "status": answer.status, "headers": headers}
    )
    await sender.send({"type": "websocket.http.response.body", "body": orjson.dumps(answer.body)})
