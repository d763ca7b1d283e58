"""The WebSocket protocol for uvicorn, with bounds on clients that stop reading."""

import logging
from asyncio.transports import BaseTransport
from collections.abc import Awaitable
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame
from websockets.protocol import State

from server.config.addresses import plain_peer
from server.http.backpressure import MIN_BYTES_PER_SECOND
from server.http.scope_state import DRAIN, RELEASE
from server.streams.websocket import FRAGMENT
from server.transport.handshake import HandshakeProtocol

_log = logging.getLogger("uvicorn.websockets")
_INVALID_DATA, _TOO_BIG = 1007, 1009
_NO_HANDSHAKE = "The WebSocket handshake cannot be read."
_MOST_FRAGMENTS = 1000  # of one message: empty ones do not count towards its size limit
_PONG_SECONDS = 20.0
_LINGER_SECONDS = 12.0  # uvicorn waits 10 s for the close frame of the client


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, which aborts connections to clients that do not read.

    Closing a transport waits until its buffer is written; for a client that does not read, that
    would be for ever.
    """

    _unconfirmed = 0  # bytes sent since the last ping
    _rejected = False  # the handshake is, by us or by uvicorn

    def __init__(self, *given: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*given, **named)
        # not uvicorn.error, which logs three lines for each connection at INFO
        self.logger = _log
        self.app_state = {**self.app_state, DRAIN: self._until_read}
        self.conn = HandshakeProtocol(self.config.ws_max_size, lambda: self.client, _log)

    def connection_made(self, transport: BaseTransport) -> None:
        """Write the peer's address in one spelling."""
        super().connection_made(transport)
        self.client = plain_peer(self.client)

    def data_received(self, data: bytes) -> None:
        """Answer also a malformed handshake, which uvicorn would leave open for ever."""
        super().data_received(data)
        if self.conn.handshake_exc is None or self._rejected:
            return
        self._rejected = True
        if not self.handshake_complete:
            self.handshake_complete = True
            unsent = b"".join(self.conn.data_to_send())
            self.transport.write(unsent or self.conn.reject(400, _NO_HANDSHAKE).serialize())
            self.transport.close()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def _until_read(self) -> Awaitable[object] | None:
        return None if self.writable.is_set() else self.writable.wait()

    async def send(self, message: ASGISendEvent) -> None:
        """Send an ASGI message, or a fragment of `server.streams.websocket`."""
        if message["type"] == FRAGMENT:
            await self._send_fragment(message)
            return
        await super().send(message)
        if self.close_sent:
            # also by a rejection, which uvicorn would take for an unfinished handshake
            self.handshake_complete = True

    async def _send_fragment(self, piece: Any) -> None:  # noqa: ANN401 - of server.streams.websocket.fragment
        """Send a fragment of a text message, so that a long message is not copied."""
        await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        send = self.conn.send_text if piece["first"] else self.conn.send_continuation
        try:
            send(piece["data"], fin=not piece["more"])
        except InvalidState:
            raise ClientDisconnected from None
        self._unconfirmed += len(piece["data"])
        self.transport.write(b"".join(self.conn.data_to_send()))

    def handle_ping(self) -> None:
        """Answer a ping, unless the client does not read.

        The protocol reads regardless of the write buffer, so pongs would accumulate in it.
        """
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # discard the pong

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the slot of the connection."""
        super().connection_lost(exc)
        self.app_state[RELEASE]()

    def send_keepalive_ping(self) -> None:
        """Send a ping; allow for its pong the time to read all bytes sent before it."""
        self.ping_timeout = _PONG_SECONDS + self._unconfirmed / MIN_BYTES_PER_SECOND
        self._unconfirmed = 0
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        """Abort the connection: the pong is late."""
        self.pong_timer = None
        self.transport.abort()

    def handle_parser_exception(self) -> None:
        """Close after a protocol error."""
        super().handle_parser_exception()
        self.disconnected = True  # else uvicorn would log the next `send` as an error

    def send_receive_event_to_app(self) -> None:
        """Pass a message to the application; close without a traceback if it is not UTF-8."""
        if self.conn.state is not State.OPEN:
            self.frames = []  # too late to be processed
            return
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self._refuse(_INVALID_DATA)
                return
        super().send_receive_event_to_app()

    def handle_cont(self, event: Frame) -> None:
        """Add a continuation frame; close if the message has too many."""
        if len(self.frames) < _MOST_FRAGMENTS:
            super().handle_cont(event)
        elif not self.disconnected:
            self._refuse(_TOO_BIG)

    def _refuse(self, code: int) -> None:
        self.conn.send_close(code)
        self.handle_parser_exception()
        self.frames = []

    async def run_asgi(self) -> None:
        """Run the application, then abort the connection if it lingers."""
        await super().run_asgi()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)
