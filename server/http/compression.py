"""Response bodies: their bytes, ETag and content codings."""

import asyncio
import gzip
from collections.abc import Callable

import brotli
import xxhash
import zstandard

from server.http.negotiation import cached_by_header, weights

SMALLEST_COMPRESSED = 500  # bytes: compressing less saves no packet
_LARGE = 200_000  # bytes: compressing more takes milliseconds, so it runs in a thread

# In order of preference at equal weights. zstd is last: some clients name it, or their HTTP library
# names it, but cannot decode it (fetch of Node before 22.15). The levels take about a millisecond
# for 140 KB, because the caller waits for the compression.
_COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "br": lambda body: brotli.compress(body, quality=4),
    "gzip": lambda body: gzip.compress(body, 4, mtime=0),
    "zstd": lambda body: zstandard.compress(body, 3),
}


@cached_by_header
def choose_coding(accept_encoding: bytes) -> str | None:
    """Return the coding that a client prefers, by our order at equal weights; None for identity.

    If only `*` matches the best codings, the result is gzip, which every client can decode.
    RFC 9110, 12.5.3.
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
    """The bytes of a response in each coding that was requested.

    `identity`: uncompressed. `size`: bytes of all codings in memory. `on_growth` is called with the
    number of bytes that a new coding adds.
    """

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
        """The entity tag: weak, because one tag covers all codings and media types."""
        if self._etag is None:
            self._etag = b'W/"%s"' % xxhash.xxh3_128_hexdigest(self.identity).encode()
        return self._etag

    def in_coding(self, coding: str | None) -> bytes | None:
        """Return the bytes in a coding, None if it has not been compressed yet."""
        return self.identity if coding is None else self._coded.get(coding)

    async def compress(self, coding: str) -> bytes:
        """Return the bytes in a coding; concurrent callers share one compression."""
        if len(self.identity) < _LARGE:
            return self._store(coding, _COMPRESSORS[coding](self.identity))
        task = self._making.get(coding)
        if task is None:
            task = asyncio.create_task(self._compress_in_thread(coding))
            self._making[coding] = task
        return await asyncio.shield(task)  # others may still wait if this caller is cancelled

    async def _compress_in_thread(self, coding: str) -> bytes:
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
