"""A Redis for one test, which can be stopped, killed, filled and started again."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis as Client
from redis.exceptions import RedisError

from tests.server.cache_probes import until


class Redis:
    """A Redis server with a fixed address."""

    def __init__(self, program: str, port: int) -> None:
        self._command = (program, "--port", str(port), "--bind", "127.0.0.1", "--save", "")
        self.url = f"redis://127.0.0.1:{port}"
        self.process: asyncio.subprocess.Process

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *self._command, stdout=asyncio.subprocess.DEVNULL
        )
        await until(self._answers)

    async def _answers(self) -> bool:
        try:
            return bool(await self.command("PING"))
        except RedisError:
            return False

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Let it accept connections and answer nothing, like a frozen machine."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    async def command(self, *command: str) -> object:
        async with Client.from_url(self.url) as client:
            answer: object = await client.execute_command(*command)  # type: ignore[no-untyped-call] # redis-py's
            return answer

    async def spent(self) -> list[int]:
        """Return the points spent of each account."""
        async with Client.from_url(self.url) as client:
            keys = [key async for key in client.scan_iter("coingraph:rates*")]
            return [int(await client.get(key) or 0) for key in keys]


def program() -> str:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    if os.environ.get("CI"):
        pytest.fail("no redis-server, and CI must have one")
    pytest.skip("no redis-server: install the package redis-server")


@contextlib.asynccontextmanager
async def running_redis() -> AsyncIterator[Redis]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    redis = Redis(program(), port)
    await redis.start()
    try:
        yield redis
    finally:
        if redis.process.returncode is None:
            await redis.kill()
