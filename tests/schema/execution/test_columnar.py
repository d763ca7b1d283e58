"""The columnar path gives the same bytes as graphql-core's own path."""

import asyncio
import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import orjson
import pytest
import strawberry
from graphql.execution import Executor
from hypothesis import given, settings
from hypothesis import strategies as st
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from models.prices.granularity import Granularity, Times
from models.prices.read import SeriesColumns
from resolvers.prices import PricePage
from resolvers.ranges import PriceRequest
from schema.columnar.lists import ColumnarLeaves, ColumnarList
from schema.execution.columnar import ColumnarExecutor
from schema.scalars import SCALARS
from schema.types.points import PointList, PricePoint

NOW = datetime(2026, 1, 2, 5, 30, tzinfo=UTC)
FIELDS = [
    "timestamp", "price", "marketCap", "volume", "observedAt", "open", "high", "low", "close",
    "samples", "partial", "filled", "__typename",
]  # fmt: skip


def points(prices: list[float], granularity: Granularity) -> PointList:
    """Build buckets up to the one in progress, with nulls where prices are NaN."""
    count = len(prices)
    last = granularity.floor(NOW)
    timestamps: Times = granularity.starts(np.arange(last - count + 1, last + 1))
    seen: Times = timestamps + np.timedelta64(271_048, "ms")
    seen[1::3] = np.datetime64("NaT", "us")
    numbers = np.array(prices, dtype=np.float64)
    longer = granularity is not Granularity.HOUR
    columns = SeriesColumns(
        timestamps=timestamps,
        observed_at=None if longer else seen,
        price=numbers,
        market_cap=numbers[::-1].copy(),
        volume=np.full(count, np.nan),
        samples=np.arange(count, dtype=np.int32),
        open=numbers if longer else None,
        high=numbers if longer else None,
        low=numbers if longer else None,
        close=numbers if longer else None,
        filled=np.isnan(numbers) if longer else None,
    )
    request = PriceRequest(granularity, NOW, NOW, descending=False, first=None, now=NOW)
    return PointList(PricePage("bitcoin", "usd", request, NOW, 1, columns, None), NOW)


def schema_of(lists: list[PointList], executor: type[Executor[Any]]) -> strawberry.Schema:
    @strawberry.type
    class Query:
        @strawberry.field
        async def points(self, number: int = 0) -> list[PricePoint]:
            return cast("list[PricePoint]", lists[number])

        @strawberry.field
        def nullable(self) -> list[PricePoint | None]:
            return cast("list[PricePoint | None]", lists[0])

    return strawberry.Schema(
        query=Query,
        config=StrawberryConfig(scalar_map=SCALARS),
        execution_context_class=cast("Any", executor),
    )


def answers(lists: list[PointList], query: str, **variables: bool) -> tuple[bytes, bytes]:
    """Execute on the ordinary path and twice on the columnar one. All must be equal."""

    async def answer(executor: type[Executor[Any]], *, encoded: bool = False) -> bytes:
        result = await schema_of(lists, executor).execute(
            query, variable_values=variables, context_value=SimpleNamespace(encoded=encoded)
        )
        errors = [error.formatted for error in result.errors or ()]
        return orjson.dumps({"data": result.data, "errors": errors})

    async def both() -> tuple[bytes, bytes]:
        ordinary = await answer(StrawberryGraphQLCoreExecutionContext)
        columnar = await answer(ColumnarExecutor)
        assert await answer(ColumnarExecutor, encoded=True) == columnar
        return ordinary, columnar

    return asyncio.run(both())


@st.composite
def selections(draw: st.DrawFn, depth: int = 0) -> str:
    """Draw a selection set: aliases, directives, fragments of both kinds, repetitions."""
    parts = []
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["field"] * 4 + ["inline", "spread"])) if depth < 2 else "field"
        directive = draw(
            st.sampled_from(
                ["", "", " @skip(if: $yes)", " @include(if: $no)", " @include(if: $yes)"]
            )
        )
        if kind == "field":
            field = draw(st.sampled_from(FIELDS))
            alias = draw(st.sampled_from(["", "", f"a_{field}: "]))
            parts.append(f"{alias}{field}{directive}")
        elif kind == "inline":
            on = draw(st.sampled_from(["", " on PricePoint"]))
            parts.append(f"...{on}{directive} {draw(selections(depth=depth + 1))}")
        else:
            parts.append(f"...Named{directive}")
    return "{ " + " ".join(parts) + " }"


