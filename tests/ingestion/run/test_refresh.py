"""Refreshes that go well: what they ask for and what they store."""

import time
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import pytest

from models import runs
from models.postgres.database import Database
from simulator import Fault
from tests.ingestion.running import Deployment
from tests.ingestion.upstream import Clock, charts_of, hours_of, moment

NAMES = ["bitcoin/usd", "ethereum/usd", "bitcoin/eur", "ethereum/eur"]
HOUR, DAY = 3600, 86_400


@pytest.mark.slow
async def test_a_first_load_is_what_upstream_has(
    deployment: Deployment, database: Database
) -> None:
    ended = await deployment.refresh(await deployment.process(history_days=95))
    assert (ended.status, ended.run["error"], ended.failed) == ("SUCCEEDED", None, {})
    assert list(ended.items) == NAMES  # every coin in the first currency first
    await deployment.assert_stored(*NAMES)

    days = await deployment.days("ethereum/eur")
    # upstream gives a day 35 minutes after its end, so there is one less in that time
    assert len(days) in {364, 365, 366}
    assert sum(day[7] == 1 for day in days.values()) in {len(days) - 95, len(days) - 96}

    stored = [await deployment.hours(name) for name in NAMES]
    assert all(len(hours) > 94 * 24 for hours in stored)
    assert ended.rows == (sum(map(len, stored)), 0)
    dropped = 0
    for name in NAMES:
        coin, currency = name.split("/")
        charts = await charts_of(deployment.http, deployment.charts(coin), currency)
        hours, duplicates = hours_of(charts)
        item, series = ended.items[name], await deployment.series(name)
        assert (item["rows_inserted"], item["duplicates_dropped"]) == (len(hours), duplicates)
        assert (item["status"], item["reason"], item["calls"]) == ("SUCCEEDED", "FIRST_LOAD", 3)
        assert (series["revision"], series["last_error"]) == (3, None)  # quote, hours, days
        dropped += duplicates
    assert ended.run["duplicates_dropped"] == dropped > 0

    # quotes; of each series two windows of hours and one of days; two profiles
    assert ended.calls == (1 + 4 * 3 + 2, 1 + 4 * 3 + 2, 0)
    assert len(deployment.calls()) == 1 + 4 * 3 + 2
    async with database.read() as session:
        run = (await runs.runs_by_id(session, [ended.run["id"]]))[ended.run["id"]]
    assert runs.seconds_left(run, datetime.now(UTC)) is None
    assert ended.run["started_at"] <= ended.run["finished_at"]


@pytest.mark.slow
async def test_the_newest_prices_are_upstreams(deployment: Deployment, clock: Clock) -> None:
    # a moment whose quotes are newer than the hour's sample: those lie minutes past the hour
    clock.now = time.time() // HOUR * HOUR - 60
    await deployment.refresh(await deployment.process())
    (target,) = deployment.calls("/simple/price")
    quotes = (await deployment.http.get(target)).json()
    rows = await deployment.sql.fetch(
        "SELECT s.coin_id, s.currency_code, l.* "
        "FROM price_latest l JOIN series s ON s.id = l.series_id"
    )
    assert len(rows) == 4
    for row in rows:
        quote, code = quotes[row["coin_id"]], row["currency_code"]
        assert row["observed_at"] == moment(quote["last_updated_at"] * 1000)
        assert row["price"] == quote[code]
        assert row["market_cap"] == quote[f"{code}_market_cap"]
        assert row["volume"] == quote[f"{code}_24h_vol"]
        assert row["change_24h"] == quote[f"{code}_24h_change"]


