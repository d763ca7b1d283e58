"""The limit of concurrent operations of a connection."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from server.streams import websocket
from simulator import Simulator
from tests.server.streams.websocket_client import FOLLOW, talking_to
from tests.serving import LiveServer, live_server, make_settings


@pytest.fixture
async def narrow(database_url: str, shared_simulator: Simulator) -> AsyncIterator[LiveServer]:
    """A server that allows one operation for each connection."""
    settings = make_settings(database_url, shared_simulator, operations_per_connection=1)
    async with live_server(settings) as live:
        yield live


@pytest.mark.slow
async def test_completed_operations_make_room(narrow: LiveServer) -> None:
    """They arrive faster than they end, so the server reads more slowly."""
    async with talking_to(narrow) as talk:
        for number in range(100):
            await talk.begin(FOLLOW, f"abandoned {number}")
            await talk.say("complete", id=f"abandoned {number}")
        await talk.begin("{ __typename }", "last")
        while (message := await talk.receive())["id"] != "last":
            assert message["type"] in {"next", "complete"}
        assert message["payload"] == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("patient", [True, False])
async def test_an_abandoned_query_counts_until_it_ends(
    narrow: LiveServer, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, patient: bool
) -> None:
    """Otherwise the number of running ones would be unbounded."""
    if not patient:
        monkeypatch.setattr(websocket, "ROOM_SECONDS", 0.05)
    async with talking_to(narrow) as talk:
        async with sql.transaction():
            await sql.execute("LOCK TABLE refresh_run IN ACCESS EXCLUSIVE MODE")
            await talk.begin("{ refreshRuns { nodes { id } } }", "slow")
            await talk.say("complete", id="slow")
            await talk.begin("{ __typename }", "next")
            if not patient:
                reason = "Too many operations: at most 1 at once"
                assert await talk.closed() == (4429, reason)
        if patient:
            assert (await talk.receive())["id"] == "next"
