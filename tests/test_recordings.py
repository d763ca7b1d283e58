"""Real answers of CoinGecko, served over HTTP, refreshed, and compared sample by sample."""

import csv
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from ingestion.coingecko.client import CoinGecko
from ingestion.quota.throttle import Throttle
from ingestion.run.refresher import Refresher, RefreshRequest
from models.coins import seed
from models.postgres.database import Database
from models.tables import Coin, Currency, RefreshTrigger
from tests.conftest import shared_folder
from tests.longer_buckets import assert_weeks_and_months
from tests.recomputed import day_of

pytestmark = pytest.mark.processes

COINS, CURRENCIES, HISTORY_DAYS = ["bitcoin", "nym"], ["usd", "eur"], 28
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_MS = 3_600_000
Points = list[tuple[int, float]]


@pytest.fixture(scope="module")
def recordings() -> Path:
    folder = shared_folder()
    if folder is None:
        pytest.skip("the recordings are not next to this checkout")
    return folder


@pytest.fixture(scope="module")
def replay(recordings: Path) -> Iterator[str]:
    """Serve the recordings, shifted by whole hours to end now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(recordings / "replay.py"), "--port", str(port)]
    with subprocess.Popen(command) as process:
        url = f"http://127.0.0.1:{port}/api/v3"
        try:
            _wait_for(url)
            yield url
        finally:
            process.terminate()


def _wait_for(url: str) -> None:
    for _ in range(200):
        try:
            httpx.get(f"{url}/ping")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the replay server did not start")


@pytest.fixture
async def refresher(replay: str, database: Database) -> AsyncIterator[Refresher]:
    async with database.write() as session:
        await seed(
            session,
            [Coin(id=coin, symbol=coin, name=coin) for coin in COINS],
            [Currency(code=code, name=code, symbol=code) for code in CURRENCIES],
        )
    async with CoinGecko(throttle=Throttle(600_000), base_url=replay) as upstream:
        yield Refresher(
            database, upstream, coins=COINS, currencies=CURRENCIES, history_days=HISTORY_DAYS
        )


def recorded(folder: Path, coin: str, currency: str) -> dict[str, Points]:
    """Read a recording as it is in its file."""
    file = folder / json.loads((folder / "index.json").read_text())[coin]["series"][currency]
    if file.suffix == ".json":
        chart: dict[str, Points] = json.loads(file.read_text())
        return chart
    with file.open() as lines:
        rows = [(row[0].removesuffix(" UTC"), float(row[2])) for row in list(csv.reader(lines))[1:]]
    seconds = ((datetime.fromisoformat(f"{at}+00:00") - EPOCH, price) for at, price in rows)
    prices = [(since // timedelta(milliseconds=1), price) for since, price in seconds]
    return {"prices": prices, "market_caps": [], "total_volumes": []}


async def shifted(
    folder: Path, replay: str, coin: str, currency: str, start: datetime
) -> dict[str, dict[int, float]]:
    """The recording's samples since `start`, moved by as many hours as the server moved them."""
    chart = recorded(folder, coin, currency)
    params: dict[str, str | float] = {
        "vs_currency": currency,
        "from": start.timestamp(),
        "to": time.time() + 3600,
    }
    async with httpx.AsyncClient() as http:
        path = f"{replay}/coins/{coin}/market_chart/range"
        served = (await http.get(path, params=params)).json()["prices"]
    shift = max(served)[0] - max(chart["prices"])[0]
    assert shift % HOUR_MS == 0
    assert max(served)[0] > (time.time() - 2 * 3600) * 1000
    start_ms = start.timestamp() * 1000
    return {
        name: {at + shift: value for at, value in points if at + shift >= start_ms}
        for name, points in chart.items()
    }


def by_hour(samples: dict[str, dict[int, float]]) -> dict[datetime, tuple[Any, ...]]:
    """Floor, and the earliest sample of the hour."""
    hours: dict[datetime, tuple[Any, ...]] = {}
    for at, price in sorted(samples["prices"].items()):
        hour = EPOCH + timedelta(milliseconds=at - at % HOUR_MS)
        caps, volumes = samples["market_caps"], samples["total_volumes"]
        observed = EPOCH + timedelta(milliseconds=at)
        hours.setdefault(hour, (observed, price, caps.get(at), volumes.get(at)))
    return hours


