"""One unit of cost buys about the same CPU time in every field.

CPU is compared with that of a list of prices, measured before and after in the same process, so
that a slow or busy machine does not matter. A value that is too high is measured again.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLObjectType,
    get_named_type,
    is_leaf_type,
    is_required_argument,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from schema import build_schema
from simulator import Simulator
from tests.conftest import new_database
from tests.schema.cost.metering import (
    COINS,
    CURRENCIES,
    HOURS_FROM,
    NOW,
    Meter,
    Work,
    fill,
    metered,
)
from tests.serving import in_thread, live_server, make_settings

MOST = 5.0  # times the unit
SCHEMA = build_schema()._schema  # noqa: SLF001 - graphql-core's own
Step = tuple[str, GraphQLField]


class Measured:
    """A meter in a server's own event loop."""

    def __init__(self, meter: Meter, run_id: str, loop: asyncio.AbstractEventLoop) -> None:
        self._meter, self._loop = meter, loop
        self.run_id = run_id

    def assert_fair(self, work: Work) -> None:
        run = self._meter.per_point(work, MOST)
        ratio = asyncio.run_coroutine_threadsafe(run, self._loop).result()
        assert ratio <= MOST, work


@pytest.fixture(scope="module")
def measured(postgres_url: str, template: str, shared_simulator: Simulator) -> Iterator[Measured]:
    with pytest.MonkeyPatch.context() as patch, new_database(postgres_url, template) as url:
        patch.delenv("DATABASE_URL", raising=False)
        asyncio.run(fill(url))
        with in_thread(_measured(url, shared_simulator)) as found:
            yield found


@asynccontextmanager
async def _measured(url: str, simulator: Simulator) -> AsyncIterator[Measured]:
    names = {"coins": ",".join(COINS), "currencies": ",".join(CURRENCIES), "history_days": 90}
    async with (
        live_server(make_settings(url, simulator, **names)) as live,
        metered(live, url) as meter,
    ):
        run_id = await meter.sql.fetchval("SELECT id FROM refresh_run LIMIT 1")
        yield Measured(meter, str(run_id), asyncio.get_running_loop())


def paths() -> Iterator[tuple[str, tuple[Step, ...]]]:
    """Return the shortest path from the query root to each field."""
    root = SCHEMA.query_type
    assert root is not None
    ways: dict[str, tuple[Step, ...]] = {root.name: ()}
    coming = [root]
    for parent in coming:
        for name, field in parent.fields.items():
            way = (*ways[parent.name], (name, field))
            yield f"{parent.name}.{name}", way
            kind = get_named_type(field.type)
            if isinstance(kind, GraphQLObjectType) and kind.name not in ways:
                ways[kind.name] = way
                coming.append(kind)


PATHS = dict(paths())

moments = st.sampled_from(
    [NOW - timedelta(hours=1), NOW - timedelta(hours=2), NOW - timedelta(days=3),
     NOW - timedelta(days=30), HOURS_FROM, NOW - timedelta(days=360), NOW - timedelta(days=4_000)]
).map(lambda moment: moment.isoformat())  # fmt: skip
texts = st.sampled_from(["coin", "coin-1", "%", "x" * 200, "x" * 95_000, "ß" * 45_000])
names = st.lists(st.sampled_from(COINS), min_size=1, max_size=11, unique=True)
strangers = st.integers(1, 500).map(lambda count: [f"{'x' * 150}{each}" for each in range(count)])
codes = st.lists(st.sampled_from(CURRENCIES), max_size=4, unique=True)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "coin": st.sampled_from([*COINS, "x" * 50_000]),
    "coins": names | st.just([]) | strangers,
    "currencies": codes,
    "currency": st.sampled_from(CURRENCIES),
    "from": moments,
    "to": st.just((NOW + timedelta(hours=1)).isoformat()),
    "granularity": st.sampled_from(["HOUR", "DAY", "WEEK", "MONTH"]),
    "order": st.sampled_from(["ASC", "DESC"]),
    "fill": st.sampled_from(["NONE", "NULL", "PREVIOUS"]),
    "first": st.sampled_from([1, 20, 500]),
    "kind": st.sampled_from(["SMA", "EMA"]),
    "maxPoints": st.sampled_from([3, 100, 2_000]),
    "threshold": st.sampled_from([1.0, 2.9, 4.0, 1_000.0]),
    "window": st.sampled_from([3, 24, 168]),
    "status": st.sampled_from(["FAILED", "SUCCEEDED"]),
    "filter": st.fixed_dictionaries(
        {},
        optional={
            "search": texts,
            "ids": names | strangers,
            "symbols": strangers | st.just(["n-1"]),
            "tracked": st.booleans(),
        },
    ),
    "input": st.fixed_dictionaries(
        {},
        optional={
            "days": st.sampled_from([1, 89, 3_650]),
            "rebuild": st.booleans(),
            "onlyDue": st.booleans(),
            "coins": names,
            "currencies": codes,
        },
    ),
}


