"""One WebSocket: reads the messages of its client and runs its operations."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.types import Message, Receive

from resolvers.errors import UnavailableError
from schema.errors import STATUS, UNAVAILABLE
from server.access.memory_budget import Reservation
from server.graphql.request import GraphQLRequest
from server.graphql.request_parsing import RequestRefusedError, parameters_of
from server.streams import graphql_transport_ws as protocol
from server.streams.execution import StreamOperations
from server.streams.graphql_transport_ws import CloseError
from server.streams.operation import StreamedOperation
from server.streams.sender import ENDING_SECONDS, PeerGoneError, Sender

INIT_SECONDS = 10.0
ROOM_SECONDS = 5.0
_NORMAL = 1000
FRAGMENT = "coingraph.websocket.fragment"  # an ASGI extension: a text message sent in fragments
# Makes the request of an operation, with the `authorization` of `connection_init`, if any.
RequestFactory = Callable[[str | None], GraphQLRequest]


def fragment(data: bytes | memoryview, first: bool, more: bool) -> Message:
    """Make the ASGI message for a fragment of a text message in UTF-8: one frame."""
    return {"type": FRAGMENT, "data": data, "first": first, "more": more}


class _RunningOperation(StreamedOperation):
    """An operation with the id that its client gave; `forget` is called when the id is free."""

    def __init__(self, operation_id: str, sender: Sender, forget: Callable[[], None]) -> None:
        self.id = operation_id
        super().__init__(sender, protocol.OperationMessages(operation_id))
        self._forget = forget

    async def serve(
        self, operations: StreamOperations, request: GraphQLRequest, reservation: Reservation
    ) -> None:
        """Run the operation and send its last message."""
        run = self.run(operations, request, reservation)
        del request  # a subscription may last for days
        with reservation, contextlib.suppress(PeerGoneError):
            last = await run
            # before the last message, after which the client may reuse the id
            self._forget()
            if last is not None and not self.abandoned:
                await self._send_last(last)

    async def _send_last(self, last: bytes) -> None:
        try:
            await self._sender.deliver(last)
        except UnavailableError as error:  # a long message: many errors
            await self._sender.deliver(self.unread(error))


class WebSocketConnection:
    """An accepted WebSocket. `begun`: the number of its operations. `code`: its close code."""

    def __init__(
        self,
        operations: StreamOperations,
        exchanges: RequestFactory,
        receive: Receive,
        sender: Sender,
        *,
        most_operations: int,
        init_seconds: float = INIT_SECONDS,
    ) -> None:
        self._operations = operations
        self._request_factory = exchanges
        self._receive = receive
        self._sender = sender
        self._most_operations = most_operations
        self._init_seconds = init_seconds
        self._authorization: str | None = None
        self._acknowledged = False
        self._ending = False
        self._running: dict[str, _RunningOperation] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # including those of abandoned operations
        self.begun = 0
        self.code = _NORMAL

    async def serve(self) -> None:
        """Process messages until one side closes; then wait for all operations to end."""
        try:
            await self._process_messages()
        except CloseError as error:
            await self._close(error.code, error.reason)
        except PeerGoneError:
            pass
        finally:
            self._sender.gone = True
            for running in list(self._running.values()):
                running.abandon()
            await self._all_done()

    def end(self) -> Coroutine[Any, Any, None]:
        """Stop all subscriptions at once; return a coroutine that waits for the other operations.

        Then it closes the WebSocket with 1001, after which clients connect and subscribe again.
        """
        self._ending = True
        self._sender.seconds = ENDING_SECONDS
        for running in list(self._running.values()):
            running.stop_without_complete()
        return self._end()

    async def _end(self) -> None:
        await self._all_done()
        await self._close(protocol.GOING_AWAY, "The server is going away.")

    def abort(self) -> None:
        """Abort the connection."""
        self._sender.abort()

    async def _process_messages(self) -> None:
        try:
            async with asyncio.timeout(self._init_seconds) as deadline:
                while (text := await self._next()) is not None:
                    await self._handle(protocol.read(text))
                    if self._acknowledged:
                        deadline.reschedule(None)
        except TimeoutError:
            reason = "Connection initialisation timeout"
            raise CloseError(protocol.INIT_TIMEOUT, reason) from None

    async def _next(self) -> str | None:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            if not self._sender.gone:
                self.code = message.get("code") or self.code
            return None
        text: str | None = message.get("text")
        if text is None:
            raise CloseError(protocol.BAD_MESSAGE, "A message must be text, not binary.")
        return text

    async def _handle(self, message: protocol.Message) -> None:
        match message:
            case protocol.Init(payload):
                await self._acknowledge(payload)
            case protocol.Ping(payload):
                await self._send(protocol.pong(payload))
            case protocol.Pong():
                pass
            case protocol.Subscribe(operation_id, payload):
                await self._subscribe(operation_id, payload)
            case protocol.Complete(operation_id):
                if running := self._running.pop(operation_id, None):
                    running.abandon()

    async def _acknowledge(self, payload: dict[str, Any]) -> None:
        if self._acknowledged:
            raise CloseError(protocol.TOO_MANY, "Too many initialisation requests")
        for name, value in payload.items():
            if name.lower() == "authorization" and isinstance(value, str):
                self._authorization = value
        try:
            self._operations.admit(self._request_factory(self._authorization))
        except RequestRefusedError as refused:
            away = refused.answer.status == STATUS[UNAVAILABLE]
            code = protocol.TRY_AGAIN_LATER if away else protocol.FORBIDDEN
            raise CloseError(code, refused.message) from None
        self._acknowledged = True
        await self._send(protocol.ACK)

    async def _subscribe(self, operation_id: str, payload: dict[str, Any]) -> None:
        if not self._acknowledged:
            raise CloseError(protocol.UNAUTHORIZED, "Unauthorized")
        if operation_id in self._running:
            reason = f"Subscriber for {operation_id} already exists"
            raise CloseError(protocol.ALREADY_EXISTS, reason)
        await self._wait_for_room()
        try:
            parameters = parameters_of(payload)
        except RequestRefusedError as refused:
            raise CloseError(protocol.BAD_MESSAGE, refused.message) from None
        if self._ending:
            return
        request = self._request_factory(self._authorization)
        request.parameters = parameters
        running = _RunningOperation(operation_id, self._sender, lambda: self._forget(running))
        try:
            reservation = self._operations.reserve(request)
        except RequestRefusedError as refused:  # no further message is read until it is sent
            error = protocol.OperationMessages(operation_id).error(refused.answer.body)
            await self._send(error)
            return
        task = asyncio.create_task(running.serve(self._operations, request, reservation))
        self._running[operation_id] = running
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.begun += 1

    async def _wait_for_room(self) -> None:
        """Wait until abandoned and finished operations have ended and make room for another."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ROOM_SECONDS):
                while len(self._running) < self._most_operations <= len(self._tasks):
                    await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        if len(self._tasks) >= self._most_operations:
            reason = f"Too many operations: at most {self._most_operations} at once"
            raise CloseError(protocol.TOO_MANY, reason)

    def _forget(self, running: _RunningOperation) -> None:
        if self._running.get(running.id) is running:
            del self._running[running.id]

    async def _all_done(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _send(self, message: bytes) -> None:
        await self._sender.deliver(b"", message)

    async def _close(self, code: int, reason: str) -> None:
        self.code = code
        with contextlib.suppress(PeerGoneError):
            await self._sender.send({"type": "websocket.close", "code": code, "reason": reason})
        self._sender.gone = True