@pytest.mark.slow
async def test_a_chart_may_know_a_newer_price(deployment: Deployment) -> None:
    deployment.simulator.add_fault(Fault("error500", path="/simple/price", times=None))
    await deployment.refresh(await deployment.process())
    for name in NAMES:
        coin, currency = name.split("/")
        (chart,) = await charts_of(deployment.http, deployment.charts(coin), currency)
        newest, price = max(chart["prices"])
        hours, _ = hours_of([chart])
        row = await deployment.sql.fetchrow(
            "SELECT * FROM price_latest WHERE series_id = $1", (await deployment.series(name))["id"]
        )
        assert row is not None
        assert (row["observed_at"], row["price"]) == (moment(newest), price)
        day_before = moment(newest - DAY * 1000).replace(minute=0, second=0, microsecond=0)
        if day_before in hours:
            change = (price / hours[day_before][1] - 1) * 100
            assert row["change_24h"] == pytest.approx(change, rel=1e-9)
        else:
            assert row["change_24h"] is None


@pytest.mark.slow
async def test_a_second_refresh_changes_nothing(deployment: Deployment) -> None:
    refresher = await deployment.process()
    await deployment.refresh(refresher)
    tables = ("price_hourly", "price_daily", "price_latest")
    query = " UNION ALL ".join(f"SELECT xmin::text || ctid::text FROM {t}" for t in tables)  # noqa: S608 - own names
    before = sorted(tuple(row) for row in await deployment.sql.fetch(query))
    ended = await deployment.refresh(await deployment.process())
    assert (ended.status, ended.rows) == ("SUCCEEDED", (0, 0))
    assert {item["reason"] for item in ended.items.values()} == {"ROUTINE"}
    assert ended.calls == (5, 5, 0)
    assert sorted(tuple(row) for row in await deployment.sql.fetch(query)) == before
    assert {(await deployment.series(name))["revision"] for name in NAMES} == {3}


