"""Where attacks come from, and the bytes that all of them are made of."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import urlsplit

import orjson

PROXY = "127.0.0.3"  # TRUSTED_PROXIES names it
_ADDRESS = "127.0.0.2"
_TIMEOUT = 10.0  # seconds, for an answer
_PAUSE = 0.05  # after a refusal, so that an attacker is no busy loop
_TEXT = 1
_TWO_BYTES = 126
_MOST_OF_TWO = 65_535

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Origin:
    """Who attacks: one address, or many of one IPv6 /64, which a trusted proxy forwards."""

    name: str
    network: bool = False


ORIGINS = (Origin("one address"), Origin("a /64", network=True))


@dataclass(slots=True)
class Attacker:
    """One attack under way, until it is cancelled. `said` counts what came of it."""

    url: str
    origin: Origin
    said: Counter[str] = field(default_factory=Counter)
    numbers: "count[int]" = field(default_factory=count)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Stream]:
        """Lend a connection, and cut it after."""
        address = urlsplit(self.url)
        source = PROXY if self.origin.network else _ADDRESS
        reader, writer = await asyncio.open_connection(
            address.hostname, address.port, local_addr=(source, 0)
        )
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def head(self, line: str, *headers: str) -> bytes:
        """Give a request's head, from an address of the network that is new each time."""
        lines = [f"{line} HTTP/1.1", "Host: x", *headers]
        if self.origin.network:
            lines.append(f"X-Forwarded-For: 2001:db8:a:b::{next(self.numbers) % 65_000:x}")
        return "\r\n".join([*lines, "", ""]).encode()

    def post(self, query: str, *headers: str, **variables: object) -> bytes:
        """Give a whole request; `query` is a text that the server has not seen."""
        text = f"{query} #{next(self.numbers)}"
        return self.post_same(text, *headers, **variables)

    def post_same(self, query: str, *headers: str, **variables: object) -> bytes:
        body = orjson.dumps({"query": query, "variables": variables})
        head = self.head(
            "POST /graphql",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *headers,
        )
        return head + body

    async def many(self, times: int, work: Callable[[], Awaitable[object]]) -> None:
        """Do `work` `times` times at once, each repeatedly, whatever the result."""
        async with asyncio.TaskGroup() as group:
            for _ in range(times):
                group.create_task(self._again(work))

    async def _again(self, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await work()
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
                self.said[type(error).__name__] += 1
                await asyncio.sleep(_PAUSE)

    async def asks(self, make: Callable[[], bytes]) -> int:
        """Ask on one connection, as fast as it is answered, until refused; that status."""
        async with self.connection() as (reader, writer):
            while True:
                writer.write(make())
                status = await self.answer(reader)
                self.said[str(status)] += 1
                if status >= 400:  # noqa: PLR2004 - HTTP: a refused client retries
                    await asyncio.sleep(_PAUSE)
                    return status

    async def answer(self, reader: asyncio.StreamReader) -> int:
        """Read an answer whole; its status. It has a length, or chunks."""
        async with asyncio.timeout(_TIMEOUT):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, found, length = head.partition(b"content-length:")
            if found:
                await _skip(reader, int(length.split(b"\r\n")[0]))
            elif b"chunked" in head:
                while size := int((await reader.readline()).strip() or b"0", 16):
                    await _skip(reader, size + 2)
                await reader.readline()
            return int(head[9:12])

    @contextlib.asynccontextmanager
    async def socket(self) -> AsyncIterator[Stream]:
        """Lend a WebSocket that is past its `connection_init`."""
        async with self.connection() as (reader, writer):
            writer.write(
                self.head(
                    "GET /graphql",
                    "Upgrade: websocket",
                    "Connection: Upgrade",
                    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
                    "Sec-WebSocket-Version: 13",
                    "Sec-WebSocket-Protocol: graphql-transport-ws",
                )
            )
            async with asyncio.timeout(_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
                self.said[head[9:12].decode()] += 1
                if b" 101 " not in head[:16]:
                    raise ConnectionError("no WebSocket")
                writer.write(frame(b'{"type":"connection_init"}'))
                await reader.read(100)
            yield reader, writer

    def subscribe(self, query: str) -> bytes:
        """Give a frame that begins an operation."""
        number = str(next(self.numbers))
        return frame(orjson.dumps({"id": number, "type": "subscribe", "payload": {"query": query}}))


async def _skip(reader: asyncio.StreamReader, size: int) -> None:
    while size:
        part = await reader.read(min(size, 65_536))
        if not part:
            raise ConnectionError("cut off")
        size -= len(part)


def frame(body: bytes) -> bytes:
    """Give one text frame, masked with zeros, which leaves the text as it is."""
    size = len(body)
    if size < _TWO_BYTES:
        length = bytes([128 | size])
    elif size <= _MOST_OF_TWO:
        length = b"\xfe" + size.to_bytes(2)
    else:
        length = b"\xff" + size.to_bytes(8)
    return bytes([128 | _TEXT]) + length + bytes(4) + body


Attack = Callable[[Attacker], Awaitable[None]]
