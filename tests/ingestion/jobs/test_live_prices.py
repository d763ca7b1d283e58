"""Live polls: what they store in addition to refreshes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from models.postgres.database import Database
from tests.ingestion.polling import COINS, CURRENCIES, NAMES, latest, leads, poller_of, upstream_of
from tests.ingestion.running import Deployment
from tests.ingestion.upstream import Clock, charts_of, days_of, hours_of

HOUR = timedelta(hours=1)
VERSIONS = "SELECT xmin, * FROM series ORDER BY id"


async def quotes(deployment: Deployment) -> Any:
    """What upstream says of all series, past our client."""
    answer = await deployment.http.get(
        f"/api/v3/simple/price?ids={','.join(COINS)}&vs_currencies={','.join(CURRENCIES)}"
        "&include_market_cap=true&include_24hr_vol=true&include_24hr_change=true"
        "&include_last_updated_at=true&precision=full"
    )
    return answer.json()


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


async def poll_in(
    now: datetime, deployment: Deployment, clock: Clock, database: Database
) -> tuple[Any, Any]:
    """Poll until the newest price has moved; what upstream said at first and at last."""
    async with upstream_of(deployment.simulator) as upstream:
        poller = poller_of(database, upstream, now=lambda: now)
        assert await poller.poll(leads) == len(NAMES)
        answer = await quotes(deployment)
        versions = await deployment.sql.fetch(VERSIONS)
        assert await poller.poll(leads) == 0
        assert await deployment.sql.fetch(VERSIONS) == versions
        clock.now += 60
        assert await poller.poll(leads) == len(NAMES), "the newest price moves, the hour stays"
        return answer, await quotes(deployment)


async def assert_charted(deployment: Deployment, name: str, before: dict[datetime, Any]) -> None:
    """Hours that the chart has are as it says, others as before; days are made of them."""
    coin, currency = name.split("/")
    charts = await charts_of(deployment.http, deployment.charts(coin), currency)
    given, _ = hours_of(charts)
    stored = await deployment.hours(name)
    assert stored == {**before, **given}
    known = await deployment.series(name)
    assert known["charted_to"] == max(given)
    days = await deployment.days(name)
    for day, values in days_of(stored, known["history_from"]).items():
        assert days[day] == values


@pytest.mark.slow
async def test_live_hours_last_until_a_chart_has_them(
    deployment: Deployment, clock: Clock, database: Database
) -> None:
    now = datetime.now(UTC).replace(minute=30, second=0, microsecond=0) - HOUR
    clock.now = now.timestamp()
    refresher = await deployment.process(COINS, CURRENCIES)
    await deployment.refresh(refresher)
    clock.now += 60
    running = now.replace(minute=0)
    charted = running - 30 * HOUR
    await forget_charts_since(deployment, charted)
    before = {name: await deployment.hours(name) for name in NAMES}
    runs = await deployment.sql.fetchval("SELECT count(*) FROM refresh_run")

    answer, newer = await poll_in(now, deployment, clock, database)
    polled = {name: {**before[name], running: seen(answer, name)[:4]} for name in NAMES}
    today = running.replace(hour=0)
    for name in NAMES:
        assert await deployment.hours(name) == polled[name]
        assert (await latest(deployment))[name] == seen(newer, name)
        days = days_of(polled[name], today)
        assert (await deployment.days(name))[today.date()] == days[today.date()]
        known = await deployment.series(name)
        assert (known["charted_to"], known["last_bucket"]) == (charted - HOUR, running)
    assert await deployment.sql.fetchval("SELECT count(*) FROM refresh_run") == runs

    deployment.forget_calls()
    ended = await deployment.refresh(refresher)
    reasons = {item["reason"] for item in ended.items.values()}
    assert reasons == {"ROUTINE"}, "30 hours without a chart are within the two days"
    for name in NAMES:
        await assert_charted(deployment, name, polled[name])
    assert ended.run["rows_corrected"] == 0, "a live price is nothing of upstream's to correct"


async def test_hours_that_only_live_prices_have_are_requested(
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


@pytest.mark.slow
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
