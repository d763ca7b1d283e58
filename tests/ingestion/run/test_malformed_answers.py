"""Refreshes of an upstream whose answers are partly garbage: the sound part is stored, and said."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.ingestion.running import Deployment, Ended
from tests.ingestion.scripted import ScriptedUpstream, scripted

NAME = "bitcoin/usd"
NAMES = {"bitcoin/usd", "bitcoin/eur"}


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted() as made:
        yield made


async def refreshed(deployment: Deployment, upstream: ScriptedUpstream) -> Ended:
    refresher = await deployment.process(["bitcoin"], base_url=upstream.url, history_days=3)
    return await deployment.refresh(refresher)


def with_extras(name: str, *bad: Any) -> Callable[[Any], Any]:
    """Let some points of an array be garbage instead, spread over it."""

    def spoil(chart: Any) -> Any:
        points = list(chart[name])
        for number, each in enumerate(bad):
            points[3 * number + 1] = each
        return {**chart, name: points}

    return spoil


T0 = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp() * 1000)
# The eight that were seen, and what is like them.
SIDE_VALUES: list[Any] = [
    None, [None, 5], [T0], [T0, 5, 6], {}, "123.4", True, 1e101, [T0, "5"], [T0, True],
    [T0, {}], [[T0], [5]], [T0, -1], [T0, 10**30], [T0, 1e101], [],
]  # fmt: skip


def by_coin(*spoilers: Callable[[Any], Any]) -> Callable[[Any, str], Any]:
    """Spoil the answers about coin-0 with the first of these, those about coin-1 with the next."""

    def spoil(answer: Any, coin: str) -> Any:
        number = int(coin.split("-")[1])
        return spoilers[number](answer) if number < len(spoilers) else answer

    return spoil


async def refreshed_coins(
    deployment: Deployment, upstream: ScriptedUpstream, count: int, *, times: int = 1
) -> Ended:
    """Refresh coin-0, coin-1, …, each in USD."""
    coins = [f"coin-{number}" for number in range(count)]
    refresher = await deployment.process(coins, ["usd"], base_url=upstream.url, history_days=3)
    for _ in range(times):
        ended = await deployment.refresh(refresher)
    return ended


@pytest.mark.slow
async def test_malformed_extras_cost_no_price(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    arrays: list[Any] = [{}, "123.4", True, 1e101, [None], {"prices": []}]
    upstream.spoil_chart = by_coin(
        with_extras("market_caps", *SIDE_VALUES),
        with_extras("total_volumes", *SIDE_VALUES),
        *(
            lambda chart, array=array: {**chart, "market_caps": array, "total_volumes": array}
            for array in arrays
        ),
    )
    ended = await refreshed_coins(deployment, upstream, 3 + len(arrays))
    assert (ended.status, ended.failed) == ("SUCCEEDED", {})
    count = sum(value != [T0, 10**30] for value in SIDE_VALUES)  # which is large, and a number
    notes = [ended.items[f"coin-{number}/usd"]["note"] for number in range(len(ended.items))]
    assert f"{count} market caps" in notes[0]
    assert f"{count} volumes" in notes[1]
    assert all("1 market cap and 1 volume" in note for note in notes[2:-1])
    assert notes[-1] is None
    assert ended.run["note"] == f"{len(notes) - 1} items with a note."
    for number in range(len(notes)):
        hours = await deployment.hours(f"coin-{number}/usd")
        assert len(hours) >= 72
        lost = [sum(hour[column] is None for hour in hours.values()) for column in (1, 2, 3)]
        damaged = len(SIDE_VALUES)
        assert lost == {0: [0, damaged, 0], 1: [0, 0, damaged]}.get(
            number, [0, 0, 0] if number == len(notes) - 1 else [0, len(hours), len(hours)]
        )


async def test_malformed_values_of_days_cost_no_day(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    upstream.spoil["daily"] = lambda chart: with_extras("prices", *SIDE_VALUES[:3])(
        {**chart, "market_caps": "x", "total_volumes": [[]] * 5}
    )
    ended = await refreshed_coins(deployment, upstream, 1)
    assert ended.status == "SUCCEEDED"
    assert ended.items["coin-0/usd"]["note"] == (
        "Dropped invalid days from CoinGecko: 3 prices, 1 market cap and 5 volumes."
    )
    assert len(await deployment.days("coin-0/usd")) >= 361


@pytest.mark.slow
async def test_bad_price_points_cost_themselves_alone(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    whole = await refreshed(deployment, upstream)
    assert (whole.items[NAME]["note"], whole.run["note"]) == (None, None)
    before = await deployment.hours(NAME)
    await deployment.sql.execute("TRUNCATE price_hourly, price_daily")
    await deployment.sql.execute("UPDATE series SET history_from = NULL, charted_to = NULL")
    bad = [value for value in SIDE_VALUES if value != [T0, 10**30]]
    upstream.spoil["chart"] = with_extras("prices", *bad)
    ended = await refreshed(deployment, upstream)
    assert ended.status == "PARTIAL", "more than a tenth of the hours is missing"
    assert f"{len(bad)} prices" in ended.items[NAME]["note"]
    hours = await deployment.hours(NAME)
    assert len(before) - len(hours) == len(bad)
    assert hours.items() <= before.items()


async def test_mostly_bad_prices_refuse_the_answer(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    upstream.spoil["chart"] = lambda chart: {
        **chart, "prices": [["x", 1] if n % 3 else point for n, point in enumerate(chart["prices"])]
    }  # fmt: skip
    ended = await refreshed(deployment, upstream)
    assert ended.status == "FAILED"
    assert "points of CoinGecko's `prices` are invalid" in ended.failed[NAME]
    assert await deployment.hours(NAME) == {}


@pytest.mark.slow
async def test_a_profile_with_malformed_parts_is_requested_once(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    parts: list[dict[str, Any]] = [
        {"symbol": ""}, {"name": None}, {"symbol": None, "name": ""}, {"symbol": ["x"]},
        {"name": {}}, {"id": None}, {"links": "x", "image": [], "description": None},
    ]  # fmt: skip
    upstream.spoil_coin = by_coin(*(lambda coin, part=part: {**coin, **part} for part in parts))
    assert (await refreshed_coins(deployment, upstream, len(parts), times=2)).status == "SUCCEEDED"
    assert upstream.count("coin") == len(parts)
    rows = await deployment.sql.fetch(
        "SELECT coin.*, description, website_url FROM coin JOIN coin_metadata ON coin_id = id"
    )
    for row in rows:
        part = parts[int(row["id"].split("-")[1])]
        # what was seeded stays where upstream has nothing sound
        assert row["name"] == (row["id"] if "name" in part else row["id"].upper())
        assert row["symbol"] == "coi"
        assert row["description"] == (None if "description" in part else "A coin.")
        assert row["website_url"] == (None if "links" in part else "https://coin.example/")
    assert len(rows) == len(parts)


@pytest.mark.slow
async def test_a_malformed_quote_costs_no_other(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    entries: list[Any] = [
        None, {}, [], "x", 5, {"usd": "1", "last_updated_at": T0 // 1000}, {"usd": [1]},
        {"usd": 1.0}, {"usd": 1.0, "last_updated_at": 0}, {"usd": 1.0, "last_updated_at": T0},
    ]  # fmt: skip
    upstream.spoil["price"] = lambda answer: {
        **answer, **{f"coin-{number}": entry for number, entry in enumerate(entries)}
    }  # fmt: skip
    upstream.spoil["chart"] = lambda _: {"prices": []}
    ended = await refreshed_coins(deployment, upstream, len(entries) + 1)
    rows = await deployment.sql.fetch(
        "SELECT coin_id FROM price_latest JOIN series ON id = series_id"
    )
    assert [row["coin_id"] for row in rows] == [f"coin-{len(entries)}"]
    assert ended.run["note"].startswith(
        "Dropped 8 invalid newest prices from CoinGecko: coin-2/usd has no "
    )
    assert ended.run["note"].endswith("; and 3 more.")


async def test_a_malformed_extra_of_a_quote_costs_no_price(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    upstream.spoil["price"] = lambda answer: {
        coin: {**quote, "usd_market_cap": "5", "usd_24h_vol": [], "usd_24h_change": 1e300}
        for coin, quote in answer.items()
    }
    ended = await refreshed(deployment, upstream)
    assert "Dropped 3 invalid market caps, volumes and changes" in ended.run["note"]
    latest = await deployment.sql.fetchrow(
        "SELECT price_latest.* FROM price_latest JOIN series ON id = series_id "
        "WHERE currency_code = 'usd'"
    )
    assert latest is not None
    assert (latest["price"], latest["market_cap"], latest["volume"]) == (101.5, None, None)


@pytest.mark.slow
async def test_a_price_from_the_future_shuts_out_no_later_one(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    spans = [timedelta(hours=20), timedelta(minutes=6), timedelta(days=9999)]

    def ahead_of_time(answer: Any) -> Any:
        now = datetime.now(UTC).timestamp()
        return {
            coin: {**quote, "last_updated_at": int(now + span.total_seconds()), "usd": 666}
            for (coin, quote), span in zip(answer.items(), spans, strict=True)
        }

    upstream.spoil["price"] = ahead_of_time
    ended = await refreshed_coins(deployment, upstream, len(spans))
    assert ended.status == "SUCCEEDED"
    for number in range(len(spans)):
        assert f"coin-{number}/usd has a time" in ended.run["note"]
    assert "this machine's is wrong" in ended.run["note"]
    assert await _latest_age(deployment) >= timedelta(0)
    del upstream.spoil["price"]
    await refreshed_coins(deployment, upstream, len(spans))
    prices = await deployment.sql.fetch("SELECT price FROM price_latest")
    assert [row["price"] for row in prices] == [101.5] * len(spans)


@pytest.mark.parametrize("by", ["quotes", "charts"])
async def test_a_stored_price_from_the_future_heals(
    deployment: Deployment, upstream: ScriptedUpstream, by: str
) -> None:
    """An earlier version stored it."""
    await refreshed(deployment, upstream)
    await deployment.sql.execute(
        "UPDATE price_latest SET observed_at = now() + interval '20 hours', price = 666"
    )
    if by == "charts":
        upstream.spoil["price"] = lambda _: {}
    revision = (await deployment.series(NAME))["revision"]
    await refreshed(deployment, upstream)
    assert await deployment.sql.fetchval("SELECT max(price) FROM price_latest") < 666
    assert await _latest_age(deployment) >= timedelta(0)
    assert (await deployment.series(NAME))["revision"] > revision


async def test_chart_points_with_a_wrong_time_are_dropped(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    def moved(by: Callable[[int], int]) -> Callable[[Any], Any]:
        return lambda chart: {
            **chart,
            "prices": [
                [by(at), 666.0] if number % 5 == 1 else [at, price]
                for number, (at, price) in enumerate(chart["prices"])
            ],
        }

    upstream.spoil_chart = by_coin(
        moved(lambda at: at + 100 * 3_600_000), moved(lambda at: at * 1000),
        moved(lambda at: at // 1000), moved(lambda _: 0), moved(lambda _: 1_500_000_000_000_000),
    )  # fmt: skip
    ended = await refreshed_coins(deployment, upstream, 5)
    assert ended.status == "PARTIAL", "a fifth of the hours is missing"
    for number, name in enumerate(ended.items):
        said = "prices" if number in {2, 3} else "points with a time in the future"
        assert said in ended.items[name]["note"]
        hours = await deployment.hours(name)
        assert len(hours) >= 55
        assert max(hours) <= datetime.now(UTC)
        assert 666.0 not in {hour[1] for hour in hours.values()}
    assert await deployment.sql.fetchval("SELECT max(price) FROM price_latest") < 666


async def _latest_age(deployment: Deployment) -> timedelta:
    age: timedelta = await deployment.sql.fetchval(
        "SELECT now() - max(observed_at) FROM price_latest"
    )
    return age