@pytest.mark.slow
@pytest.mark.parametrize("away", [6 * HOUR, 4 * DAY])
async def test_what_happened_meanwhile_is_brought(
    deployment: Deployment, clock: Clock, away: int
) -> None:
    refresher = await deployment.process(history_days=7)
    clock.now = time.time() - away
    await deployment.refresh(refresher)
    revision = (await deployment.series("bitcoin/usd"))["revision"]
    clock.now = time.time()
    ended = await deployment.refresh(refresher)
    assert ended.calls == (5, 5, 0)
    # of the hour that was not over, the "now" point may have been the only sample yet
    assert ended.rows[0] >= 4 * (away // HOUR - 2)
    assert ended.rows[1] <= 4
    await deployment.assert_stored(*NAMES)
    assert (await deployment.series("bitcoin/usd"))["revision"] == revision + 2


@pytest.mark.slow
async def test_the_hour_that_was_running_is_requested_again(
    deployment: Deployment, clock: Clock
) -> None:
    """Of its first minute there was only the "now" point, which upstream does not keep."""
    refresher = await deployment.process(history_days=7)
    clock.now = time.time() // HOUR * HOUR - 4 * DAY + 60
    await deployment.refresh(refresher)
    clock.now = time.time()
    await deployment.refresh(refresher)
    await deployment.assert_stored(*NAMES)


async def first_day_of_hours(deployment: Deployment) -> date:
    return min(day for day, row in (await deployment.days("bitcoin/eur")).items() if row[7] > 1)


@pytest.mark.slow
async def test_a_longer_history_is_filled_in_behind(deployment: Deployment) -> None:
    await deployment.refresh(await deployment.process(history_days=3))
    first = await first_day_of_hours(deployment)
    ended = await deployment.refresh(await deployment.process(history_days=9))
    assert {item["reason"] for item in ended.items.values()} == {"BACKFILL"}
    assert ended.status == "SUCCEEDED"
    await deployment.assert_stored(*NAMES)
    # the day that the start of the shorter history cut in two is whole now
    assert await first_day_of_hours(deployment) == first - timedelta(days=6)
    days = await deployment.days("bitcoin/eur")
    assert days[first - timedelta(days=1)][7] >= 22


async def test_days_limits_the_history(deployment: Deployment) -> None:
    refresher = await deployment.process()
    ended = await deployment.refresh(refresher, coins=("ethereum",), currencies=("eur",), days=30)
    assert list(ended.items) == ["ethereum/eur"]
    assert ended.items["ethereum/eur"]["reason"] == "REQUESTED"
    (target,) = deployment.calls("/market_chart/range")
    asked = parse_qs(urlsplit(target).query)
    assert int(asked["to"][0]) - int(asked["from"][0]) == pytest.approx(30 * DAY, abs=HOUR + 5)
    await deployment.assert_stored("ethereum/eur")
    assert await deployment.sql.fetchval("SELECT request FROM refresh_run") == (
        '{"days": 30, "coins": ["ethereum"], "currencies": ["eur"]}'
    )


@pytest.mark.slow
async def test_days_leave_no_gap(deployment: Deployment, clock: Clock) -> None:
    refresher = await deployment.process()
    clock.now = time.time() - 4 * DAY
    await deployment.refresh(refresher)
    clock.now = time.time()
    await deployment.refresh(refresher, days=1)
    await deployment.assert_stored(*NAMES)
    hours = sorted(await deployment.hours("bitcoin/usd"))
    assert max(b - a for a, b in pairwise(hours)) <= timedelta(hours=3)


@pytest.mark.slow
async def test_upstreams_corrections_become_ours(deployment: Deployment) -> None:
    refresher = await deployment.process()
    await deployment.refresh(refresher)
    series = (await deployment.series("ethereum/usd"))["id"]
    recent = moment((time.time() - 30 * HOUR) * 1000)
    await deployment.sql.execute(
        "UPDATE price_hourly SET price = price * 2 WHERE series_id = $1 AND bucket > $2",
        series, recent,
    )  # fmt: skip
    ended = await deployment.refresh(refresher)
    assert ended.rows == (0, ended.items["ethereum/usd"]["rows_corrected"])
    assert 28 <= ended.rows[1] <= 31
    await deployment.assert_stored(*NAMES)


async def test_an_empty_request_does_nothing(deployment: Deployment) -> None:
    for asked in ({"coins": ()}, {"currencies": ()}):
        ended = await deployment.refresh(await deployment.process(), **asked)
        assert (ended.status, ended.items, ended.calls[2]) == ("SUCCEEDED", {}, 0)
        assert ended.calls[0] == ended.calls[1]
    assert deployment.calls("/market_chart") == deployment.calls("/simple") == []


@pytest.mark.slow
async def test_metadata_is_requested_when_missing_or_old(deployment: Deployment) -> None:
    refresher = await deployment.process()

    async def asked_for() -> set[str]:
        before = len(deployment.calls())
        assert (await deployment.refresh(refresher)).status == "SUCCEEDED"
        calls = deployment.calls()[before:]
        return {urlsplit(each).path.split("/")[-1] for each in calls if "localization" in each}

    assert await asked_for() == {"bitcoin", "ethereum"}
    row = await deployment.sql.fetchrow(
        "SELECT * FROM coin JOIN coin_metadata ON coin_id = id WHERE id = 'bitcoin'"
    )
    assert row is not None
    assert (row["symbol"], row["name"]) == ("btc", "Bitcoin")
    assert "peer-to-peer" in row["description"]
    assert "<" not in row["description"]
    assert row["website_url"] == "https://bitcoin.org/"
    age = "UPDATE coin_metadata SET updated_at = now() - $1::interval WHERE coin_id = 'ethereum'"
    await deployment.sql.execute(age, timedelta(days=29, hours=23))
    assert await asked_for() == set()
    await deployment.sql.execute(age, timedelta(days=30, seconds=1))
    assert await asked_for() == {"ethereum"}
    await deployment.sql.execute("DELETE FROM coin_metadata WHERE coin_id = 'bitcoin'")
    assert await asked_for() == {"bitcoin"}
    assert await asked_for() == set()
