"""The answers to pings of a peer that does not read, on a transport that is full."""

import asyncio
from types import SimpleNamespace

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from server.connections import LEAVE, SocketConnection
from server.serving import server_config
from server.settings import Settings

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
PING = b"\x89\x84\0\0\0\0" + b"ping"  # masked with zeros
PONG = b"\x8a\x04" + b"ping"


class Pipe(asyncio.Transport):
    """Keeps what is written."""

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
        """It has never ended."""

    def close(self) -> None:
        """Nothing is open."""

    abort = close


async def test_they_do_not_pile_up() -> None:
    accepted, over = asyncio.Event(), asyncio.Event()

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        accepted.set()
        await over.wait()

    server = Starlette()
    server.state.application = SimpleNamespace(settings=Settings())
    config = server_config(server)
    config.load()
    config.loaded_app = app
    connection, pipe = SocketConnection(config, ServerState(), {LEAVE: over.set}), Pipe()
    connection.connection_made(pipe)
    connection.data_received(HANDSHAKE)
    await asyncio.wait_for(accepted.wait(), 60)
    pipe.written = b""

    connection.data_received(PING)
    assert pipe.written == PONG
    connection.pause_writing()
    for _ in range(100):
        connection.data_received(PING)
    assert pipe.written == PONG
    connection.resume_writing()
    connection.data_received(PING)
    assert pipe.written == 2 * PONG

    connection.connection_lost(None)
    assert over.is_set()
