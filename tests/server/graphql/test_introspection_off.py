"""With introspection off, no transport suggests names."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from simulator import Simulator
from tests.schema.limits.mistakes import Mistake, names_in, unavoidable
from tests.server.streams.sse_client import events_of
from tests.server.streams.websocket_client import talking_to
from tests.serving import LiveServer, live_server, make_settings

QUERIES = [
    Mistake("{ latestPrice { coin } }"),
    Mistake("{ latestPrices { prise } }"),
    Mistake("{ latestPrices(coin: 1) { price } }"),
    Mistake('{ prices(coin: "bitcoin", granularity: DAYS) { next } }'),
    Mistake("{ latestPrices { price @skp(if: true) } }"),
    Mistake(
        "query ($g: Granularity!) { prices(coin: 1, granularity: $g) { next } }", {"g": "DAYS"}
    ),
    Mistake("query ($f: CoinFilter) { coins(filter: $f) { totalCount } }", {"f": {"symbol": []}}),
    Mistake("{ __schema { queryType { name } } }"),
]
SUBSCRIPTIONS = [
    Mistake("subscription { priceUpdate { kind } }"),
    Mistake("subscription { priceUpdates { kin } }"),
    Mistake("subscription { priceUpdates(coin: 1) { kind } }"),
    Mistake("subscription ($s: BigIn) { priceUpdates(since: $s) { kind } }", {"s": "x"}),
    Mistake("subscription ($s: BigInt) { priceUpdates(since: $s) { kind } }", {"s": "x"}),
]


@pytest.fixture
async def closed(database_url: str, shared_simulator: Simulator) -> AsyncIterator[LiveServer]:
    async with live_server(
        make_settings(database_url, shared_simulator, introspection=False)
    ) as live:
        yield live


def check(mistake: Mistake, errors: list[dict[str, Any]]) -> None:
    assert errors
    for error in errors:
        message = error["message"]
        assert "mean" not in message
        assert names_in(message) <= mistake.words | unavoidable(mistake.words), message


async def test_over_http(closed: LiveServer) -> None:
    for mistake in QUERIES:
        posted = await closed.post(mistake.text, **mistake.variables)
        check(mistake, posted.json()["errors"])
        fields = {"query": mistake.text, "variables": json.dumps(mistake.variables)}
        got = await closed.http.get("/graphql", params=fields)
        assert got.status_code == 400
        check(mistake, got.json()["errors"])


async def test_over_a_websocket(closed: LiveServer) -> None:
    async with talking_to(closed) as talk:
        for number, mistake in enumerate(QUERIES + SUBSCRIPTIONS):
            await talk.begin(mistake.text, str(number), variables=mistake.variables)
            message = await talk.receive()
            assert message["type"] == "error"
            check(mistake, message["payload"])


async def test_over_event_streams(closed: LiveServer) -> None:
    for mistake in QUERIES + SUBSCRIPTIONS:
        async with events_of(closed, mistake.text, **mistake.variables) as events:
            check(mistake, (await events.next())[1]["errors"])
