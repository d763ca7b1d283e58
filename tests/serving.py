"""Servers under test and their clients."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg
import httpx
import uvicorn

from server.app import Application, create_app
from server.config.settings import Settings
from server.process.server import server_config
from simulator import Simulator

TOKEN = "test-refresh-token"  # noqa: S105 - of the tests' own servers
PATIENCE = 120.0  # seconds for any answer, on a machine that has other things to do
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Client:
    """A client of a server on a real port."""

    url: str
    http: httpx.AsyncClient

    async def post(
        self, query: str, *, token: str | None = None, **variables: Any
    ) -> httpx.Response:
        """Send an operation by POST."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        body = {"query": query, "variables": variables}
        return await self.http.post("/graphql", json=body, headers=headers)

    async def data(self, query: str, *, token: str | None = None, **variables: Any) -> Any:
        """Send an operation that must succeed; return its data."""
        response = await self.post(query, token=token, **variables)
        body = response.json()
        assert "errors" not in body, body
        assert response.status_code == 200
        return body["data"]

    async def error(
        self, query: str, *, token: str | None = None, **variables: Any
    ) -> tuple[int, str, str]:
        """Send an operation that must fail; return the HTTP status, first code and message."""
        response = await self.post(query, token=token, **variables)
        first = response.json()["errors"][0]
        return response.status_code, first["extensions"]["code"], first["message"]


@dataclass(frozen=True, slots=True)
class LiveServer(Client):
    """A server of this process, and a client for it."""

    application: Application


@dataclass(frozen=True, slots=True)
class Reader(Client):
    """A client of the shared server, and a direct connection to its database."""

    sql: asyncpg.Connection


@contextlib.asynccontextmanager
async def connected(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect to a database without our code."""
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def reading(url: str, database_url: str) -> AsyncIterator[Reader]:
    """Read from a server and, without our code, from its database."""
    async with (
        httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False) as http,
        connected(database_url) as sql,
    ):
        yield Reader(url, http, sql)


@contextlib.contextmanager
def in_thread(manager: contextlib.AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Run a context manager in an event loop in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        entered = asyncio.run_coroutine_threadsafe(manager.__aenter__(), loop).result()
        try:
            yield entered
        finally:
            leaving = manager.__aexit__(None, None, None)
            asyncio.run_coroutine_threadsafe(leaving, loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.asynccontextmanager
async def live_server(
    settings: Settings, *, ready: bool = True, send_buffer: int | None = None
) -> AsyncIterator[LiveServer]:
    """Serve the application on a free port during the block, after it is `ready`.

    `send_buffer`: bytes of the send buffer; by default the system buffers up to 4 MB.
    """
    app = create_app(settings)
    listener = socket.create_server(("127.0.0.1", 0))
    if send_buffer is not None:  # of all connections that it accepts
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    # asyncio sets this only where the socket names its protocol; without it, answers wait 40 ms
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = uvicorn.Server(server_config(app))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    admission = app.state.application.admission
    while not server.started or (ready and admission.services is None):
        await asyncio.sleep(0.005)
        if task.done():
            task.result()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False) as http:
            yield LiveServer(url, http, app.state.application)
    finally:
        server.should_exit = True
        await task
        listener.close()


def make_settings(database_url: str, simulator: Simulator, **more: Any) -> Settings:
    """Return settings of a server under test: few coins, little history, no throttling."""
    values: dict[str, Any] = {
        "database_url": database_url,
        "coingecko_base_url": simulator.base_url,
        "coingecko_requests_per_minute": 600_000,
        "refresh_tokens": TOKEN,
        "coins": "bitcoin,ethereum",
        "currencies": "usd,eur",
        "history_days": 5,
    }
    return Settings(_env_file=None, **{**values, **more})