numbers = st.one_of(st.floats(min_value=0, allow_infinity=False), st.just(math.nan))


@pytest.mark.slow
@settings(max_examples=75, deadline=None)
@given(
    selection=selections(),
    named=selections(depth=2),
    prices=st.lists(numbers, max_size=5),
    granularity=st.sampled_from(Granularity),
)
def test_any_selection(
    selection: str, named: str, prices: list[float], granularity: Granularity
) -> None:
    lists = [points(prices, granularity), points((prices * 130)[:130], granularity)]
    query = f"""
        query ($yes: Boolean!, $no: Boolean!) {{
          points {selection} again: points {named} long: points(number: 1) {selection}
          nullable {{ price }} points {{ ...Named @skip(if: $no) @include(if: $yes) }}
        }}
        fragment Named on PricePoint {named}
    """
    ordinary, columnar = answers(lists, query, yes=True, no=False)
    assert columnar == ordinary
    assert json.loads(columnar)["errors"] == []


@pytest.mark.parametrize("place", [0, 3, 599])
def test_an_error_in_a_point(place: int) -> None:
    prices = [1.0] * 600
    prices[place] = math.inf
    query = "{ points { timestamp p: price } other: points { samples } }"
    ordinary, columnar = answers([points(prices, Granularity.HOUR)], query)
    assert columnar == ordinary
    (error,) = json.loads(columnar)["errors"]
    assert error["path"] == ["points", place, "p"]


def test_the_fast_path_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other tests would not notice if graphql-core no longer called it."""

    def walked(*_: object) -> None:
        raise AssertionError("the list was walked")

    monkeypatch.setattr(PointList, "__getitem__", walked)
    monkeypatch.setattr(PointList, "__iter__", walked)
    lists = [points([1.0, math.nan], Granularity.DAY)]

    async def answer() -> Any:
        schema = schema_of(lists, ColumnarExecutor)
        return await schema.execute(
            "{ points { ...F @include(if: true) } } fragment F on PricePoint { t: timestamp close }"
        )

    assert asyncio.run(answer()).data == {
        "points": [
            {"t": "2026-01-01T00:00:00Z", "close": 1.0},
            {"t": "2026-01-02T00:00:00Z", "close": None},
        ]
    }


def test_other_lists_take_the_ordinary_path() -> None:
    class Strange(ColumnarList[PricePoint]):
        def column(self, field: str) -> None:
            return None

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: Any) -> Any:
            return points([2.5], Granularity.HOUR)[index]

    ordinary, columnar = answers([cast("PointList", Strange())], "{ points { price samples } }")
    assert columnar == ordinary
    assert json.loads(columnar)["data"] == {"points": [{"price": 2.5, "samples": 0}]}


def test_a_slice_and_a_point() -> None:
    made = points([1.0, 2.0, 3.0], Granularity.HOUR)
    assert [point.price for point in made[1:]] == [2.0, 3.0]
    assert made[-1].partial
    assert not made[0].partial


@pytest.mark.parametrize("times", [1, 200])
@pytest.mark.parametrize("encoded", [False, True])
def test_leaves_are_encoded_as_a_column(times: int, *, encoded: bool) -> None:
    values = [1.5, math.nan, -0.0, 1e300] * times

    class Leaves(ColumnarLeaves[float | None]):
        def __iter__(self) -> Iterator[float | None]:
            raise AssertionError("the list was walked")

    @strawberry.type
    class Query:
        @strawberry.field
        def plain(self) -> list[float | None]:
            return [None if math.isnan(value) else value for value in values]

        @strawberry.field
        def leaves(self) -> list[float | None]:
            return cast("list[float | None]", Leaves(np.array(values)))

        @strawberry.field
        def infinite(self) -> list[float | None]:
            return cast("list[float | None]", ColumnarLeaves(np.array([1, math.inf])))

    schema = strawberry.Schema(query=Query, execution_context_class=cast("Any", ColumnarExecutor))
    context = SimpleNamespace(encoded=encoded)
    result = asyncio.run(schema.execute("{ plain leaves }", context_value=context))
    assert result.data is not None
    assert orjson.dumps(result.data["leaves"]) == orjson.dumps(result.data["plain"])
    failed = asyncio.run(schema.execute("{ infinite }", context_value=context))
    assert failed.data == {"infinite": [1.0, None]}
    assert [error.path for error in failed.errors or ()] == [["infinite", 1]]
