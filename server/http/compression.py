"""Bodies of answers: their bytes, their ETag, and what they are in each content coding."""

import asyncio
import gzip
from collections.abc import Callable

import brotli
import xxhash
import zstandard

from server.http.negotiation import cached_by_header, weights

SMALLEST_COMPRESSED = 500  # bytes: below, a packet less is not to be had
_LARGE = 200_000  # bytes: from here on compressing takes milliseconds, so a thread does it

# The order is that of preference at equal weights. zstd comes last: there are clients that name it,
# or have it named by what sends for them, and cannot read it (fetch of Node before 22.15).
# Levels that take about a millisecond for 140 KB: a body is compressed while its caller waits.
_COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "br": lambda body: brotli.compress(body, quality=4),
    "gzip": lambda body: gzip.compress(body, 4, mtime=0),
    "zstd": lambda body: zstandard.compress(body, 3),
}


@cached_by_header
def choose_coding(accept_encoding: bytes) -> str | None:
    """Choose the coding a client prefers, ours where it has no preference; None for the identity.

    Where `*` alone stands for the best ones, gzip is what every client reads. RFC 9110, 12.5.3.
    """
    asked = weights(accept_encoding)
    anything = asked.get(b"*", 0.0)
    known = {coding: asked.get(coding.encode(), anything) for coding in _COMPRESSORS}
    best = max(known.values())
    if best <= 0 or best < asked.get(b"identity", 0.0):
        return None
    preferred = [coding for coding, weight in known.items() if weight == best]
    named = [coding for coding in preferred if coding.encode() in asked and coding != "zstd"]
    return (named or [coding for coding in preferred if coding == "gzip"] or preferred)[0]


class ResponseBody:
    """The bytes of an answer. `size` counts all that is held of it; `on_growth` hears when it grows."""

    __slots__ = ("_coded", "_etag", "_making", "identity", "on_growth", "size")

    def __init__(self, identity: bytes) -> None:
        self.identity = identity
        self._etag: bytes | None = None
        self.size = len(identity)
        self.on_growth: Callable[[int], None] | None = None
        self._coded: dict[str, bytes] = {}
        self._making: dict[str, asyncio.Task[bytes]] = {}

    @property
    def etag(self) -> bytes:
        # weak, because one tag stands for the same answer in every coding and media type
        if self._etag is None:
            self._etag = b'W/"%s"' % xxhash.xxh3_128_hexdigest(self.identity).encode()
        return self._etag

    def in_coding(self, coding: str | None) -> bytes | None:
        """Give the bytes in a coding if they are there already."""
        return self.identity if coding is None else self._coded.get(coding)

    async def compress(self, coding: str) -> bytes:
        """Make the bytes in a coding, once for all who ask meanwhile."""
        if len(self.identity) < _LARGE:
            return self._store(coding, _COMPRESSORS[coding](self.identity))
        task = self._making.get(coding)
        if task is None:
            task = asyncio.create_task(self._compress_apart(coding))
            self._making[coding] = task
        return await asyncio.shield(task)  # others may wait for it when this caller has gone

    async def _compress_apart(self, coding: str) -> bytes:
        try:
            coded = await asyncio.to_thread(_COMPRESSORS[coding], self.identity)
        finally:
            del self._making[coding]
        return self._store(coding, coded)

    def _store(self, coding: str, coded: bytes) -> bytes:
        self._coded[coding] = coded
        self.size += len(coded)
        if self.on_growth is not None:
            self.on_growth(len(coded))
        return coded
