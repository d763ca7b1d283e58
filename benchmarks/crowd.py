"""Many subscribers over WebSocket, on one thread: what each has received, and when."""

import asyncio
import re
import resource
import socket
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import urlsplit

import orjson

_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_TWO_BYTES = 126  # a length that stands for: in the next two bytes
_AT_ONCE = 50
_SECONDS = 60.0
# `revision` is asked for first, so it is the first of a message.
_REVISION = re.compile(rb'"revision":"?(\d+)')
_INIT = orjson.dumps({"type": "connection_init"})
_POLL_SECONDS = 0.005


class Subscriber(asyncio.Protocol):
    """One connection with one subscription (graphql-transport-ws).

    `received` has a (time, revision) for each update, on the event loop's clock.
    """

    def __init__(self, host: str, query: str) -> None:
        self._host = host
        payload = {"query": query}
        self._subscribe = orjson.dumps({"id": "1", "type": "subscribe", "payload": payload})
        self._buffer = bytearray()
        self._upgraded = False
        self._transport: asyncio.Transport | None = None
        self.received: list[tuple[float, int]] = []
        self.gaps: list[float] = []
        self.closed: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_connection makes
        self._transport = transport
        transport.write(
            f"GET /graphql HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n"
            "\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                raise ConnectionError(head.decode())
            self._upgraded, self._buffer = True, bytearray(rest)
            self._send(_TEXT, _INIT)
        while self._frame():
            pass

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's own
        self._transport = None
        self.closed = self.closed or 1006

    def stall(self) -> None:
        """Read nothing more."""
        if self._transport is not None:
            self._transport.pause_reading()

    def leave(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def reached(self, revision: int) -> float | None:
        """When it received this revision or a later one."""
        return next((at for at, known in self.received if known >= revision), None)

    def _frame(self) -> bool:
        """Take one frame, which a server sends unmasked and whole."""
        buffer = self._buffer
        if len(buffer) <= 1:
            return False
        size, start = buffer[1], 2
        if size >= _TWO_BYTES:
            wide = 2 if size == _TWO_BYTES else 8
            size, start = int.from_bytes(buffer[2 : 2 + wide]), 2 + wide
        if len(buffer) < start + size:
            return False
        kind, body = buffer[0] & 15, bytes(buffer[start : start + size])
        del buffer[: start + size]
        if kind == _PING:
            self._send(_PONG, body)
        elif kind == _CLOSE:
            self.closed = int.from_bytes(body[:2]) or 1005
        elif kind == _TEXT:
            self._hear(body)
        return True

    def _hear(self, body: bytes) -> None:
        if b'"connection_ack"' in body[:100]:
            self._send(_TEXT, self._subscribe)
        elif found := _REVISION.search(body):
            now = asyncio.get_running_loop().time()
            self.received.append((now, int(found[1])))
            if b'"GAP"' in body:
                self.gaps.append(now)
        elif b'"ping"' in body:
            self._send(_TEXT, b'{"type":"pong"}')
        elif b'"errors"' in body or b'"error"' in body:
            raise ConnectionError(body.decode())

    def _send(self, kind: int, body: bytes) -> None:
        if self._transport is None:
            return
        size = len(body)
        length = bytes([128 | size]) if size < _TWO_BYTES else b"\xfe" + size.to_bytes(2)
        # masked with zeros, which leaves the text as it is
        self._transport.write(bytes([128 | kind]) + length + bytes(4) + body)


async def gather(url: str, query: str, count: int, *, small: bool = False) -> list[Subscriber]:
    """Connect `count` subscribers; each has received its snapshot.

    `small`: their receive buffers are small.
    """
    _allow_files(count)
    crowd: list[Subscriber] = []
    while len(crowd) < count:
        more = min(_AT_ONCE, count - len(crowd))
        fresh = await asyncio.gather(*(_join(url, query, small=small) for _ in range(more)))
        await until(partial(_all_received, fresh))
        crowd += fresh
    return crowd


def _all_received(crowd: Sequence[Subscriber]) -> bool:
    return all(each.received for each in crowd)


async def _join(url: str, query: str, *, small: bool) -> Subscriber:
    address = urlsplit(url)
    sock = socket.socket()
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, (address.hostname or "", address.port or 80))
    _, subscriber = await loop.create_connection(
        lambda: Subscriber(address.netloc, query), sock=sock
    )
    return subscriber


async def until(true: Callable[[], bool], seconds: float = _SECONDS) -> None:
    """Wait until `true()`; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - of many subscribers, each would set an event
            await asyncio.sleep(_POLL_SECONDS)


def delays(crowd: Sequence[Subscriber], revision: int, since: float) -> list[float]:
    """Seconds from `since` until each received `revision`; raises ValueError if one did not."""
    found = [each.reached(revision) for each in crowd]
    if None in found:
        raise ValueError(f"{found.count(None)} subscribers did not receive revision {revision}")
    return [at - since for at in found if at is not None]


def _allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * count + 500
    if soft < wanted:
        top = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (top, hard))
