"""A page of coins takes a fixed number of SQL statements, whatever its size."""

from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from simulator import Simulator
from tests.counting import statements
from tests.serving import LiveServer, live_server, make_settings

PAGE = """
    query ($first: Int!) {
      coins(first: $first) { totalCount nodes {
        id metadata { imageUrl } latest { price } eur: latest(currency: "eur") { price }
        hours: prices(first: 3) { points { price } }
        days: prices(granularity: DAY, order: DESC) { points { close } }
      } }
    }
"""


async def fill(sql: asyncpg.Connection, coins: int) -> None:
    """Store coins with all their data, with SQL."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    await sql.execute("INSERT INTO currency VALUES ('usd', 'US Dollar', '$'), ('eur', 'Euro', '€')")
    await sql.execute(
        "INSERT INTO coin (id, symbol, name) SELECT 'coin-' || lpad(n::text, 3, '0'), 'c', 'Coin'"
        " FROM generate_series(1, $1::int) AS n",
        coins,
    )
    await sql.execute("INSERT INTO coin_metadata (coin_id, image_url) SELECT id, id FROM coin")
    await sql.execute(
        "INSERT INTO series (coin_id, currency_code, history_from, last_success_at)"
        " SELECT id, code, $1, now() FROM coin CROSS JOIN currency",
        hour.replace(hour=0),
    )
    await sql.execute(
        "INSERT INTO price_latest (series_id, observed_at, price) SELECT id, $1, id FROM series",
        hour,
    )
    await sql.execute(
        "INSERT INTO price_hourly (series_id, bucket, observed_at, price)"
        " SELECT id, at, at, id * 1000 + n FROM series, generate_series(0, 4) AS n,"
        " LATERAL (SELECT $1::timestamptz - n * interval '1 hour' AS at) AS hours",
        hour,
    )
    await sql.execute(
        "INSERT INTO price_daily (series_id, day, price, open, high, low, close, samples)"
        " SELECT id, $1, 1, 2, 3, 4, id, 5 FROM series",
        hour.date(),
    )


async def count(server: LiveServer, first: int) -> tuple[int, Any]:
    async with statements(server.application.database, background=False) as sent:
        answer = await server.data(PAGE, first=first)
    assert len(answer["coins"]["nodes"]) == first
    return len(sent), answer


async def test_statements_do_not_grow_with_the_page(
    database_url: str, sql: asyncpg.Connection, shared_simulator: Simulator
) -> None:
    await fill(sql, 50)
    settings = make_settings(database_url, shared_simulator, coins="coin-001", cache_megabytes=0)
    async with live_server(settings) as server:
        few, _ = await count(server, 1)
        assert [few] * 2 == [(await count(server, first))[0] for first in (10, 50)]
        # coins, their number, metadata, latest; and prices by the hour and by the day
        assert few == 6
        _, answer = await count(server, 50)
    ids = {
        (row["coin_id"], row["currency_code"]): row["id"]
        for row in await sql.fetch("SELECT * FROM series")
    }
    for node in answer["coins"]["nodes"]:
        usd, eur = ids[node["id"], "usd"], ids[node["id"], "eur"]
        assert node["metadata"] == {"imageUrl": node["id"]}
        assert (node["latest"], node["eur"]) == ({"price": usd}, {"price": eur})
        hours = [point["price"] for point in node["hours"]["points"]]
        assert {price // 1000 for price in hours} <= {usd}
        assert node["days"]["points"] == [{"close": usd}]


@pytest.mark.slow
async def test_the_counter_counts(server: LiveServer) -> None:
    async with statements(server.application.database, background=False) as sent:
        await server.data('{ prices(coin: "bitcoin") { points { price } } }')
        await server.data("{ seriesStatus { reason } }")
    assert any("float8send" in query for query in sent), "what goes past SQLAlchemy too"
    assert any("FROM series" in query for query in sent)
    assert any("price_gap" in query for query in sent)
    assert len(sent) == 3


async def test_duplicate_names_are_read_once(server: LiveServer) -> None:
    twice = """{ a: coin(id: "bitcoin") { x: latest { price } y: latest { price } }
                 b: coin(id: "bitcoin") { latest(currency: "USD") { price } } }"""
    async with statements(server.application.database, background=False) as sent:
        answer = await server.data(twice)
    assert answer["a"]["x"] == answer["a"]["y"] == answer["b"]["latest"]
    assert len([query for query in sent if "price_latest" in query]) == 1


async def test_unknown_names_take_a_fixed_number_of_statements(server: LiveServer) -> None:
    def nested(currencies: int) -> str:
        fields = " ".join(f'a{n}: latest(currency: "x{n}") {{ price }}' for n in range(currencies))
        return f"{{ coins {{ nodes {{ {fields} }} }} }}"

    counts = []
    for currencies in (1, 20):
        async with statements(server.application.database, background=False) as sent:
            response = await server.post(nested(currencies))
        body = response.json()
        assert response.status_code == 200
        assert len(body["errors"]) == 2 * currencies
        assert {error["extensions"]["code"] for error in body["errors"]} == {"NOT_FOUND"}
        counts.append(len(sent))
    assert counts[0] == counts[1]
