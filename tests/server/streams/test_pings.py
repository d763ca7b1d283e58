"""Pongs to a peer that does not read, on a full transport."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from server.config.settings import Settings
from server.http.scope_state import RELEASE
from server.process.server import server_config
from server.streams.websocket import fragment
from server.transport.websocket_protocol import WebSocketProtocol

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
PING = b"\x89\x84\0\0\0\0" + b"ping"  # masked with zeros
PONG = b"\x8a\x04" + b"ping"


class Pipe(asyncio.Transport):
    """A transport that records what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: object) -> None:
        self.written += bytes(data)  # type: ignore[call-overload] # bytes-like

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        raise AssertionError("pings are no messages")

    def resume_reading(self) -> None:
        """Reading was never paused."""

    def close(self) -> None:
        """Nothing to close."""

    abort = close


@contextlib.asynccontextmanager
async def accepted() -> AsyncIterator[tuple[WebSocketProtocol, Pipe, Send]]:
    """Return an open WebSocket, its transport, and a function that sends over it."""
    ready, over = asyncio.Event(), asyncio.Event()
    sends: list[Send] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        sends.append(send)
        ready.set()
        await over.wait()

    server = Starlette()
    server.state.application = SimpleNamespace(settings=Settings())
    config = server_config(server)
    config.load()
    config.loaded_app = app
    connection, pipe = WebSocketProtocol(config, ServerState(), {RELEASE: over.set}), Pipe()
    connection.connection_made(pipe)
    connection.data_received(HANDSHAKE)
    await asyncio.wait_for(ready.wait(), 60)
    pipe.written = b""
    yield connection, pipe, sends[0]
    connection.connection_lost(None)
    assert over.is_set()


async def test_pongs_do_not_accumulate() -> None:
    async with accepted() as (connection, pipe, _):
        connection.data_received(PING)
        assert pipe.written == PONG
        connection.pause_writing()
        for _ in range(100):
            connection.data_received(PING)
        assert pipe.written == PONG
        connection.resume_writing()
        connection.data_received(PING)
        assert pipe.written == 2 * PONG


async def test_the_pong_timeout_grows_with_unread_bytes() -> None:
    """A client that still reads a response is not disconnected."""
    async with accepted() as (connection, _, send):
        connection.send_keepalive_ping()
        assert connection.ping_timeout == 20
        for number in range(30):
            await send(fragment(b"x" * 100_000, number == 0, number < 29))
        connection.send_keepalive_ping()
        assert connection.ping_timeout == 20 + 30
        connection.send_keepalive_ping()
        assert connection.ping_timeout == 20
