"""The client libraries of tests/clients on Node, against a real server."""

import json

import asyncpg
import pytest

from models.postgres.database import Database
from tests.server.streams.node_clients import SECONDS, driven
from tests.server.streams.price_writes import move
from tests.serving import TOKEN, LiveServer

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("client", ["graphql-ws", "apollo", "urql", "graphql-sse"])
async def test_a_client_gets_what_a_frontend_needs(
    server: LiveServer, database: Database, sql: asyncpg.Connection, client: str
) -> None:
    latest = (await server.data("{ latestPrices { coin currency price } }"))["latestPrices"]
    async with driven("run.mjs", client, f"{server.url}/graphql", TOKEN) as script:
        asked = (await script.step("query"))["data"]["latestPrices"]
        for price in asked:
            price.pop("__typename", None)  # which Apollo and urql ask for, too
        assert asked == latest
        done = (await script.step("mutation"))["data"]["refreshPrices"]
        assert done["run"]["status"] == "SUCCEEDED"
        failure = json.dumps((await script.step("wrong"))["failure"])
        assert "There is no coin 'nothing'" in failure
        assert (await script.step("update"))["kind"] == "SNAPSHOT"
        await move(database, sql, coin="ethereum", currency="usd", price=7.25)
        change = await script.step("update")
        assert change["kind"] == "CHANGE"
        assert [price["price"] for price in change["prices"]] == [7.25]
        assert (await script.step("again"))["revision"] == change["revision"]
        await server.application.end_streams(SECONDS)
        if client != "graphql-sse":
            assert (await script.step("closed"))["code"] == 1001
    assert len(server.application.endpoint.streams) == 0
