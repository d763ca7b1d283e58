"""Live polls: what they store beside refreshes, and that nothing ends them."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from ingestion.budget import Credits
from ingestion.coingecko import CoinGecko
from ingestion.live import BudgetSpentError, LivePoller, next_due
from ingestion.simulator import Fault, Simulator
from ingestion.throttle import Throttle
from models.database import Database, DatabaseUnavailableError
from tests.ingestion.running import Deployment
from tests.ingestion.upstream import Clock, charts_of, days_of, hours_of

HOUR = timedelta(hours=1)
COINS, CURRENCIES = ("bitcoin", "ethereum"), ("usd", "eur")
NAMES = [f"{coin}/{currency}" for coin in COINS for currency in CURRENCIES]


async def leads() -> None:
    """Verify nothing: this process leads."""


def poller_of(
    database: Database,
    upstream: CoinGecko,
    *,
    every: float = 3600,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    coins: tuple[str, ...] = COINS,
    monthly: int | None = None,
) -> LivePoller:
    return LivePoller(
        database,
        upstream,
        coins=coins,
        currencies=CURRENCIES,
        every=timedelta(seconds=every),
        left=Credits(database, monthly),
        now=now,
    )


def upstream_of(simulator: Simulator) -> CoinGecko:
    throttle = Throttle(600_000, first_pause=0.01, max_pause=0.02)
    return CoinGecko(throttle=throttle, base_url=simulator.base_url, attempts=1)


async def quotes(deployment: Deployment) -> Any:
    """What upstream says of all series, past our client."""
    answer = await deployment.http.get(
        f"/api/v3/simple/price?ids={','.join(COINS)}&vs_currencies={','.join(CURRENCIES)}"
        "&include_market_cap=true&include_24hr_vol=true&include_24hr_change=true"
        "&include_last_updated_at=true&precision=full"
    )
    return answer.json()


async def latest(deployment: Deployment) -> dict[str, tuple[Any, ...]]:
    rows = await deployment.sql.fetch(
        "SELECT coin_id || '/' || currency_code, observed_at, price, market_cap, volume, "
        "change_24h FROM price_latest JOIN series ON id = series_id"
    )
    return {row[0]: tuple(row)[1:] for row in rows}


def seen(answer: Any, name: str) -> tuple[Any, ...]:
    coin, currency = name.split("/")
    entry = answer[coin]
    at = datetime.fromtimestamp(entry["last_updated_at"], UTC)
    parts = ("_market_cap", "_24h_vol", "_24h_change")
    return (at, entry[currency], *(entry[f"{currency}{part}"] for part in parts))


async def forget_charts_since(deployment: Deployment, hour: datetime) -> None:
    """Let it be as if the last chart had come just before this hour."""
    await deployment.sql.execute("DELETE FROM price_hourly WHERE bucket >= $1", hour)
    await deployment.sql.execute("UPDATE series SET last_bucket = $1, charted_to = $1", hour - HOUR)
    await deployment.sql.execute("DELETE FROM price_daily WHERE day >= $1", hour.date())


async def test_live_hours_last_until_a_chart_has_them(
    deployment: Deployment, clock: Clock, database: Database
) -> None:
    now = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
    clock.now = now.timestamp()
    refresher = await deployment.process(COINS, CURRENCIES)
    await deployment.refresh(refresher)
    clock.now += 60
    running = now.replace(minute=0)
    charted = running - 30 * HOUR
    await forget_charts_since(deployment, charted)
    before = {name: await deployment.hours(name) for name in NAMES}
    runs = await deployment.sql.fetchval("SELECT count(*) FROM refresh_run")

    async with upstream_of(deployment.simulator) as upstream:
        poller = poller_of(database, upstream, now=lambda: now)
        assert await poller.poll(leads) == len(NAMES)
        answer = await quotes(deployment)
        versions = await deployment.sql.fetch("SELECT xmin, * FROM series ORDER BY id")
        assert await poller.poll(leads) == 0
        assert versions == await deployment.sql.fetch("SELECT xmin, * FROM series ORDER BY id")
        clock.now += 60
        assert await poller.poll(leads) == len(NAMES), "the newest price moves, the hour stays"
        newer = await quotes(deployment)

    today = datetime.combine(running, datetime.min.time(), UTC)
    for name in NAMES:
        hours = await deployment.hours(name)
        assert hours == {**before[name], running: seen(answer, name)[:4]}
        assert (await latest(deployment))[name] == seen(newer, name)
        assert (await deployment.days(name))[today.date()] == days_of(hours, today)[today.date()]
        known = await deployment.series(name)
        assert (known["charted_to"], known["last_bucket"]) == (charted - HOUR, running)
    assert await deployment.sql.fetchval("SELECT count(*) FROM refresh_run") == runs

    deployment.forget_calls()
    ended = await deployment.refresh(refresher)
    reasons = {item["reason"] for item in ended.items.values()}
    assert reasons == {"ROUTINE"}, "30 hours without a chart are within the two days"
    for name in NAMES:
        coin, currency = name.split("/")
        charts = await charts_of(deployment.http, deployment.charts(coin), currency)
        given, _ = hours_of(charts)
        live = {running: seen(answer, name)[:4]}
        stored = await deployment.hours(name)
        assert stored == {**before[name], **live, **given}
        known = await deployment.series(name)
        assert known["charted_to"] == max(given)
        days = await deployment.days(name)
        for day, values in days_of(stored, known["history_from"]).items():
            assert days[day] == values
    assert ended.run["rows_corrected"] == 0, "a live price is nothing of upstream's to correct"


async def test_hours_that_only_live_prices_have_are_asked_for(
    deployment: Deployment, database: Database
) -> None:
    """Polls went on for days while no refresh came: the chart is asked for since the last one."""
    refresher = await deployment.process(("bitcoin",), ("usd",), history_days=9)
    await deployment.refresh(refresher)
    running = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    charted = running - 5 * 24 * HOUR
    await deployment.sql.execute("UPDATE series SET charted_to = $1", charted)
    await deployment.sql.execute("UPDATE price_hourly SET price = 1 WHERE bucket > $1", charted)
    deployment.forget_calls()
    ended = await deployment.refresh(refresher)
    assert ended.items["bitcoin/usd"]["reason"] == "GAP"
    hours = await deployment.hours("bitcoin/usd")
    charts = await charts_of(deployment.http, deployment.charts("bitcoin"), "usd")
    given, _ = hours_of(charts)
    assert min(given) <= charted, "the hour that ran when the last chart came is asked for too"
    assert {at: hours[at] for at in given} == given
    corrected = ended.run["rows_corrected"]
    assert corrected == 0
    assert ended.run["rows_inserted"] == sum(at > charted for at in given)


async def test_a_first_load_comes_all_the_same(deployment: Deployment, database: Database) -> None:
    refresher = await deployment.process(COINS, CURRENCIES)
    async with upstream_of(deployment.simulator) as upstream:
        assert await poller_of(database, upstream).poll(leads) == len(NAMES)
    assert set(await latest(deployment)) == set(NAMES)
    assert await deployment.sql.fetchval("SELECT count(*) FROM price_hourly") == 0
    deployment.forget_calls()
    ended = await deployment.refresh(refresher)
    assert {item["reason"] for item in ended.items.values()} == {"FIRST_LOAD"}
    await deployment.assert_stored(*NAMES)


async def test_nothing_is_written_by_who_leads_no_more(
    deployment: Deployment, database: Database
) -> None:
    await deployment.process(COINS, CURRENCIES)

    async def lost() -> None:
        raise DatabaseUnavailableError("The database dropped the connection of a lock.")

    async with upstream_of(deployment.simulator) as upstream:
        with pytest.raises(DatabaseUnavailableError):
            await poller_of(database, upstream).poll(lost)
    assert await latest(deployment) == {}


async def test_what_upstream_leaves_out_is_told_once(
    deployment: Deployment, database: Database
) -> None:
    coins = (*COINS, "no-such-coin")
    await deployment.process(coins, CURRENCIES)
    async with upstream_of(deployment.simulator) as upstream:
        poller = poller_of(database, upstream, coins=coins)
        with capture_logs() as logs:
            await poller.poll(leads)
            await poller.poll(leads)
            deployment.simulator.add_fault(Fault("nulls", path="simple/price"))
            await poller.poll(leads)
            await poller.poll(leads)
    told = [(log["count"], len(log["missing"])) for log in logs if "left out" in log["event"]]
    assert told == [(2, 2), (6, 6), (2, 2)]
    assert set(await latest(deployment)) == set(NAMES)


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - what it awaits is in the database
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", ["error500", "html", "truncated", "reset", "rate_limited"])
async def test_faults_are_told_once_and_end_nothing(
    deployment: Deployment, database: Database, kind: Any
) -> None:
    await deployment.process(COINS, CURRENCIES)
    deployment.simulator.add_fault(Fault(kind, times=2, retry_after="none"))

    async with upstream_of(deployment.simulator) as upstream:
        with capture_logs() as logs:

            async def again() -> bool:
                return any(log["event"] == "succeeded again" for log in logs)

            polling = asyncio.create_task(poller_of(database, upstream, every=0.01).run(leads))
            try:
                await until(again)
                assert not polling.done()
            finally:
                polling.cancel()
                await asyncio.gather(polling, return_exceptions=True)
    told = [log for log in logs if log.get("work") == "live poll"]
    assert [log["event"] for log in told] == ["failed, trying again", "succeeded again"]
    assert set(await latest(deployment)) == set(NAMES)


@pytest.mark.parametrize(
    ("now", "expected"),
    [(0.0, 10.0), (3.0, 10.0), (10.0, 10.0), (10.5, 20.0), (99.0, 100.0), (1e9 + 1, 1e9 + 10)],
)
def test_late_polls_fall_out(now: float, expected: float) -> None:
    assert next_due(0.0, 10.0, now) == expected


async def test_a_spent_budget_is_not_overdrawn(
    deployment: Deployment, clock: Clock, database: Database
) -> None:
    refresher = await deployment.process(COINS, CURRENCIES)
    await deployment.refresh(refresher)
    asked = len(deployment.simulator.requests)
    async with upstream_of(deployment.simulator) as upstream:
        with pytest.raises(BudgetSpentError, match="credits of this month are spent"):
            await poller_of(database, upstream, monthly=0).poll(leads)
        assert len(deployment.simulator.requests) == asked
        clock.now += 60
        assert await poller_of(database, upstream, monthly=1_000_000).poll(leads) > 0
