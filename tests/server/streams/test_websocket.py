"""Operations over a WebSocket: graphql-transport-ws, as a client sees it."""

from typing import Any

import asyncpg
import pytest

from models.postgres.database import Database
from tests.server.streams.price_writes import move
from tests.server.streams.websocket_client import Talk, talking_to
from tests.serving import TOKEN, LiveServer

LATEST = "{ latestPrices { coin currency price } }"
REFRESH = "mutation { refreshPrices(input: {wait: true}) { run { status } } }"


def prices(data: list[dict[str, Any]]) -> dict[tuple[str, str], float]:
    return {(each["coin"], each["currency"]): each["price"] for each in data}


async def next_update(talk: Talk, operation_id: str = "1") -> Any:
    message = await talk.receive()
    assert (message["id"], message["type"]) == (operation_id, "next"), message
    assert "errors" not in message["payload"], message
    return message["payload"]["data"]["priceUpdates"]


async def test_a_subscription_sends_a_snapshot_and_changes(
    server: LiveServer, database: Database, sql: asyncpg.Connection
) -> None:
    latest = (await server.data(LATEST))["latestPrices"]
    async with talking_to(server) as talk:
        await talk.begin()
        update = await next_update(talk)
        assert update["kind"] == "SNAPSHOT"
        assert prices(update["prices"]) == prices(latest)
        await move(database, sql, coin="bitcoin", currency="eur", price=12.5)
        update = await next_update(talk)
        assert update["kind"] == "CHANGE"
        assert prices(update["prices"]) == {("bitcoin", "eur"): 12.5}
        await talk.say("complete", id="1")
        await talk.begin(LATEST, "1")  # the id is free
        message = await talk.receive()
        assert prices(message["payload"]["data"]["latestPrices"])["bitcoin", "eur"] == 12.5
        assert await talk.receive() == {"type": "complete", "id": "1"}


async def test_a_query_has_one_result(server: LiveServer) -> None:
    async with talking_to(server) as talk:
        await talk.begin(LATEST, 'ü"')
        message = await talk.receive()
        assert (message["id"], message["type"]) == ('ü"', "next")
        assert message["payload"] == {"data": await server.data(LATEST)}
        assert await talk.receive() == {"id": 'ü"', "type": "complete"}


@pytest.mark.slow
async def test_a_mutation_takes_its_token_from_the_header(server: LiveServer) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with talking_to(server, additional_headers=headers) as talk:
        await talk.begin(REFRESH)
        payload = (await talk.receive())["payload"]
        assert payload == {"data": {"refreshPrices": {"run": {"status": "SUCCEEDED"}}}}


@pytest.mark.parametrize("payload", [None, {"authorization": "Bearer wrong"}])
async def test_a_mutation_without_its_token_is_refused(
    server: LiveServer, payload: dict[str, str] | None
) -> None:
    async with talking_to(server, payload) as talk:
        await talk.begin(REFRESH)
        message = await talk.receive()
        assert message["type"] == "next"
        assert message["payload"]["data"] is None
        assert message["payload"]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        assert await talk.receive() == {"id": "1", "type": "complete"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{", "GRAPHQL_PARSE_FAILED"),
        ('subscription { priceUpdates(coins: ["nothing"]) { kind } }', "NOT_FOUND"),
        ("subscription($c: [ID!]!) { priceUpdates(coins: $c) { kind } }", "BAD_USER_INPUT"),
    ],
)
async def test_an_invalid_operation_gets_an_error_and_the_connection_continues(
    server: LiveServer, query: str, code: str
) -> None:
    async with talking_to(server) as talk:
        await talk.begin(query)
        message = await talk.receive()
        assert (message["id"], message["type"]) == ("1", "error")
        assert [error["extensions"]["code"] for error in message["payload"]] == [code]
        await talk.begin("{ __typename }")
        assert (await talk.receive())["payload"] == {"data": {"__typename": "Query"}}


async def test_the_keyword_in_a_string_makes_no_subscription(server: LiveServer) -> None:
    async with talking_to(server) as talk:
        await talk.begin("query subscription { __typename } # subscription")
        assert (await talk.receive())["payload"] == {"data": {"__typename": "Query"}}


async def test_variables_and_the_operation_name_are_used(server: LiveServer) -> None:
    query = """
      query Other { __typename }
      subscription Follow($coins: [ID!]) { priceUpdates(coins: $coins) { prices { coin } } }
    """
    async with talking_to(server) as talk:
        await talk.begin(query, operationName="Follow", variables={"coins": ["ethereum"]})
        update = await next_update(talk)
        assert {price["coin"] for price in update["prices"]} == {"ethereum"}
        await talk.begin(query, "2", operationName="Other")
        assert (await talk.receive())["payload"] == {"data": {"__typename": "Query"}}
