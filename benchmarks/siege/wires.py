"""Attacks by the bytes of HTTP: pipelining, headers, static files."""

import asyncio
import contextlib
import re
from collections.abc import Callable

from benchmarks.siege.attacker import Attack, Attacker

_BEHIND = 262_000  # bytes of requests behind a stream
_STREAMS = 100
_HEADERS = 10  # connections
_ROOM = 31_000  # bytes of headers that are taken
_FILE = re.compile(r'(?:src|href)="([^"]+\.(?:js|css|svg)(?:\?[^"]*)?)"')
_TICKS = "subscription { priceUpdates { kind } }"


async def _pipelined(attacker: Attacker, one: Callable[[], bytes]) -> None:
    """Send one request after the other, and never read a response."""

    async def work() -> None:
        async with attacker.connection() as (_, writer):
            while True:
                writer.write(b"".join(one() for _ in range(100)))
                await writer.drain()
                attacker.said["100 sent"] += 1

    await attacker.many(1, work)


async def _health(attacker: Attacker) -> None:
    await _pipelined(attacker, lambda: attacker.head("GET /health/live"))


async def _queries(attacker: Attacker) -> None:
    await _pipelined(attacker, lambda: attacker.post_same("{ currencies { code } }"))


async def _bodies(attacker: Attacker) -> None:
    """Send bodies in chunks of one byte."""
    head = "POST /graphql", "Content-Type: application/json", "Transfer-Encoding: chunked"
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in b'{"query":"{__typename}"}') + b"0\r\n\r\n"
    await _pipelined(attacker, lambda: attacker.head(*head) + body)


async def _read_by_the_way(attacker: Attacker) -> None:
    """Send a hundred thousand requests on a connection as fast as possible, and read responses."""

    async def work() -> None:
        async with attacker.connection() as (reader, writer):
            reading = asyncio.create_task(_read_all(reader))
            try:
                while not reading.done():
                    writer.write(attacker.head("GET /health/live") * 100)
                    await writer.drain()
                    attacker.said["100 sent"] += 1
            finally:
                reading.cancel()

    await attacker.many(2, work)


async def _read_all(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(65_536):
            pass


async def _behind_streams(attacker: Attacker) -> None:
    """Open event streams, with pipelined requests behind each that wait for its end."""

    async def work() -> None:
        async with attacker.connection() as (reader, writer):
            writer.write(attacker.post_same(_TICKS, "Accept: text/event-stream"))
            request = attacker.head("GET /health/live")
            writer.write(request * (_BEHIND // len(request)))
            attacker.said[(await reader.read(1000))[9:12].decode() or "closed"] += 1
            await _read_all(reader)

    await attacker.many(_STREAMS, work)


async def _behind_sockets(attacker: Attacker) -> None:
    """Send a handshake that is refused, with pipelined requests behind it."""
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    await _pipelined(attacker, lambda: attacker.head("GET /graphql", *upgrade))


def _headed(*headers: str, path: str = "/graphql?query={__typename}") -> Attack:
    async def attack(attacker: Attacker) -> None:
        async def work() -> None:
            await attacker.asks(lambda: attacker.head(f"GET {path}", *headers))

        await attacker.many(_HEADERS, work)

    return attack


def _lines(line: str) -> tuple[str, ...]:
    return (line,) * (_ROOM // (len(line) + 2))


async def _static(attacker: Attacker) -> None:
    """Request GraphiQL's files, compressed in each encoding."""
    async with attacker.connection() as (reader, writer):
        writer.write(attacker.head("GET /graphql", "Accept: text/html", "Connection: close"))
        page = (await reader.read(-1)).decode("utf-8", "replace")
    paths = [path if path.startswith("/") else f"/{path}" for path in _FILE.findall(page)]
    if not paths:
        attacker.said["no files found"] += 1
        return
    codings = ("gzip", "br", "zstd", "deflate", "gzip;q=0.5, br")

    def request() -> bytes:
        number = next(attacker.numbers)
        coding = codings[number // len(paths) % len(codings)]
        return attacker.head(f"GET {paths[number % len(paths)]}", f"Accept-Encoding: {coding}")

    await attacker.many(_HEADERS, lambda: attacker.asks(request))


async def _typed(attacker: Attacker) -> None:
    """Send POST requests with content types that must be parsed."""
    kind = "Content-Type: application/json" + ";" * _ROOM
    head = ("POST /graphql", kind, "Content-Length: 24")
    request = b'{"query":"{__typename}"}'
    await attacker.many(_HEADERS, lambda: attacker.asks(lambda: attacker.head(*head) + request))


WIRES: dict[str, Attack] = {
    "1 pipelined health checks": _health,
    "1 pipelined queries": _queries,
    "1 pipelined bodies in chunks of a byte": _bodies,
    "1 pipelined and read": _read_by_the_way,
    "1 pipelined handshakes": _behind_sockets,
    f"1 requests behind {_STREAMS} event streams": _behind_streams,
    "3 Accept of commas": _headed("Accept: application/json" + "," * _ROOM),
    "3 Accept of entries": _headed("Accept: " + "a/b;q=0.1," * (_ROOM // 10)),
    "3 Accept of quoted strings": _headed('Accept: a/b;c="' + '\\"' * (_ROOM // 2)),
    "3 Accept-Encoding of commas": _headed("Accept-Encoding: gzip" + "," * _ROOM),
    "3 If-None-Match of tags": _headed("If-None-Match: " + '"a",' * (_ROOM // 4)),
    "3 thousands of Accept lines": _headed(*_lines("Accept: a/b")),
    "3 thousands of empty headers": _headed(*_lines("a:")),
    "3 thousands of parameters": _headed(path="/graphql?" + "a&" * (_ROOM // 2)),
    "3 Content-Type of semicolons": _typed,
    "11 static files": _static,
}
