"""Clients of each transport that read little or nothing, through small buffers."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import httpx

from tests.server.raw_client import HEAD
from tests.server.streams.websocket_client import Talk, connected_to
from tests.serving import Client

Reader = AbstractAsyncContextManager[asyncio.StreamReader]


@contextlib.asynccontextmanager
async def deaf(client: Client) -> AsyncIterator[socket.socket]:
    """A connection of a client that will read little."""
    address = httpx.URL(client.url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, (address.host, address.port))
        yield connection


@contextlib.asynccontextmanager
async def over_post(
    client: Client, query: str, coding: bytes = b"identity"
) -> AsyncIterator[asyncio.StreamReader]:
    """Send a query by POST."""
    async with _asking(client, query, HEAD + b"Accept-Encoding: %b\r\n" % coding) as reader:
        yield reader


@contextlib.asynccontextmanager
async def over_events(client: Client, query: str) -> AsyncIterator[asyncio.StreamReader]:
    """Request an event stream."""
    async with _asking(client, query, HEAD + b"Accept: text/event-stream\r\n") as reader:
        yield reader


@contextlib.asynccontextmanager
async def _asking(client: Client, query: str, head: bytes) -> AsyncIterator[asyncio.StreamReader]:
    body = json.dumps({"query": query}).encode()
    async with deaf(client) as connection:
        reader, writer = await asyncio.open_connection(sock=connection, limit=1024)
        writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        yield reader
        writer.transport.abort()


@contextlib.asynccontextmanager
async def over_websocket(
    client: Client, query: str, operations: int = 1
) -> AsyncIterator[asyncio.StreamReader]:
    """Send an operation over a WebSocket, after reading the handshake and the acknowledgement."""
    async with deaf(client) as connection:
        reader, writer = await asyncio.open_connection(sock=connection, limit=1024)
        writer.write(
            b"GET /graphql HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_frame({"type": "connection_init"}))
        await reader.readuntil(b'connection_ack"}')
        for number in range(operations):
            payload = {"query": query}
            writer.write(_frame({"type": "subscribe", "id": str(number), "payload": payload}))
        yield reader
        writer.transport.abort()


def _frame(message: object) -> bytes:
    """Make a text frame, masked with zeros. RFC 6455, 5.2."""
    text = json.dumps(message).encode()
    return (
        b"\x81\xfe" + len(text).to_bytes(2) + bytes(4) + text
        if len(text) > 125
        else (b"\x81" + bytes([0x80 | len(text)]) + bytes(4) + text)
    )


@contextlib.asynccontextmanager
async def slow_talk(client: Client) -> AsyncIterator[Talk]:
    """A WebSocket through small buffers, acknowledged."""
    async with (
        deaf(client) as connection,
        connected_to(client, sock=connection, max_size=None) as talk,
    ):
        await talk.say("connection_init")
        assert await talk.receive() == {"type": "connection_ack"}
        yield talk


OVER: dict[str, Callable[[Client, str], Reader]] = {
    "post": over_post,
    "events": over_events,
    "websocket": over_websocket,
}
