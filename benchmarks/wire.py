"""A minimal HTTP client on asyncio with persistent connections."""

import asyncio
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools

from benchmarks.questions import Ask


@dataclass(slots=True)
class Answer:
    """A response. The names of `headers` are in lower case."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


class Connection(asyncio.Protocol):
    """One connection to a server, for one request at a time."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._answer = Answer()

    async def send(self, ask: Ask) -> Answer:
        """Send a request and wait for the whole response. Raises ConnectionError."""
        if self._transport is None:
            raise ConnectionError("closed")
        self._waiting = asyncio.get_running_loop().create_future()
        self._answer = Answer()
        self._transport.write(self._request(ask))
        return await self._waiting

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _request(self, ask: Ask) -> bytes:
        head = f"{ask.method} {ask.path} HTTP/1.1\r\nHost: {self._host}\r\n"
        if ask.body is None:
            return f"{head}\r\n".encode()
        head += f"Content-Type: application/json\r\nContent-Length: {len(ask.body)}\r\n"
        return f"{head}\r\n".encode() + ask.body

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_connection makes
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionError(str(exc or "closed by the server")))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._answer.body += body

    def on_message_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._answer)


async def connect(url: str, source: str | None = None) -> Connection:
    """Connect to a server, from the local address `source` if it is given."""
    address = urlsplit(url)
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(address.netloc),
        address.hostname or "",
        address.port or 80,
        local_addr=(source, 0) if source else None,
    )
    return connection
