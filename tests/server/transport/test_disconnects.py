"""Clients that disconnect or continue in the middle of a request or stream."""

import asyncio
import json
import logging

import pytest
from websockets.frames import Close, Frame, Opcode

from schema import build_schema
from server.streams.endpoint import StreamEndpoint, StreamSettings
from tests.server.raw_client import WHOLE, raw
from tests.serving import LiveServer

_BODY = json.dumps({"query": "subscription { priceUpdates { kind } }"}).encode()
STREAM = (
    b"POST /graphql HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
    b"Accept: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
) + _BODY
HANDSHAKE = (
    b"GET /graphql HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)


@pytest.fixture(autouse=True)
def _quiet(server: LiveServer) -> None:
    """Keep-alives are too rare to detect a disconnected client."""
    admission, endpoint = server.application.admission, server.application.endpoint
    settings = StreamSettings(keep_alive_seconds=3600)
    endpoint.streams = StreamEndpoint(
        build_schema(), admission, endpoint.handler, settings, endpoint.backpressure
    )


async def none_open(server: LiveServer) -> None:
    async with asyncio.timeout(60):
        while len(server.application.endpoint.streams):  # noqa: ASYNC110 - no event signals its end
            await asyncio.sleep(0.01)


async def test_a_stream_ends_with_its_client_despite_pipelined_requests(server: LiveServer) -> None:
    async with raw(server.url) as client:
        client.send(STREAM + WHOLE)
        await client.reader.readuntil(b"SNAPSHOT")
        assert len(server.application.endpoint.streams) == 1
    await none_open(server)


async def test_no_websocket_opens_during_a_response(server: LiveServer) -> None:
    async with raw(server.url) as client:
        client.send(STREAM)
        await client.reader.readuntil(b"SNAPSHOT")
        client.send(HANDSHAKE)
        await server.application.endpoint.streams.close(1)
        rest = await client.reader.readuntil(b"\r\n0\r\n\r\n")
        assert b"HTTP/1.1" not in rest
        await none_open(server)
        assert (await client.reader.readline()).startswith(b"HTTP/1.1 503"), "its turn comes then"


async def test_messages_after_the_close_are_ignored(
    server: LiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    async with raw(server.url) as client:
        client.send(HANDSHAKE)
        await client.reader.readuntil(b"\r\n\r\n")
        client.send(Frame(Opcode.TEXT, b"no JSON").serialize(mask=True))
        opcode, length = await client.reader.readexactly(2)
        assert opcode == 0x80 | Opcode.CLOSE
        assert Close.parse(await client.reader.readexactly(length)).code == 4400
        client.send(Frame(Opcode.TEXT, b"\xff").serialize(mask=True))
        client.send(Frame(Opcode.CLOSE, Close(1000, "").serialize()).serialize(mask=True))
        assert await client.closed()
    assert not caplog.records
