"""An explicit null equals the default, or a missing argument without one."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from graphql import parse

from resolvers.data_extent import DataExtent
from schema.cost import CostPlan
from tests.schema.nullable import SCHEMA, Case, asked, cases, other
from tests.server.streams.sse_client import events_of
from tests.server.streams.websocket_client import talking_to
from tests.serving import TOKEN, LiveServer, Reader

QUERIES = [case for case in cases(SCHEMA.query_type) if case.path[0][0] != "refreshRun"]
PATHS = {str(case).partition("(")[0]: case.path for case in QUERIES}
META = [case for case in cases(SCHEMA.type_map["__Schema"]) if case.argument == "includeDeprecated"]
MUTATIONS = [case for case in cases(SCHEMA.mutation_type) if len(case.path) == 1]
SUBSCRIPTIONS = [
    case
    for case in cases(SCHEMA.subscription_type)
    if len(case.path) == 1 and case.path[0][0] != "refreshProgress"
]
EXTENT = DataExtent(11, 4, datetime(2026, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))


def test_all_nullable_places_are_found() -> None:
    found = {str(case) for case in [*QUERIES, *META, *MUTATIONS, *SUBSCRIPTIONS]}
    assert {
        "prices(granularity)", "coins(first)", "coin.latest(currency)", "coin.prices(fill)",
        "coins.nodes.latest(currency)", "coins.edges.node.prices(order)", "coins(filter: ids)",
        "prices.movingAverage(kind)", "refreshPlan(input)", "refreshPlan(input: rebuild)",
        "refreshPrices(input: wait)", "priceUpdates(since)", "types.fields(includeDeprecated)",
    } <= found  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", PATHS)
async def test_null_equals_a_missing_argument(reader: Reader, name: str) -> None:
    """Each argument alone and all together, in one operation with one `now`."""
    path = PATHS[name]
    places = [case for case in QUERIES if case.path == path]
    variables = {f"v{number}": case for number, case in enumerate(places)}
    parts = [asked(path, "plain", {})]
    for variable, case in variables.items():
        parts += [case.asked(f"literal_{variable}", "null"), case.asked(variable, f"${variable}")]
    whole = {case.argument: f"${name}" for name, case in variables.items() if case.field is None}
    parts.append(asked(path, "all", whole))
    nulls = dict.fromkeys(variables)
    for default, given in ((None, nulls), (None, {}), ("null", {}), ("other", nulls)):
        kinds = [
            f"${variable}: {case.kind}"
            + (f" = {other(case.kind) if default == 'other' else default}" if default else "")
            for variable, case in variables.items()
        ]
        query = f"query ({', '.join(kinds)}) {{ {' '.join(parts)} }}"
        data = await reader.data(query, **given)
        assert {label for label, found in data.items() if found != data["plain"]} == set()


async def test_by_get_and_from_the_cache_too(reader: Reader) -> None:
    query = """query ($g: Granularity, $d: SortDirection = DESC) {
      prices(coin: "bitcoin", granularity: $g, order: $d, first: 3) {
        granularity points { timestamp }
      }
    }"""
    variables = {"g": None, "d": None}
    params = {"query": query, "variables": json.dumps(variables)}
    plain = await reader.data(
        '{ prices(coin: "bitcoin", first: 3) { granularity points { timestamp } } }'
    )
    for _ in range(2):
        got = await reader.http.get("/graphql", params=params)
        posted = await reader.post(query, **variables)
        assert got.json() == posted.json() == {"data": plain}
    assert got.headers["x-cache"] == posted.headers["x-cache"] == "HIT"


@pytest.mark.parametrize("case", QUERIES, ids=str)
def test_a_null_costs_what_the_default_costs(case: Case) -> None:
    def cost(text: str, **variables: None) -> int:
        plan = CostPlan(SCHEMA, parse(text))
        return plan.cost(None, variables, datetime(2026, 4, 1, tzinfo=UTC), EXTENT).requested

    plain = cost(f"{{ {case.asked('one', None)} }}")
    assert cost(f"{{ {case.asked('one', 'null')} }}") == plain
    variable = f"query ($v: {case.kind}) {{ {case.asked('one', '$v')} }}"
    assert cost(variable, v=None) == cost(variable) == plain
    defaulted = variable.replace(") {", f" = {other(case.kind)}) {{", 1)
    assert cost(defaulted, v=None) == plain


@pytest.mark.parametrize("case", META, ids=str)
async def test_introspection_too(reader: Reader, case: Case) -> None:
    values = {"plain": None, "literal": "null", "variable": "$v"}
    parts = " ".join(case.asked(label, value, depth=0) for label, value in values.items())
    data = await reader.data(f"query ($v: Boolean) {{ __schema {{ {parts} }} }}", v=None)
    assert data["__schema"]["plain"] == data["__schema"]["literal"] == data["__schema"]["variable"]


@pytest.mark.slow
async def test_the_mutation_too(server: LiveServer) -> None:
    """Each place alone; the last request joins or follows the runs of the others."""
    for case in MUTATIONS:
        text = f"mutation ($v: {case.kind}) {{ {case.asked('one', '$v')} }}"
        literal = f"mutation {{ {case.asked('one', 'null')} }}"
        for query in (text, literal):
            data = await server.data(query, token=TOKEN, **({"v": None} if "$v" in query else {}))
            assert data["one"]["run"]["status"] in {"RUNNING", "SUCCEEDED"}
    await server.application.refresher.interrupt()


@pytest.mark.parametrize("case", SUBSCRIPTIONS, ids=str)
async def test_subscriptions_too(reader: Reader, case: Case) -> None:
    query = f"subscription ($v: {case.kind}) {{ {case.asked('one', '$v')} }}"
    literal = f"subscription {{ {case.asked('one', 'null')} }}"
    for text, variables in ((query, {"v": None}), (literal, dict[str, Any]())):
        async with events_of(reader, text, **variables) as events:
            name, event = await events.next()
            assert (name, event["data"]["one"]["kind"]) == ("next", "SNAPSHOT")
        async with talking_to(reader) as talk:
            await talk.begin(text, variables=variables)
            message = await talk.receive()
            assert message["type"] == "next", message
            assert message["payload"]["data"]["one"]["kind"] == "SNAPSHOT"


# Allowed by validation, because the variable has a default; then null comes for it.
MISFITS = [
    ('query ($v: ID = "bitcoin") { coin(id: $v) { id } }', 200),
    ('query ($v: ID = "bitcoin") { prices(coin: $v) { revision } }', 400),
    ('query ($v: ID = "bitcoin") { latestPrices(coins: [$v]) { price } }', 400),
    ('query ($v: ID = "bitcoin") { coins(filter: {ids: [$v]}) { totalCount } }', 400),
    ('query ($v: ID = "bitcoin") { alignedPrices(coins: ["ethereum", $v]) { from } }', 400),
    ('query ($v: [ID!] = ["bitcoin"]) { alignedPrices(coins: $v) { from } }', 400),
    ('query ($v: Int = 3) { prices(coin: "bitcoin") { movingAverage(window: $v) } }', 400),
    ('query ($v: Int = 9) { prices(coin: "ethereum") { downsampled(maxPoints: $v) {low} } }', 400),
    ("query ($v: Boolean = true) { coins @include(if: $v) { totalCount } }", 400),
    ("query ($v: Boolean = true) { coins { totalCount @skip(if: $v) } }", 400),
    ("query ($v: Boolean = true) { coins { nodes { id @skip(if: $v) } } }", 400),
    ("query ($v: Boolean = true) { coins { edges { node { id @skip(if: $v) } } } }", 400),
    ('query ($v: String = "Coin") { __type(name: $v) { name } }', 200),
    ('query ($v: ID! = "bitcoin") { coin(id: $v) { id } }', 400),
    ("query ($v: [ID!]) { latestPrices(coins: $v) { price } }", 400),
    ("{ latestPrices(coins: [null]) { price } }", 400),
    ("{ refreshPlan(input: {coins: [null]}) { calls } }", 400),
]  # fmt: skip


@pytest.mark.parametrize(("query", "status"), MISFITS, ids=[query for query, _ in MISFITS])
async def test_an_invalid_null_is_bad_user_input(
    reader: Reader, query: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    null: Any = [None] if "[ID!])" in query else None
    response = await reader.post(query, **({"v": null} if "$v" in query else {}))
    errors = response.json()["errors"]
    assert {error["extensions"]["code"] for error in errors} <= {
        "BAD_USER_INPUT",
        "GRAPHQL_VALIDATION_FAILED",
    }
    assert response.status_code == status
    assert not [record for record in caplog.records if record.exc_info]


async def test_over_streams_as_well(reader: Reader) -> None:
    query = 'subscription ($v: ID = "bitcoin") { priceUpdates(coins: [$v]) { kind } }'
    async with events_of(reader, query, v=None) as events:
        name, event = await events.next()
        assert (name, event["errors"][0]["extensions"]["code"]) == ("next", "BAD_USER_INPUT")
    async with talking_to(reader) as talk:
        await talk.begin(query, variables={"v": None})
        message = await talk.receive()
        assert message["type"] == "error"
        assert message["payload"][0]["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize(
    "more",
    [
        {"variables": None},
        {"operationName": None},
        {"extensions": None},
        {"variables": None, "operationName": None, "extensions": None},
        {"extensions": {"persistedQuery": None}},
    ],
)
async def test_the_request_accepts_nulls(reader: Reader, more: dict[str, Any]) -> None:
    body = {"query": "{ currencies { code } }", **more}
    posted = await reader.http.post("/graphql", json=body)
    assert (posted.status_code, "errors" in posted.json()) == (200, False), posted.text
    params = {name: value if name == "query" else json.dumps(value) for name, value in body.items()}
    if more.get("operationName", 1) is None:
        del params["operationName"]
    got = await reader.http.get("/graphql", params=params)
    assert got.json() == posted.json()
    async with talking_to(reader) as talk:
        await talk.say("subscribe", id="1", payload=body)
        assert (await talk.receive())["payload"] == posted.json()
