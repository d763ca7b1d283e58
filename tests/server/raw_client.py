"""A client that sends any bytes at any pace."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

HEAD = b"POST /graphql HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
QUERY = b'{"query": "{ currencies { code } }"}'
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(QUERY) + QUERY


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Raw:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in pairs}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(head[0].split()[1]), headers, body)

    async def closed(self) -> bool:
        """Return True if the server has closed the connection."""
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True


@contextlib.asynccontextmanager
async def raw(url: str) -> AsyncIterator[Raw]:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
