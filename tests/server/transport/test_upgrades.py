"""Upgrades to unsupported protocols, over real sockets."""

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from server.http import backpressure
from server.transport import http_bounds, websocket_protocol
from server.transport.http_protocol import HttpProtocol
from server.transport.websocket_protocol import WebSocketProtocol
from tests.server.cache_probes import is_true, until
from tests.server.raw_client import HEAD, QUERY, WHOLE, Answer, raw
from tests.server.slow_readers import deaf
from tests.serving import Reader

LIVE = b"GET /health/live HTTP/1.1\r\nHost: test\r\n\r\n"
HANDSHAKE = (
    b"GET /graphql HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n"
)
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
UPGRADES = [
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    b"Upgrade: foo\r\nConnection: upgrade\r\nConnection: keep-alive\r\n",
    b"Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n",
]


def refusal(answer: Answer, status: int) -> str:
    assert answer.status == status, answer
    message: str = json.loads(answer.body)["errors"][0]["message"]
    return message


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("apart", [False, True])
async def test_an_unsupported_upgrade_is_ignored(
    reader: Reader, upgrade: bytes, apart: bool
) -> None:
    """Java's client offers HTTP/2 this way; its body still belongs to the request."""
    head = HEAD + upgrade + b"Content-Length: %d\r\n\r\n" % len(QUERY)
    rest = QUERY + WHOLE.replace(b"json", b"xml")
    async with raw(reader.url) as client:
        client.send(WHOLE + head + (b"" if apart else rest))
        assert (await client.answer()).status == 200
        if apart:  # the head was read with what is answered now
            client.send(rest)
        assert "currencies" in json.loads((await client.answer()).body)["data"]
        assert "Content-Type" in refusal(await client.answer(), 415)


async def test_a_body_is_not_parsed_as_a_request(reader: Reader) -> None:
    """Also after an upgrade that a proxy has passed on."""
    head = HEAD + UPGRADES[1] + b"Content-Length: %d\r\n\r\n" % len(WHOLE)
    async with raw(reader.url) as client:
        client.send(WHOLE + head)
        assert (await client.answer()).status == 200
        client.send(WHOLE)
        assert "JSON" in refusal(await client.answer(), 400)
        client.send(WHOLE.replace(b"json", b"xml"))
        assert "Content-Type" in refusal(await client.answer(), 415)


@pytest.mark.slow
async def test_many_upgrades_in_one_piece(reader: Reader) -> None:
    line = b"GET /health/live HTTP/1.1\r\n" + UPGRADES[1] + b"\r\n"
    async with raw(reader.url) as client:
        client.send(line * 2000)
        for _ in range(2000):
            assert (await client.answer()).status == 200


@pytest.mark.parametrize("target", [b"other:443", b"/graphql"])
async def test_connect_is_rejected(reader: Reader, target: bytes) -> None:
    async with raw(reader.url) as client:
        client.send(b"CONNECT " + target + b" HTTP/1.1\r\nHost: other\r\n\r\n" + WHOLE)
        assert refusal(await client.answer(), 400)
        assert await client.closed()


async def test_a_websocket_after_an_unread_response(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes nothing until the client has read, and then stays."""
    monkeypatch.setattr(backpressure, "READ_GRACE_SECONDS", 1.0)
    monkeypatch.setattr(backpressure, "MIN_BYTES_PER_SECOND", 1e9)
    sockets: list[WebSocketProtocol] = []
    observe(monkeypatch, HttpProtocol, "connection_made", after=with_a_small_buffer)
    observe(monkeypatch, WebSocketProtocol, "connection_made", after=sockets.append)
    ask = b'{"query": "{ __schema { types { fields { name description } } } }"}'
    head = HEAD + b"Accept-Encoding: identity\r\nContent-Length: %d\r\n\r\n" % len(ask)
    async with deaf(reader) as connection:
        incoming, writer = await asyncio.open_connection(sock=connection, limit=1024)
        writer.write(head + ask + HANDSHAKE + KEY + b"\r\n")
        await until(is_true(lambda: bool(sockets)))
        assert not sockets[0].writable.is_set()
        received = b""
        while b"101 Switching" not in received:
            received += await incoming.read(65_536)
        await until(is_true(sockets[0].writable.is_set))
        await asyncio.sleep(2)  # longer than the response had to be read
        writer.write(b"\x89\x80" + bytes(4))
        assert (await incoming.readuntil(b"\x8a\x00")).endswith(b"\x8a\x00"), "a pong"
        writer.transport.abort()


@pytest.mark.parametrize(
    "last", [b"no HTTP\r\n\r\n", HANDSHAKE + b"\r\n", LIVE[:-2] + b"Connection: close\r\n\r\n"]
)
async def test_a_last_response_that_is_not_read_is_dropped(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, last: bytes
) -> None:
    """So little is unread that writing never pauses."""
    monkeypatch.setattr(http_bounds, "STALLED_SECONDS", 0.5)
    monkeypatch.setattr(websocket_protocol, "_LINGER_SECONDS", 0.5)
    unread: list[int] = []
    lost: list[object] = []

    def note_unread(protocol: Any) -> None:
        unread.append(protocol.transport.get_write_buffer_size())

    observe(monkeypatch, HttpProtocol, "connection_made", after=with_a_small_buffer)
    observe(monkeypatch, HttpProtocol, "_close", after=note_unread)
    observe(monkeypatch, WebSocketProtocol, "data_received", after=note_unread)
    for kind in (HttpProtocol, WebSocketProtocol):
        observe(monkeypatch, kind, "connection_lost", after=lost.append)
    async with deaf(reader) as connection:
        await asyncio.get_running_loop().sock_sendall(connection, LIVE * 40 + last)
        await until(is_true(lambda: bool(unread)))
        assert 0 < unread[0] < 1 << 14
        await until(is_true(lambda: bool(lost)))


def observe(
    monkeypatch: pytest.MonkeyPatch, kind: type, name: str, after: Callable[[Any], None]
) -> None:
    """Call `after` with the instance after each call of a method."""
    method = getattr(kind, name)

    def seen(self: Any, *given: Any) -> None:
        method(self, *given)
        after(self)

    monkeypatch.setattr(kind, name, seen)


def with_a_small_buffer(connection: HttpProtocol) -> None:
    buffer = connection.transport.get_extra_info("socket")
    buffer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
