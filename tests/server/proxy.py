"""A proxy to PostgreSQL that can be cut and restored."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from models.postgres.connection import database_url


class Proxy:
    """Passes bytes between 127.0.0.1:`port` and the real server unless it is cut."""

    def __init__(self, real_url: str) -> None:
        self._real = database_url(real_url)
        self._server: asyncio.Server | None = None
        self._tasks = set[asyncio.Task[None]]()
        self._writers = set[asyncio.StreamWriter]()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.port = 0
        self._cuts = 0
        self.opened = 0  # connections so far
        self.delay = 0.0  # seconds that each piece takes
        self.bytes_left: int | None = None  # answers are cut within the piece that has this byte

    @property
    def url(self) -> str:
        """Return the URL of the same database through this proxy."""
        plain = self._real.set(host="127.0.0.1", port=self.port, query={})
        return plain.render_as_string(hide_password=False)

    async def restore(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Refuse new connections and close open ones."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut_soon(self) -> None:
        """Cut it from another thread; `restore_soon` restores it."""
        self._in_loop(self.cut())

    def restore_soon(self) -> None:
        self._in_loop(self.restore())

    def _in_loop(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._server is not None
        asyncio.run_coroutine_threadsafe(work, self._server.get_loop()).result()

    def freeze(self) -> None:
        """Accept bytes and pass none on, like a network that loses packets."""
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        cuts = self._cuts
        host, port = self._real.query.get("host", self._real.host), self._real.port or 5432
        if isinstance(host, str) and host.startswith("/"):
            path = f"{host}/.s.PGSQL.{self._real.query.get('port', port)}"
            there, back = await asyncio.open_unix_connection(path)
        else:
            there, back = await asyncio.open_connection(str(host), port)
        if cuts != self._cuts:
            back.transport.abort()
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        for source, target in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pass_on(source, target, answers=target is writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65_536):
                await self._flowing.wait()
                await asyncio.sleep(self.delay)
                if answers and self.bytes_left is not None:
                    data = data[: self.bytes_left]
                    self.bytes_left -= len(data)
                target.write(data)
                await target.drain()
                if answers and self.bytes_left == 0:
                    for writer in self._writers:
                        writer.transport.abort()
        target.close()
        self._writers.discard(target)


@contextlib.asynccontextmanager
async def proxy_to(real_url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(real_url)
    await proxy.restore()
    try:
        yield proxy
    finally:
        proxy.thaw()
        await proxy.cut()