class Drawn:
    """An operation that is built field by field, with its arguments as variables."""

    def __init__(self, draw: st.DataObject, run_id: str) -> None:
        self._draw, self._run_id = draw, run_id
        self._declared: list[str] = []
        self._values: dict[str, Any] = {}
        self._numbers = itertools.count()

    def work(self, way: tuple[Step, ...], times: int, last: int = 1) -> Work:
        """Select the fields at the end of a path this many times."""
        fields = " ".join(f"a{number}: {self._field(way, last)}" for number in range(times))
        declared = f"query ({', '.join(self._declared)})" if self._declared else "query"
        return Work(f"{declared} {{ {fields} }}", self._values)

    def _field(self, way: tuple[Step, ...], last: int) -> str:
        if len(way) == last > 1:
            return " ".join(self._field((step,), 1) for step in way)
        (name, field), *below = way
        arguments = self._arguments(name, field.args)
        if below:
            return f"{name}{arguments} {{ {self._field(tuple(below), last)} }}"
        kind = get_named_type(field.type)
        if is_leaf_type(kind):
            return f"{name}{arguments}"
        assert isinstance(kind, GraphQLObjectType)
        plain = [
            each for each, part in kind.fields.items() if is_leaf_type(get_named_type(part.type))
        ]
        return f"{name}{arguments} {{ {' '.join(plain[:3]) or '__typename'} }}"

    def _arguments(self, field: str, arguments: Mapping[str, GraphQLArgument]) -> str:
        given = []
        for name, argument in arguments.items():
            if name == "after" or not (is_required_argument(argument) or self._wanted(name)):
                continue
            variable = f"v{next(self._numbers)}"
            self._declared.append(f"${variable}: {argument.type}")
            self._values[variable] = self._value(field, name)
            given.append(f"{name}: ${variable}")
        return f"({', '.join(given)})" if given else ""

    def _wanted(self, name: str) -> bool:
        return self._draw.draw(st.booleans(), label=name)

    def _value(self, field: str, name: str) -> Any:
        if name == "id":
            return self._run_id if field == "refreshRun" else self._draw.draw(VALUES["coin"])
        return self._draw.draw(VALUES[name])


def drawn(examples: int) -> settings:
    return settings(
        derandomize=True,
        max_examples=examples,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )


def is_plain(field: GraphQLField) -> bool:
    return is_leaf_type(get_named_type(field.type)) and not field.args


def together() -> dict[str, list[tuple[Step, ...]]]:
    """Group fields: those with arguments or sub-fields alone, the others with their siblings."""
    found: dict[str, list[tuple[Step, ...]]] = {}
    for name, way in PATHS.items():
        owner = name.split(".")[0]
        found.setdefault(owner if is_plain(way[-1][1]) else name, []).append(way)
    return found


TOGETHER = together()


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("name", TOGETHER)
@drawn(1)
@given(st.data())
def test_no_field_uses_more_cpu_than_its_cost(
    measured: Measured, name: str, data: st.DataObject
) -> None:
    ways = TOGETHER[name]
    way = (*ways[0][:-1], *(step for way in ways for step in way[-1:]))
    measured.assert_fair(Drawn(data, measured.run_id).work(way, 4, len(ways)))


@pytest.mark.endurance
@pytest.mark.parametrize("name", PATHS)
@drawn(2)
@given(st.data())
def test_no_single_field_uses_more_cpu_than_its_cost(
    measured: Measured, name: str, data: st.DataObject
) -> None:
    times = data.draw(st.sampled_from([1, 4, 15]), label="times")
    measured.assert_fair(Drawn(data, measured.run_id).work(PATHS[name], times))


SOON = (NOW - timedelta(hours=2)).isoformat()
ALL = '["' + '", "'.join(COINS) + '"]'
TOO_CHEAP_ONCE = {
    "months": f"alignedPrices(coins: {ALL}, granularity: MONTH) {{ granularity }}",
    "carried months": f'alignedPrices(coins: {ALL}, from: "{SOON}", granularity: MONTH, '
    "fill: PREVIOUS) { granularity }",
    "a search": "coins(filter: {search: $text}) { totalCount }",
    "tickers": "coins(filter: {symbols: $many}) { totalCount }",
    "anomalies": f'anomalies(from: "{SOON}") {{ score }}',
    "anomalies of none": f'anomalies(from: "{SOON}", coins: []) {{ score }}',
    "many anomalies": "anomalies(threshold: 1, window: 3) { timestamp coin score scope price }",
    "plans": "refreshPlan { calls }",
    "plans of few": 'refreshPlan(input: {coins: ["coin-1"], currencies: ["usd"]}) { calls }',
    "statuses": "seriesStatus { coin }",
    "a status": 'seriesStatus(coins: ["coin-1"], currencies: ["usd"]) { coin }',
    "runs": "refreshRuns { nodes { id } }",
    "a page of runs": "refreshRuns(first: 1) { pageInfo { endCursor } }",
    "one week": 'prices(coin: "coin-1", granularity: WEEK, first: 1) { next }',
    "coverage": 'prices(coin: "coin-1", first: 1) { coverage { present gaps { from } } }',
    "types": "__schema { types { name fields { name args { name type { name } } } } }",
}
VARIABLES = {"text": "x" * 95_000, "many": [f"{'x' * 150}{number}" for number in range(500)]}
KINDS = {"text": "String", "many": "[String!]"}


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("times", [1, 15])
@pytest.mark.parametrize("name", TOO_CHEAP_ONCE)
def test_fields_whose_cost_was_too_low(measured: Measured, name: str, times: int) -> None:
    field = TOO_CHEAP_ONCE[name]
    used = [each for each in VARIABLES if f"${each}" in field]
    declared = "(" + " ".join(f"${each}: {KINDS[each]}" for each in used) + ")" if used else ""
    fields = " ".join(f"a{number}: {field}" for number in range(times))
    variables = {each: VARIABLES[each] for each in used}
    measured.assert_fair(Work(f"query {declared} {{ {fields} }}", variables))
