"""Connections with a limit on the bytes that upstream may send."""

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

_HEAD = 32_000  # bytes before a body, including `100 Continue`; genuine heads are 1 to 5 KB
_READ = 4_096  # bytes per read of a head: parsing this much made of tiny lines takes 10 ms
_SocketOption = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)


class BoundedStream(httpcore.AsyncNetworkStream):
    """A connection that delivers the head of a response, and more only after `allow`.

    Limits what the HTTP parser consumes without reporting it: response heads, endless 1xx
    responses, and chunk framing.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._left = _HEAD
        self._most = _READ

    def allow(self, size: int) -> None:
        """Admit `size` more bytes for the current response."""
        self._left, self._most = self._left + size, size

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature
        """Read up to `max_bytes`. Raises httpcore.RemoteProtocolError past the admitted bytes."""
        if self._left <= 0:
            raise httpcore.RemoteProtocolError("the answer's head or framing has no end")
        await asyncio.sleep(0)  # a TLS connection returns buffered data without yielding
        data = await self._stream.read(min(max_bytes, self._most), timeout)
        self._left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's signature
        """Send request bytes and reset the limit for the next response head."""
        self._left, self._most = _HEAD, _READ
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        """Return the connection over TLS, with the same limits."""
        return BoundedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's signature
        """Return what httpcore reports about the connection."""
        return self._stream.get_extra_info(info)


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, backend: httpcore.AsyncNetworkBackend) -> None:
        self._backend = backend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return BoundedStream(
            await self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        )

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class BoundedTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over BoundedStream connections."""

    def __init__(
        self, *, verify: ssl.SSLContext | bool, proxy: httpx.Proxy | None, limits: httpx.Limits
    ) -> None:
        super().__init__(verify=verify, proxy=proxy, limits=limits, trust_env=False)
        # httpx does not expose httpcore's `network_backend` parameter
        self._pool._network_backend = _Backend(self._pool._network_backend)  # noqa: SLF001
