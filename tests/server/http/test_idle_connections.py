"""Idle connections: their timeout, and which are closed for new ones."""

import asyncio
import contextlib

import pytest

from server.app import create_app
from server.config.settings import SettingsError, load_settings
from server.process.server import server_config
from simulator import Simulator
from tests.server.raw_client import WHOLE, Raw, raw
from tests.serving import live_server, make_settings

MOST = 2


async def asked(client: Raw) -> int:
    client.send(WHOLE)
    return (await client.answer()).status


def test_connections_outlive_the_idle_timeout_of_load_balancers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    for value, seconds in (("", 75), ("620s", 620), ("1.5m", 90)):
        monkeypatch.setenv("KEEP_ALIVE", value)
        assert server_config(create_app(load_settings())).timeout_keep_alive == seconds
    for value in ("75", "0s", "-5s", "long"):
        monkeypatch.setenv("KEEP_ALIVE", value)
        with pytest.raises(SettingsError, match=r"^KEEP_ALIVE: "):
            load_settings()


@pytest.mark.slow
async def test_an_idle_connection_is_closed_after_its_time(
    database_url: str, shared_simulator: Simulator
) -> None:
    settings = make_settings(database_url, shared_simulator, keep_alive="0.5s")
    async with live_server(settings) as server, raw(server.url) as client:
        assert await asked(client) == 200
        assert await asked(client) == 200
        assert await client.closed()


async def test_at_its_limit_an_address_loses_an_idle_connection(
    database_url: str, shared_simulator: Simulator
) -> None:
    settings = make_settings(
        database_url, shared_simulator, max_connections_per_address=MOST, keep_alive="1h"
    )
    async with live_server(settings) as server, contextlib.AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(raw(server.url)) for _ in range(MOST)]
        assert [await asked(first), await asked(second), await asked(first)] == [200, 200, 200]
        third = await stack.enter_async_context(raw(server.url))
        assert await asked(third) == 200
        assert await second.closed(), "it has been idle for longest"
        assert await asked(first) == 200
        # two that have begun a request, so that nothing is idle
        for client in (first, third):
            client.send(WHOLE[:-1])
        connection_limits = server.application.connection_limits
        while connection_limits.idle:  # noqa: ASYNC110 - no event signals it
            await asyncio.sleep(0.01)
        fourth = await stack.enter_async_context(raw(server.url))
        assert (await fourth.answer()).status == 429
        for client in (first, third):
            client.send(WHOLE[-1:])
            assert (await client.answer()).status == 200


async def test_at_the_file_limit_the_longest_idle_connection_is_closed(
    database_url: str, shared_simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.app.room_for_connections", lambda: MOST)
    settings = make_settings(database_url, shared_simulator, keep_alive="1h")
    async with live_server(settings) as server, contextlib.AsyncExitStack() as stack:
        clients = []
        for _ in range(MOST + 2):
            clients.append(await stack.enter_async_context(raw(server.url)))
            assert await asked(clients[-1]) == 200
        for client in clients[:-MOST]:
            assert await client.closed()
        for client in clients[-MOST:]:
            assert await asked(client) == 200