async def test_a_refresh_serves_exactly_what_was_recorded(
    recordings: Path,
    replay: str,
    refresher: Refresher,
    database: Database,
    sql: asyncpg.Connection,
) -> None:
    run_id, _ = await refresher.start(RefreshRequest(), RefreshTrigger.COMMAND)
    await refresher.wait(run_id)
    missing = dropped = 0
    for coin, currency in ((coin, currency) for coin in COINS for currency in CURRENCIES):
        series = await sql.fetchrow(
            "SELECT * FROM series WHERE coin_id = $1 AND currency_code = $2", coin, currency
        )
        assert series is not None
        start = series["history_from"]
        wanted = datetime.now(UTC) - timedelta(days=HISTORY_DAYS)
        assert timedelta(0) <= wanted - start < timedelta(hours=1, minutes=5)
        samples = await shifted(recordings, replay, coin, currency, start)
        expected = by_hour(samples)
        rows = await sql.fetch("SELECT * FROM price_hourly WHERE series_id = $1", series["id"])
        assert {row["bucket"]: tuple(row)[2:] for row in rows} == expected
        # before the hours, a sample that happens to lie at midnight sharp is a daily point
        await sql.execute(
            "DELETE FROM price_daily WHERE day::timestamp AT TIME ZONE 'UTC' < $1", start
        )
        await _assert_days(sql, series["id"], expected, start)
        await assert_weeks_and_months(database, coin, currency, expected, start)
        latest = await sql.fetchrow("SELECT * FROM price_latest WHERE series_id = $1", series["id"])
        assert latest is not None
        newest = max(samples["prices"])
        # a quote has one time for all currencies of its coin, which may be a later one
        newer = max(newest, (await _quote(replay, coin))["last_updated_at"] * 1000)
        assert latest["observed_at"] == EPOCH + timedelta(milliseconds=newer)
        assert latest["price"] == samples["prices"][newest]
        span = (max(expected) - min(expected)) // timedelta(hours=1) + 1
        missing += span - len(expected)
        dropped += len(samples["prices"]) - len(expected)
    # gaps are gaps, and the recordings have some
    run = await sql.fetchrow("SELECT * FROM refresh_run")
    assert run is not None
    # the recordings reach back some weeks: the days of a year are not among them
    assert (run["status"], run["error"], run["failed_calls"]) == ("PARTIAL", None, 0)
    errors = await sql.fetch("SELECT DISTINCT error FROM refresh_run_item WHERE error IS NOT NULL")
    assert all(" days: missing prices are requested again." in row["error"] for row in errors)
    assert run["duplicates_dropped"] == dropped > 4
    assert missing > 4


async def _quote(replay: str, coin: str) -> dict[str, Any]:
    params = {"ids": coin, "vs_currencies": "usd,eur", "include_last_updated_at": "true"}
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"{replay}/simple/price", params=params)
    quote: dict[str, Any] = answer.json()[coin]
    return quote


async def _assert_days(
    sql: asyncpg.Connection, series: int, hours: dict[datetime, tuple[Any, ...]], start: datetime
) -> None:
    by_day: dict[date, list[tuple[Any, ...]]] = {}
    for at, (_, *numbers) in sorted(hours.items()):
        if at.replace(hour=0) >= start:
            by_day.setdefault(at.date(), []).append(tuple(numbers))
    rows = await sql.fetch("SELECT * FROM price_daily WHERE series_id = $1", series)
    # the answer to more than 90 days is in hours here, whose first of a day stand for days before
    made = {row["day"]: tuple(row)[2:] for row in rows if row["day"] >= min(by_day)}
    assert made == {
        day: day_of([(price, cap, volume) for price, cap, volume in numbers])
        for day, numbers in by_day.items()
    }
    assert len(by_day) >= HISTORY_DAYS - 2


async def test_a_second_refresh_inserts_nothing(
    refresher: Refresher, sql: asyncpg.Connection
) -> None:
    for _ in range(2):
        run_id, _ = await refresher.start(RefreshRequest(), RefreshTrigger.COMMAND)
        await refresher.wait(run_id)
    first, second = await sql.fetch("SELECT * FROM refresh_run ORDER BY id")
    assert first["rows_inserted"] > 2500
    assert (second["rows_inserted"], second["rows_corrected"]) == (0, 0)
    assert second["status"] == "PARTIAL"  # the days of a year are still missing
    # hours, the newest price, and days before the hours
    assert await sql.fetchval("SELECT max(revision) FROM series") <= 3


async def test_texts_of_the_recording_are_plain(
    refresher: Refresher, sql: asyncpg.Connection
) -> None:
    run_id, _ = await refresher.start(RefreshRequest(), RefreshTrigger.COMMAND)
    await refresher.wait(run_id)
    row = await sql.fetchrow("SELECT * FROM coin_metadata WHERE coin_id = 'bitcoin'")
    assert row is not None
    assert row["description"].startswith("Bitcoin is the first successful internet money")
    assert "<a" not in row["description"]
    assert row["website_url"] == "http://www.bitcoin.org"
    assert row["image_url"].startswith("https://assets.coingecko.com/coins/images/1/large/")
