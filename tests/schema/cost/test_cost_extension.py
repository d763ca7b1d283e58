"""The cost as clients see it: in `extensions`, and in the error."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from simulator import Simulator
from tests.serving import LiveServer, Reader, live_server, make_settings

POINTS = '{ prices(coin: "bitcoin", first: %d) { points { timestamp price } } }'


async def ask(client: Any, query: str, **more: Any) -> dict[str, Any]:
    response = await client.http.post("/graphql", json={"query": query, **more})
    body: dict[str, Any] = response.json()
    return body


def leaves(answer: Any) -> int:
    if isinstance(answer, dict):
        return sum(map(leaves, answer.values()))
    return sum(map(leaves, answer)) if isinstance(answer, list) else 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    [
        POINTS % 50,
        '{ prices(coin: "bitcoin") { columns { prices open } coverage { gaps { from } } } }',
        "{ coins { nodes { id latest { price coin } prices { points { price filled } } } } }",
        '{ alignedPrices(coins: ["bitcoin", "ethereum"]) { timestamps series { prices } } }',
        "{ latestPrices { coin price } currencies { code name } seriesStatus { stale coin } }",
        "{ anomalies(threshold: 3) { score coin scope } }",
        "{ refreshRuns { totalCount nodes { id items { coin currency } } } }",
        "{ __schema { types { name fields { name args { name } } } } }",
    ],
)
async def test_the_cost_is_at_least_the_size_of_the_response(reader: Reader, query: str) -> None:
    body = await ask(reader, query, extensions={"cost": True})
    assert body["extensions"]["cost"]["limit"] == 1_500_000
    assert leaves(body["data"]) <= body["extensions"]["cost"]["requested"]


@pytest.mark.slow
async def test_the_cost_is_reported_on_request_only(reader: Reader) -> None:
    """Cached responses never contain it, and are not affected by it."""
    for wanted in (None, True, None, True, False):
        body = await ask(reader, POINTS % 5, extensions={"cost": wanted})
        assert ("extensions" in body) is (wanted is True)


@pytest.fixture
async def strict(database_url: str, shared_simulator: Simulator) -> AsyncIterator[LiveServer]:
    async with live_server(make_settings(database_url, shared_simulator, max_cost=2_700)) as live:
        yield live


async def test_the_cost_limit_is_inclusive(strict: LiveServer) -> None:
    """2,500 for reading, 100 for the list, 2 for each point."""
    body = await ask(strict, POINTS % 50, extensions={"cost": True})
    assert body["extensions"]["cost"] == {
        "requested": 2_700,
        "limit": 2_700,
        "dearest": {"field": "prices", "requested": 2_700},
    }
    response = await strict.post(POINTS % 51)
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert error["extensions"] == {"code": "OPERATION_TOO_COMPLEX", "limit": "MAX_COST"}
    assert re.search(r"2,702, 1\.0 times .*MAX_COST.* \(2,700\).*`prices`", error["message"])
    refused = await ask(strict, POINTS % 51, extensions={"cost": True})
    assert refused["extensions"]["cost"]["requested"] == 2_702
    assert "data" not in refused
