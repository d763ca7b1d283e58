"""A proxy to PostgreSQL that requires a password and echoes a wrong one in its error."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from typing import cast

from tests.server.proxy import Proxy


class PasswordDoor(Proxy):
    """Admits connections with the clear-text `password`; `refused` counts the others."""

    def __init__(self, real_url: str, password: str) -> None:
        super().__init__(real_url)
        self.password = password
        self.refused = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        startup = await self._ask(reader, writer)
        if startup is None:
            writer.close()
            return
        await super()._serve(cast("asyncio.StreamReader", _Replayed(startup, reader)), writer)

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes | None:
        """Return the startup message of a session, None if its password is wrong."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(8)
                size, code = struct.unpack("!ii", head)
                if code != 80877103:  # SSLRequest
                    break
                writer.write(b"N")
            startup = head + await reader.readexactly(size - 8)
            writer.write(b"R" + struct.pack("!ii", 8, 3))
            size = struct.unpack("!xi", await reader.readexactly(5))[0]
            given = (await reader.readexactly(size - 4))[:-1]
            if given == self.password.encode():
                return startup
            self.refused += 1
            body = b"SFATAL\0C28P01\0Mpassword authentication failed: %b\0\0" % given
            writer.write(b"E" + struct.pack("!i", len(body) + 4) + body)
            await writer.drain()
        return None


class _Replayed:
    """A stream with bytes put back at its start."""

    def __init__(self, first: bytes, rest: asyncio.StreamReader) -> None:
        self._first, self._rest = first, rest

    async def read(self, most: int) -> bytes:
        first, self._first = self._first, b""
        return first or await self._rest.read(most)


@contextlib.asynccontextmanager
async def password_door(real_url: str, password: str) -> AsyncIterator[PasswordDoor]:
    door = PasswordDoor(real_url, password)
    await door.restore()
    try:
        yield door
    finally:
        await door.cut()
