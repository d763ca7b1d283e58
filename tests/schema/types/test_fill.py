"""Filled buckets: all of the range, none in the future, independent of pages."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.schema.sample_series import (
    FIRST,
    GRANULARITIES,
    LAST,
    LISTED,
    SERIES,
    filled,
    points_of,
    start_of,
    text,
)
from tests.schema.series_query import series, walk
from tests.serving import Reader

WIDE = (FIRST - timedelta(days=40), LAST + timedelta(days=40))
INSIDE = (FIRST + timedelta(days=31, minutes=5), LAST - timedelta(days=20, seconds=7))


def edges(part: tuple[datetime, datetime]) -> dict[str, str]:
    return {"from": text(part[0]), "to": text(part[1])}


@pytest.mark.slow
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("policy", ["NULL", "PREVIOUS"])
@pytest.mark.parametrize("coin", ["gappy", "single", "none", "tiny", "huge"])
async def test_every_bucket_of_the_range(
    made: Reader, coin: str, policy: str, granularity: str
) -> None:
    points = points_of((coin, "usd"), granularity)
    for part in (WIDE, INSIDE):
        expected = filled(points, granularity, *part, carried=policy == "PREVIOUS")
        for order in ("ASC", "DESC"):
            answer = await series(
                made, coin=coin, granularity=granularity, fill=policy, order=order, **edges(part)
            )
            assert answer["next"] is None
            assert answer["points"] == (expected if order == "ASC" else expected[::-1])
    if coin == "gappy":
        assert any(p["filled"] for p in filled(points, granularity, *WIDE, carried=True))


@pytest.mark.slow
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("policy", ["NULL", "PREVIOUS"])
@pytest.mark.parametrize("order", ["ASC", "DESC"])
async def test_pages_continue_each_other(
    made: Reader, granularity: str, policy: str, order: str
) -> None:
    """A page that begins within a gap carries the last price of the page before."""
    part = (FIRST - timedelta(days=3), LAST + timedelta(days=3))
    for first in {"HOUR": (97, 500), "DAY": (3, 16)}.get(granularity, (1, 2, 5)):
        asked: dict[str, Any] = {"granularity": granularity, "fill": policy}
        whole = (await series(made, order=order, **asked, **edges(part)))["points"]
        assert await walk(made, first, order, **asked, **edges(part)) == whole
        open_ended = await walk(made, first, order, **asked, to=text(LAST))
        whole = (await series(made, order=order, **asked, to=text(LAST)))["points"]
        assert open_ended == whole


async def test_a_page_within_a_gap_of_a_week(made: Reader) -> None:
    start = FIRST + timedelta(hours=1300)
    hours = [at for at in SERIES["gappy", "usd"][1] if at < start]
    assert start - max(hours) > timedelta(days=1)
    answer = await series(made, fill="PREVIOUS", first=3, **{"from": text(start)})
    price = SERIES["gappy", "usd"][1][max(hours)].price
    assert [p["price"] for p in answer["points"]] == [price] * 3
    assert all(p["filled"] for p in answer["points"])


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("policy", ["NULL", "PREVIOUS"])
async def test_future_buckets_are_not_filled(made: Reader, granularity: str, policy: str) -> None:
    """Whatever `to` is, the last bucket is the one in progress."""
    asked: dict[str, Any] = {"coin": "young", "granularity": granularity, "fill": policy}
    start = text(LISTED)
    before = text(start_of(granularity, datetime.now(UTC)))
    far = text(datetime.now(UTC) + timedelta(days=200))
    late = [await series(made, **asked, **{"from": start, "to": far})]
    late += [await series(made, **asked, order="DESC", first=5, to="2199-12-31")]
    late += [await series(made, **asked, first=10_000, to="2199-12-31")]
    after = text(start_of(granularity, datetime.now(UTC)))
    for answer, newest in zip(late, (-1, 0, -1), strict=True):
        if answer["points"]:
            assert answer["points"][newest]["timestamp"] in {before, after}
    assert late[0]["points"] or granularity in {"WEEK", "MONTH"}
    beyond = await series(made, **asked, **{"from": far, "to": "2199-12-31", "first": 5})
    assert (beyond["points"], beyond["next"]) == ([], None)


async def test_buckets_before_the_first_price_are_null(made: Reader) -> None:
    points = (await series(made, coin="young", fill="PREVIOUS"))["points"]
    early = [p for p in points if p["timestamp"] < text(LISTED)]
    assert len(early) == 83 * 24
    assert {p["price"] for p in early} == {None}
    assert None not in {p["price"] for p in points[len(early) :]}


async def test_the_range_limit_counts_filled_buckets(made: Reader) -> None:
    day = {"from": "2021-01-01", "to": "2021-01-02"}
    hours = await series(made, fill="NULL", **day)
    assert len(hours["points"]) == 24
    for first in (23, 24, 25):
        answer = await series(made, fill="NULL", first=first, **day)
        assert len(answer["points"]) == min(first, 24)
        assert answer["next"] == ("2021-01-01T23:00:00Z" if first == 23 else None)


async def test_fill_policies_in_one_operation(made: Reader) -> None:
    """One operation may query the same range with several policies."""
    query = """{
      a: prices(coin: "gappy", from: "2021-01-01", to: "2021-01-08") { points { price } }
      b: prices(coin: "gappy", from: "2021-01-01", to: "2021-01-08", fill: NULL) {
        points { timestamp } }
      c: prices(coin: "gappy", from: "2021-01-01", to: "2021-01-08", fill: PREVIOUS) {
        points { price } }
    }"""
    answer = await made.data(query)
    hours = points_of(("gappy", "usd"), "HOUR")
    start, end = datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 1, 8, tzinfo=UTC)
    own = [p["price"] for at, p in hours.items() if start <= at < end]
    assert [p["price"] for p in answer["a"]["points"]] == own
    assert len(answer["b"]["points"]) == len(answer["c"]["points"]) == 168 > len(own)
    carried = filled(hours, "HOUR", start, end, carried=True)
    assert [p["price"] for p in answer["c"]["points"]] == [p["price"] for p in carried]
