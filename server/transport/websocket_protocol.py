"""uvicorn's connections, mended for clients that stay, and for those that stop reading."""

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
_NO_HANDSHAKE = "The handshake of the WebSocket cannot be read."
_MOST_FRAGMENTS = 1000  # of one message: the size limit does not count empty ones
_PONG_SECONDS = 20.0
_LINGER_SECONDS = 12.0  # uvicorn waits 10 for the other side's close


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket that does not outlive its peer's interest.

    Closing a transport waits until all is written, for ever with a peer that does not read, so
    in the end it is aborted.
    """

    _unconfirmed = 0  # bytes that were sent since the last ping

    def __init__(self, *given: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*given, **named)
        # not the one that tells of the server's start: three lines a connection are too many
        self.logger = _log
        self.app_state = {**self.app_state, DRAIN: self._until_read}
        self.conn = HandshakeProtocol(self.config.ws_max_size, lambda: self.client, _log)

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.client = plain_peer(self.client)

    def data_received(self, data: bytes) -> None:
        """Answer also a handshake that websockets cannot read; uvicorn would never end it."""
        super().data_received(data)
        if self.conn.handshake_exc is None or self.handshake_complete:
            return
        self.handshake_complete = True
        unsent = b"".join(self.conn.data_to_send())
        self.transport.write(unsent or self.conn.reject(400, _NO_HANDSHAKE).serialize())
        self.transport.close()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def _until_read(self) -> Awaitable[object] | None:
        return None if self.writable.is_set() else self.writable.wait()

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == FRAGMENT:
            await self._send_fragment(message)
            return
        await super().send(message)
        if self.close_sent:  # also by a refusal, which uvicorn would take for an unfinished one
            self.handshake_complete = True

    async def _send_fragment(self, piece: Any) -> None:  # noqa: ANN401 - of streams.socket.fragment
        """Send a piece of a text message, so that a long one need not be in memory again."""
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
        """Answer a ping, unless its sender does not read what it was answered before.

        Reading goes on whatever is still to be written, so that answers would pile up.
        """
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # and so forgotten

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.app_state[RELEASE]()

    def send_keepalive_ping(self) -> None:
        """Wait for the pong until all before the ping has been read, as slowly as one may."""
        self.ping_timeout = _PONG_SECONDS + self._unconfirmed / MIN_BYTES_PER_SECOND
        self._unconfirmed = 0
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        self.pong_timer = None
        self.transport.abort()

    def handle_parser_exception(self) -> None:
        super().handle_parser_exception()
        self.disconnected = True  # or what is sent meanwhile would be taken for a fault of ours

    def send_receive_event_to_app(self) -> None:
        """Hand a message on; one that is not UTF-8 is answered by a close, without a traceback."""
        if self.conn.state is not State.OPEN:
            self.frames = []  # it comes too late to be taken, or answered
            return
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self._refuse(_INVALID_DATA)
                return
        super().send_receive_event_to_app()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < _MOST_FRAGMENTS:
            super().handle_cont(event)
        elif not self.disconnected:
            self._refuse(_TOO_BIG)

    def _refuse(self, code: int) -> None:
        self.conn.send_close(code)
        self.handle_parser_exception()
        self.frames = []

    async def run_asgi(self) -> None:
        await super().run_asgi()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)
