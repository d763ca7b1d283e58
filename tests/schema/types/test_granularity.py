"""Hours, days, weeks and months, compared with the calendar and plain Python."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.schema.sample_series import CUT, FIRST, GRANULARITIES, SERIES, following, points_of, text
from tests.schema.series_query import series, walk
from tests.serving import Reader

SECOND = timedelta(seconds=1)


@pytest.mark.slow
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("key", SERIES)
async def test_all_points(made: Reader, key: tuple[str, str], granularity: str) -> None:
    coin, currency = key
    before = list(points_of(key, granularity).values())
    answer = await series(made, coin=coin, currency=currency, granularity=granularity)
    expected = list(points_of(key, granularity).values())
    assert answer["points"] in (before, expected), "the running bucket may end meanwhile"
    assert len(expected) == {"none": 0, "single": 1}.get(coin, len(expected))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("granularity", "first", "second", "third"),
    [
        ("WEEK", "2020-12-21", "2020-12-28", "2021-01-04"),  # ISO week 53 of 2020
        ("MONTH", "2021-01-01", "2021-02-01", "2021-03-01"),
        ("MONTH", "2020-11-01", "2020-12-01", "2021-01-01"),
    ],
)
async def test_a_bucket_belongs_to_the_range_that_it_begins_in(
    made: Reader, granularity: str, first: str, second: str, third: str
) -> None:
    begin, end = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (first, third))
    for start, stop, expected in (
        (begin, end, [first, second]),
        (begin + SECOND, end, [second]),
        (begin + SECOND, end + SECOND, [second, third]),
        (begin, end - SECOND, [first, second]),
        (begin + SECOND, begin + 2 * SECOND, []),
        (begin, begin, []),
        (begin, begin + SECOND, [first]),
    ):
        edges = {"from": text(start), "to": text(stop)}
        for fill in ("NONE", "NULL"):
            answer = await series(made, granularity=granularity, fill=fill, **edges)
            assert [p["timestamp"][:10] for p in answer["points"]] == expected, edges


async def test_the_first_week_and_month_of_the_history(made: Reader) -> None:
    """They are built from the whole days there are; `samples` counts their hours."""
    for granularity, begins in (("WEEK", "2020-12-28"), ("MONTH", "2020-12-01")):
        answer = await series(made, coin="cut", granularity=granularity)
        assert answer["from"] == f"{begins}T00:00:00Z"
        point = answer["points"][0]
        assert point["timestamp"] == answer["from"]
        hours = [at for at in SERIES["cut", "usd"][1] if at.date() > CUT.date()]
        inside = [
            at
            for at in hours
            if at < following(granularity, datetime.fromisoformat(begins).replace(tzinfo=UTC))
        ]
        assert point["samples"] == len(inside)
        assert not point["partial"]
        again = await series(made, coin="cut", granularity=granularity, **{"from": answer["from"]})
        assert again["points"] == answer["points"]
    days = await series(made, coin="cut", granularity="DAY")
    assert (days["from"], days["points"][0]["timestamp"]) == (text(CUT), "2020-12-31T00:00:00Z")


@pytest.mark.parametrize("granularity", GRANULARITIES)
async def test_only_the_bucket_in_progress_is_partial(made: Reader, granularity: str) -> None:
    before = datetime.now(UTC)
    points = (await series(made, coin="young", granularity=granularity))["points"]
    after = datetime.now(UTC)
    for point in points:
        ends = following(granularity, datetime.fromisoformat(point["timestamp"]))
        assert point["partial"] in (ends > before, ends > after)
    assert any(not point["partial"] for point in points) or granularity in {"WEEK", "MONTH"}


@pytest.mark.slow
@pytest.mark.parametrize("granularity", ["WEEK", "MONTH"])
@pytest.mark.parametrize("order", ["ASC", "DESC"])
@pytest.mark.parametrize("first", [1, 2, 3, 100])
async def test_pages_of_weeks_and_months(
    made: Reader, granularity: str, order: str, first: int
) -> None:
    expected = list(points_of(("gappy", "usd"), granularity).values())
    edges: dict[str, Any] = {"from": text(FIRST - timedelta(days=40)), "to": "2021-06-01"}
    for more in ({}, edges):
        walked = await walk(made, first, order, granularity=granularity, **more)
        assert walked == (expected if order == "ASC" else expected[::-1])


async def test_a_constant_price_is_its_own_mean(made: Reader) -> None:
    for granularity in ("WEEK", "MONTH"):
        points = (await series(made, coin="constant", granularity=granularity))["points"]
        assert {p[name] for p in points for name in ("price", "high", "low")} == {0.1}


async def test_weeks_are_means_of_hours_not_of_days(made: Reader) -> None:
    """A day with few hours has less weight."""
    days = (await series(made, granularity="DAY"))["points"]
    weeks = (await series(made, granularity="WEEK"))["points"]
    week = weeks[1]
    end = following("WEEK", datetime.fromisoformat(week["timestamp"]))
    inside = [d for d in days if week["timestamp"] <= d["timestamp"] < text(end)]
    assert len({day["samples"] for day in inside}) > 1
    assert week["samples"] == sum(day["samples"] for day in inside)
    unweighted = sum(day["price"] for day in inside) / len(inside)
    assert week["price"] != pytest.approx(unweighted, rel=1e-9)
