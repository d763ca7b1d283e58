"""Limits, costs and the timeout apply to subscriptions; a stream itself has no timeout."""

from datetime import timedelta

import asyncpg
import pytest

from models.postgres.database import Database
from simulator import Simulator
from tests.server.streams.price_writes import move
from tests.server.streams.sse_client import events_of
from tests.server.streams.websocket_client import FOLLOW, talking_to
from tests.serving import TOKEN, live_server, make_settings

REFRESH = "mutation { refreshPrices(input: {wait: true}) { run { id } } }"
PROGRESS = "subscription ($id: ID!) { refreshProgress(runId: $id) { status items { coin } } }"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "allowed", "query"),
    [
        ("max_depth", 3, FOLLOW),
        ("max_tokens", 14, FOLLOW),
        # one statement, and three of each of the four series, which come in columns
        ("max_cost", 1_000 + 3 * 100 + 3 * 100, FOLLOW),
    ],
)
async def test_the_limit_and_one_past_it(
    database_url: str, shared_simulator: Simulator, setting: str, allowed: int, query: str
) -> None:
    for most in (allowed, allowed - 1):
        settings = make_settings(database_url, shared_simulator, **{setting: most})
        async with (
            live_server(settings) as server,
            talking_to(server) as talk,
            events_of(server, query) as events,
        ):
            await talk.begin(query)
            message = await talk.receive()
            _, payload = await events.next()
            if most == allowed:
                assert message["type"] == "next"
                assert "errors" not in payload
            else:
                assert message["type"] == "error"
                for error in (*message["payload"], *payload["errors"]):
                    assert error["extensions"]["code"] == "OPERATION_TOO_COMPLEX"
                    assert error["extensions"]["limit"] == setting.upper()


@pytest.mark.slow
async def test_the_timeout_applies_to_events_and_not_to_streams(
    database_url: str, database: Database, shared_simulator: Simulator, sql: asyncpg.Connection
) -> None:
    settings = make_settings(database_url, shared_simulator, operation_timeout=timedelta(seconds=2))
    async with live_server(settings) as server, talking_to(server) as talk:
        data = await server.data(REFRESH, token=TOKEN)
        await talk.begin(FOLLOW, "prices")
        assert (await talk.receive())["type"] == "next"
        async with sql.transaction():
            await sql.execute("LOCK TABLE refresh_run_item IN ACCESS EXCLUSIVE MODE")
            variables = {"id": data["refreshPrices"]["run"]["id"]}
            await talk.begin(PROGRESS, "run", variables=variables)
            message = await talk.receive()
        assert (message["type"], message["id"]) == ("next", "run")
        (error,) = message["payload"]["errors"]
        assert error["extensions"]["code"] == "SERVICE_UNAVAILABLE"
        assert "stopped after 2 s (OPERATION_TIMEOUT)" in error["message"]
        assert (await talk.receive()) == {"id": "run", "type": "complete"}
        await move(database, sql, coin="bitcoin", currency="usd", price=3.5)
        message = await talk.receive()  # of a subscription that is older than that
        assert message["payload"]["data"]["priceUpdates"]["kind"] == "CHANGE"
