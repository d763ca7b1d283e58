"""Latest prices and series status, compared with the tables."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from simulator import Simulator
from tests.serving import LiveServer, Reader, live_server, make_settings

STATUS = """
    query ($coins: [ID!], $currencies: [ID!]) {
      seriesStatus(coins: $coins, currencies: $currencies) {
        coin currency revision firstBucket lastBucket observedAt ageSeconds stale reason
        hoursMissing daysMissing lastSuccessAt lastError consecutiveFailures
      }
    }
"""
LATEST = """
    query ($coins: [ID!], $currencies: [ID!]) {
      latestPrices(coins: $coins, currencies: $currencies) {
        coin currency price marketCap volume change24h observedAt ageSeconds revision
      }
    }
"""


def moment(written: str) -> datetime:
    return datetime.fromisoformat(written)


async def test_latest_prices_are_the_newest_observations(reader: Reader) -> None:
    before = datetime.now(UTC)
    answer = (await reader.data(LATEST))["latestPrices"]
    after = datetime.now(UTC)
    rows = await reader.sql.fetch(
        """SELECT * FROM price_latest JOIN series ON series.id = series_id
        ORDER BY coin_id, currency_code"""
    )
    assert len(rows) == 4
    for one, row in zip(answer, rows, strict=True):
        assert (one["coin"], one["currency"]) == (row["coin_id"], row["currency_code"])
        assert (one["price"], one["marketCap"]) == (row["price"], row["market_cap"])
        assert (one["volume"], one["change24h"]) == (row["volume"], row["change_24h"])
        assert moment(one["observedAt"]) == row["observed_at"]
        assert one["revision"] == row["revision"]
        low, high = ((edge - row["observed_at"]).total_seconds() for edge in (before, after))
        assert low <= one["ageSeconds"] <= high


@pytest.mark.parametrize("query", [LATEST, STATUS])
async def test_chosen_series(reader: Reader, query: str) -> None:
    async def keys(**variables: Any) -> list[tuple[str, str]]:
        (rows,) = (await reader.data(query, **variables)).values()
        return [(row["coin"], row["currency"]) for row in rows]

    everything = [(c, k) for c in ("bitcoin", "ethereum") for k in ("eur", "usd")]
    assert await keys() == everything
    assert await keys(coins=None, currencies=None) == everything
    assert await keys(coins=["ethereum", "Bitcoin", "bitcoin"]) == everything
    assert await keys(coins=["ethereum"], currencies=["USD"]) == [("ethereum", "usd")]
    assert await keys(currencies=["usd"]) == [("bitcoin", "usd"), ("ethereum", "usd")]
    assert await keys(coins=[]) == []
    assert await keys(currencies=[]) == []


async def test_fresh_series(reader: Reader) -> None:
    answer = (await reader.data(STATUS))["seriesStatus"]
    rows = await reader.sql.fetch("SELECT * FROM series ORDER BY coin_id, currency_code")
    for one, row in zip(answer, rows, strict=True):
        assert (one["stale"], one["reason"], one["lastError"]) == (False, None, None)
        assert one["consecutiveFailures"] == 0
        assert one["revision"] == row["revision"]
        for name in ("first_bucket", "last_bucket", "last_success_at"):
            camel = name.split("_")[0] + "".join(part.title() for part in name.split("_")[1:])
            assert moment(one[camel]) == row[name]
        assert 0 <= one["ageSeconds"] < 3600


async def test_why_a_series_is_stale(server: LiveServer, sql: asyncpg.Connection) -> None:
    """The default of STALE_AFTER is three hours."""

    async def status() -> dict[str, Any]:
        query = STATUS.replace("query", "query Status", 1)
        rows = (await server.data(query, coins=["bitcoin"], currencies=["usd"]))["seriesStatus"]
        found: dict[str, Any] = rows[0]
        return found

    async def put(**values: object) -> None:
        for name, value in values.items():
            table, column = name.split("__")
            key = "id" if table == "series" else "series_id"
            await sql.execute(
                f"UPDATE {table} SET {column} = $1 WHERE {key} = (SELECT id FROM series "  # noqa: S608 - names of this test
                "WHERE coin_id = 'bitcoin' AND currency_code = 'usd')",
                value,
            )

    now = datetime.now(UTC)
    await put(price_latest__observed_at=now - timedelta(hours=3, seconds=-30))
    assert (await status())["stale"] is False
    await put(series__last_error="Nobody answered.", series__consecutive_failures=2)
    failed_but_fresh = await status()
    assert (failed_but_fresh["stale"], failed_but_fresh["reason"]) == (False, None)
    assert failed_but_fresh["lastError"] == "Nobody answered."
    assert failed_but_fresh["consecutiveFailures"] == 2

    await put(price_latest__observed_at=now - timedelta(hours=3, seconds=1))
    stale = await status()
    assert stale["stale"] is True
    assert stale["reason"] == "The last refresh failed: Nobody answered."
    assert stale["ageSeconds"] == pytest.approx(3 * 3600 + 1, abs=10)

    await put(series__last_error=None, series__last_success_at=now)
    assert (await status())["reason"] == "CoinGecko has no newer price."
    await put(series__last_success_at=now - timedelta(hours=4))
    assert "check the scheduler" in (await status())["reason"]
    await put(series__last_success_at=None)
    assert "No refresh has reached" in (await status())["reason"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("coins", "currencies", "missing"),
    [
        ("ethereum", "usd,eur", ["'bitcoin' is not in COINS"]),
        ("bitcoin,ethereum", "eur", ["'usd' is not in CURRENCIES"]),
        ("ethereum", "eur", ["'bitcoin' is not in COINS", "'usd' is not in CURRENCIES"]),
    ],
)
async def test_an_untracked_series_is_reported(
    database_url: str,
    sql: asyncpg.Connection,
    shared_simulator: Simulator,
    coins: str,
    currencies: str,
    missing: list[str],
) -> None:
    """No refresh updates it any more."""
    await sql.execute(
        "INSERT INTO coin (id, symbol, name) VALUES ('bitcoin', 'btc', 'Bitcoin');"
        "INSERT INTO currency (code, name, symbol) VALUES ('usd', 'US Dollar', '$');"
        "INSERT INTO series (coin_id, currency_code, last_success_at)"
        " VALUES ('bitcoin', 'usd', now() - interval '9 days');"
    )
    settings = make_settings(database_url, shared_simulator, coins=coins, currencies=currencies)
    async with live_server(settings) as live:
        found = await live.data(STATUS, coins=["bitcoin"], currencies=["usd"])
    [one] = found["seriesStatus"]
    assert one["stale"]
    expected = f"This series is no longer tracked: {' and '.join(missing)}, "
    assert one["reason"] == expected + "so no refresh asks for it."
    assert (one["hoursMissing"], one["daysMissing"]) == (0, 0)
