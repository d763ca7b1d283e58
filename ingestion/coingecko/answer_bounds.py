"""How large an upstream's answer may be, by what was asked, and how one is read within that.

A few kilobytes of gzip, or of JSON of empty lists, become a thousand times as much memory. Each
kind of answer has bounds well above the largest true one, and the bounds of bytes and of values
are checked before anything of that size exists.
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
_PACKED = 2  # times smaller than JSON is gzip at least: of true answers, 2.2 to 6 times
_SMALL_PARTS = 4_000  # parts of a body that may be small; more must average _PART bytes
_PART = 256
_PARTS_AT_ONCE = 64  # some 2 ms of the event loop
_FRAMING = 2  # times the body may come over the wire: chunk sizes, extensions and trailers
_GZIP = zlib.MAX_WBITS | 16


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that an answer of status 200 may be: bytes of JSON, lists and objects, and commas,
    which are almost as many as values.
    """

    size: int
    containers: int
    commas: int

    def received(self, *, packed: bool) -> int:
        """Return how many bytes may arrive."""
        return self.size // _PACKED if packed else self.size

    def check(self, body: bytes) -> None:
        """Raise BadAnswer where the JSON in `body` holds too much.

        Counts in its texts, too, of which true answers have few: 1 ms for each megabyte.
        """
        containers = body.count(b"[") + body.count(b"{")
        if containers > self.containers:
            raise _too_large(f"holds more than {self.containers:,} lists and objects")
        if body.count(b",") > self.commas:
            raise _too_large(f"holds more than {self.commas:,} values")


class NotJson(Exception):  # noqa: N818 - upstream's error, which its text will tell
    """A body of status 200 that is no JSON, or an error's; `start` are its first bytes."""

    def __init__(self, start: bytes) -> None:
        super().__init__()
        self.start = start


@dataclass(frozen=True, slots=True)
class Expected(Generic[T]):
    """What an answer may be, and what is made of its JSON."""

    bound: Bound
    parse: Callable[[object], T]

    def read(self, body: bytes, *, packed: bool) -> T:
        """Decode, check and parse an answer. Takes CPU, so threads call it.

        Raises BadAnswer, NotJson, and ServerFault for what cannot be unpacked.
        """
        text = unpacked(body, self.bound) if packed else body
        self.bound.check(text)
        try:
            answer = decode(text)
        except ValueError:
            raise NotJson(text[:ERROR]) from None
        return self.parse(answer)


ERROR = 64_000  # bytes of an answer that is an error, of which the rest is left unread
PING = Bound(size=10_000, containers=100, commas=1_000)
# 18,000 coins are 2 MB, 5 MB with the addresses of their contracts.
COIN_LIST = Bound(size=8_000_000, containers=60_000, commas=300_000)
# A coin is some 20 KB, 300 KB where a proxy gives the parts that are not asked for.
PROFILE = Bound(size=2_000_000, containers=10_000, commas=100_000)
# 250 coins in 63 currencies are 63,000 values, 2.4 MB.
PRICES = Bound(size=6_000_000, containers=1_000, commas=200_000)
# 90 days by the hour are 6,480 points, 300 KB; a year by the hour is 26,280, 1.2 MB.
CHART = Bound(size=4_000_000, containers=100_000, commas=300_000)


async def receive(response: httpx.Response, bound: Bound) -> bytes:
    """Read a body as it comes, compressed or not, and let others have the event loop meanwhile.

    Of a status other than 200 the first bytes will do. Raises BadAnswer where there is more than
    `bound` allows, and ServerFault for other encodings than gzip: nested ones unpack without end.
    """
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - of an asynchronous client
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
    """Return True for gzip, False for none. Raises ServerFault for all other encodings."""
    encoding = str(response.headers.get("Content-Encoding", "")).strip().lower()
    if encoding not in {"identity", "gzip", ""}:
        raise ServerFault(
            "CoinGecko's answer has a content encoding that was not asked for",
            status=response.status_code,
            said=plain(encoding, 40),
        )
    return encoding == "gzip"


def unpacked(body: bytes, bound: Bound) -> bytes:
    """Unpack a body of gzip. Raises BadAnswer where it is too large, ServerFault for no gzip."""
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
    """Unpack the start of an error's body of gzip; nothing where it is none."""
    try:
        return zlib.decompressobj(_GZIP).decompress(body, ERROR)
    except zlib.error:
        return b""


def _too_large(what: str) -> BadAnswer:
    return BadAnswer(f"CoinGecko's answer {what}", status=200)
