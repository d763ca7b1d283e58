"""Operations over Server-Sent Events: GraphQL over SSE, distinct connections mode."""

import asyncio

import asyncpg
import pytest

from models.postgres.database import Database
from schema import build_schema
from server.streams.endpoint import StreamEndpoint, StreamSettings
from tests.server.streams.price_writes import move
from tests.server.streams.sse_client import EVENTS, events_of
from tests.server.streams.websocket_client import FOLLOW, SECONDS
from tests.serving import TOKEN, LiveServer, Reader

LATEST = "{ latestPrices { coin currency price } }"


@pytest.mark.parametrize("get", [True, False])
async def test_a_subscription_is_a_stream_of_events(
    server: LiveServer, database: Database, sql: asyncpg.Connection, *, get: bool
) -> None:
    async with events_of(server, FOLLOW, get=get) as events:
        assert events.response.status_code == 200
        assert events.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert events.response.headers["cache-control"] == "no-store"
        assert events.response.headers["x-accel-buffering"] == "no"
        name, payload = await events.next()
        assert (name, payload["data"]["priceUpdates"]["kind"]) == ("next", "SNAPSHOT")
        await move(database, sql, coin="bitcoin", currency="usd", price=3.5)
        name, payload = await events.next()
        update = payload["data"]["priceUpdates"]
        assert (name, update["kind"]) == ("next", "CHANGE")
        assert update["prices"] == [{"coin": "bitcoin", "currency": "usd", "price": 3.5}]


async def test_a_query_has_one_event(reader: Reader) -> None:
    async with events_of(reader, LATEST) as events:
        assert await events.next() == ("next", {"data": await reader.data(LATEST)})
        assert await events.next() == ("complete", None)
        assert await events.next() == ("end", None)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ('subscription { priceUpdates(coins: ["nothing"]) { revision } }', "NOT_FOUND"),
        ("subscription($c: [ID!]!) { priceUpdates(coins: $c) { revision } }", "BAD_USER_INPUT"),
        ("query A { __typename } subscription B { priceUpdates { kind } }", "BAD_USER_INPUT"),
    ],
)
async def test_invalid_operations_are_reported_in_the_stream(
    reader: Reader, query: str, code: str
) -> None:
    async with events_of(reader, query) as events:
        assert events.response.status_code == 200
        name, payload = await events.next()
        assert name == "next"
        assert [error["extensions"]["code"] for error in payload["errors"]] == [code]
        assert "data" not in payload
        assert await events.next() == ("complete", None)


async def test_a_malformed_request_has_an_http_status(reader: Reader) -> None:
    response = await reader.http.post(
        "/graphql", content="{", headers={**EVENTS, "Content-Type": "application/json"}
    )
    assert response.status_code == 400
    assert response.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_mutation_by_get_is_rejected(reader: Reader) -> None:
    mutation = "mutation { refreshPrices { started } }"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    response = await reader.http.get(
        "/graphql", params={"query": mutation}, headers={**EVENTS, **headers}
    )
    assert "event: next" in response.text
    assert "started" not in response.text
    async with events_of(reader, mutation) as events:
        _, payload = await events.next()
        assert payload["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "application/json, text/event-stream",
        "application/graphql-response+json, application/json, text/event-stream, multipart/mixed",
        "*/*",
    ],
)
async def test_clients_that_accept_json_receive_json(reader: Reader, accept: str) -> None:
    response = await reader.http.post(
        "/graphql", json={"query": LATEST}, headers={"Accept": accept}
    )
    assert response.json()["data"]


async def test_a_subscription_without_a_stream_is_rejected_with_a_hint(reader: Reader) -> None:
    status, code, message = await reader.error(FOLLOW)
    assert (status, code) == (400, "BAD_USER_INPUT")
    assert "text/event-stream" in message
    assert "graphql-transport-ws" in message


async def test_comments_keep_an_idle_stream_alive(server: LiveServer) -> None:
    admission, endpoint = server.application.admission, server.application.endpoint
    settings = StreamSettings(keep_alive_seconds=0.01)
    endpoint.streams = StreamEndpoint(
        build_schema(), admission, endpoint.handler, settings, endpoint.backpressure
    )
    async with server.http.stream(
        "GET", "/graphql", params={"query": FOLLOW}, headers=EVENTS
    ) as response:
        lines = response.aiter_lines()
        async with asyncio.timeout(SECONDS):
            while not (await anext(lines)).startswith("data: "):
                pass
            comments = [await anext(lines) for _ in range(9)]
    assert set(comments) == {"", ":"}
