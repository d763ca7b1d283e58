"""A TCP load balancer that a test points to one server or another."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Balancer:
    """Passes new connections to `target`, a port of 127.0.0.1; open ones stay."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._drops = 0
        self._writers = set[asyncio.StreamWriter]()
        self._tasks = set[asyncio.Task[None]]()

    def drop(self) -> None:
        """End all connections, like a balancer whose server has died; also those being opened."""
        self._drops += 1
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        drops = self._drops
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        if drops != self._drops:
            back.transport.abort()
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        sink.close()
        self._writers.discard(sink)


@contextlib.asynccontextmanager
async def balancing(target: int) -> AsyncIterator[Balancer]:
    balancer = Balancer(target)
    server = await asyncio.start_server(balancer._serve, "127.0.0.1", 0)  # noqa: SLF001 - its own
    balancer.port = server.sockets[0].getsockname()[1]
    try:
        yield balancer
    finally:
        server.close()
        balancer.drop()
        await asyncio.gather(*balancer._tasks, return_exceptions=True)  # noqa: SLF001 - likewise
