"""Size limits of upstream responses, and how a response body is read within them.

A few kilobytes of gzip, or of JSON made of empty lists, can expand to a thousand times as much
memory. Each kind of response has limits well above the largest genuine one. The limits on bytes
and on values are checked before anything of that size is allocated.
"""

import asyncio
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import httpx

from ingestion.coingecko.connections import BoundedStream
from ingestion.coingecko.errors import BadAnswer, ServerFault, plain
from ingestion.coingecko.parsing import decode

T = TypeVar("T")
_PACKED = 2  # the least factor by which gzip shrinks JSON; genuine responses: 2.2 to 6
_SMALL_PARTS = 4_000  # chunks of a body that may be small; beyond that they must average _PART
_PART = 256
_PARTS_AT_ONCE = 64  # chunks between two yields to the event loop: about 2 ms
_FRAMING = 2  # bytes on the wire per byte of body: chunk sizes, extensions and trailers
_GZIP = zlib.MAX_WBITS | 16


@dataclass(frozen=True, slots=True)
class Bound:
    """Limits of a response with status 200.

    `size` is in bytes of JSON, `containers` counts lists and objects, `commas` counts commas, which
    are about as many as values.
    """

    size: int
    containers: int
    commas: int

    def received(self, *, packed: bool) -> int:
        """Return how many bytes of body may arrive on the wire, gzipped if `packed`."""
        return self.size // _PACKED if packed else self.size

    def check(self, body: bytes) -> None:
        """Raise BadAnswer if the JSON in `body` exceeds a limit.

        Also counts brackets and commas inside strings, of which genuine responses have few. Takes
        1 ms per megabyte.
        """
        containers = body.count(b"[") + body.count(b"{")
        if containers > self.containers:
            raise _too_large(f"holds more than {self.containers:,} lists and objects")
        if body.count(b",") > self.commas:
            raise _too_large(f"holds more than {self.commas:,} values")


class NotJson(Exception):  # noqa: N818 - becomes an upstream error once its text is parsed
    """A body of status 200 that is not JSON, or is an error body; `start` holds its first bytes."""

    def __init__(self, start: bytes) -> None:
        super().__init__()
        self.start = start


@dataclass(frozen=True, slots=True)
class Expected(Generic[T]):
    """The limits of a response, and the function that parses its decoded JSON."""

    bound: Bound
    parse: Callable[[object], T]

    def read(self, body: bytes, *, packed: bool) -> T:
        """Decompress, check, decode and parse a body. CPU-bound, so it runs in a worker thread.

        Raises BadAnswer, NotJson, and ServerFault if the body cannot be decompressed.
        """
        text = unpacked(body, self.bound) if packed else body
        self.bound.check(text)
        try:
            answer = decode(text)
        except ValueError:
            raise NotJson(text[:ERROR]) from None
        return self.parse(answer)


ERROR = 64_000  # bytes read of an error body; the rest is left unread
PING = Bound(size=10_000, containers=100, commas=1_000)
# 18,000 coins are 2 MB, or 5 MB with their contract addresses.
COIN_LIST = Bound(size=8_000_000, containers=60_000, commas=300_000)
# A coin is about 20 KB, or 300 KB if a proxy returns the sections that the call excludes.
PROFILE = Bound(size=2_000_000, containers=10_000, commas=100_000)
# 250 coins in 63 currencies are 63,000 values, 2.4 MB.
PRICES = Bound(size=6_000_000, containers=1_000, commas=200_000)
# 90 days by the hour are 6,480 points, 300 KB; a year by the hour is 26,280, 1.2 MB.
CHART = Bound(size=4_000_000, containers=100_000, commas=300_000)


async def receive(response: httpx.Response, bound: Bound) -> bytes:
    """Read a response body, still compressed, and yield to the event loop regularly.

    For a status other than 200, only the first `ERROR` bytes are read. Raises BadAnswer if the
    body exceeds `bound`, and ServerFault for encodings other than gzip: nested encodings could
    expand without limit.
    """
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - the client is asynchronous
    failed = response.status_code != httpx.codes.OK
    most = ERROR if failed else bound.received(packed=is_packed(response))
    connection = response.extensions.get("network_stream")
    if isinstance(connection, BoundedStream):
        connection.allow(_FRAMING * most)
    body, parts = bytearray(), 0
    async for part in stream:
        body += part
        parts += 1
        if failed and len(body) >= most:
            return bytes(body[:most])
        if len(body) > most:
            raise _too_large(f"is larger than {most:,} bytes")
        if parts > _SMALL_PARTS + len(body) // _PART:
            raise _too_large("comes in too many parts")
        if not parts % _PARTS_AT_ONCE:
            await asyncio.sleep(0)
    return bytes(body)


def is_packed(response: httpx.Response) -> bool:
    """Return True for gzip, False for no encoding. Raises ServerFault for other encodings."""
    encoding = str(response.headers.get("Content-Encoding", "")).strip().lower()
    if encoding not in {"identity", "gzip", ""}:
        raise ServerFault(
            "CoinGecko's answer has an unsupported content encoding",
            status=response.status_code,
            said=plain(encoding, 40),
        )
    return encoding == "gzip"


def unpacked(body: bytes, bound: Bound) -> bytes:
    """Decompress gzip. Raises BadAnswer if the text is too large, ServerFault if damaged."""
    if not body:
        return body
    unpacker = zlib.decompressobj(_GZIP)
    try:
        text = unpacker.decompress(body, bound.size + 1)
    except zlib.error as error:
        raise ServerFault(f"CoinGecko's answer is damaged ({plain(str(error))})") from None
    if len(text) > bound.size:
        raise _too_large(f"is larger than {bound.size:,} bytes")
    if not unpacker.eof:
        raise ServerFault("CoinGecko's answer is cut off")
    return text


def unpacked_error(body: bytes) -> bytes:
    """Decompress the start of a gzipped error body. Returns b"" if it is damaged."""
    try:
        return zlib.decompressobj(_GZIP).decompress(body, ERROR)
    except zlib.error:
        return b""


def _too_large(what: str) -> BadAnswer:
    return BadAnswer(f"CoinGecko's answer {what}", status=200)
