"""Invalid requests give a clear error, its code and a status other than 200.

Unless there is data: GraphQL over HTTP requires 200 for `{"coin": null}`.
"""

import pytest

from tests.schema.refusals import LEAKS, PRICES, refused
from tests.serving import Reader


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ('{ prices(coin: "") { next } }', "''"),
        ('{ prices(coin: "bit\\u0000coin") { next } }', "coin"),
        ('{ prices(coin: "nope") { next } }', "'nope'"),
        ('{ prices(coin: "bitcoin", currency: "xyz") { next } }', "'xyz'"),
        ('{ latestPrices(coins: ["bitcoin", "nope"]) { price } }', "'nope'"),
        ('{ latestPrices(currencies: ["usd", "xyz"]) { price } }', "'xyz'"),
        ('{ seriesStatus(coins: ["nope"]) { stale } }', "'nope'"),
        ('{ seriesStatus(currencies: ["xyz"]) { stale } }', "'xyz'"),
        ('{ coins(first: 1) { nodes { prices(currency: "xyz") { next } } } }', "'xyz'"),
    ],
)
async def test_unknown_names(reader: Reader, query: str, named: str) -> None:
    status, code, message = await refused(reader, query)
    assert (status, code) == (404, "NOT_FOUND")
    assert named in message


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ('{ coin(id: "nope") { id } }', "'nope'"),
        ('{ coin(id: "") { id } }', "''"),
        ('{ coin(id: "bit\\u0000coin") { id } }', "coin"),
        ('{ refreshRun(id: "00000000-0000-7000-8000-000000000000") { id } }', "There is no run"),
    ],
)
async def test_null_is_an_answer(reader: Reader, query: str, named: str) -> None:
    status, code, message = await refused(reader, query)
    assert (status, code) == (200, "NOT_FOUND")
    assert named in message
    (value,) = (await reader.post(query)).json()["data"].values()
    assert value is None


async def test_an_unknown_name_fails_only_its_field(reader: Reader) -> None:
    response = await reader.post('{ a: coin(id: "nope") { id } b: coin(id: "bitcoin") { id } }')
    body = response.json()
    assert response.status_code == 200
    assert body["data"] == {"a": None, "b": {"id": "bitcoin"}}
    assert [(e["path"], e["extensions"]["code"]) for e in body["errors"]] == [(["a"], "NOT_FOUND")]
    nested = await reader.post('{ coin(id: "bitcoin") { id latest(currency: "xyz") { price } } }')
    assert nested.json()["data"] == {"coin": {"id": "bitcoin", "latest": None}}
    assert nested.json()["errors"][0]["path"] == ["coin", "latest"]
    assert nested.status_code == 200


async def test_the_most_severe_error_sets_the_status(reader: Reader) -> None:
    unknown, odd = 'a: prices(coin: "nope") { next }', "b: coins(first: 0) { totalCount }"
    null = 'c: coin(id: "nope") { id }'
    for query, status in (
        (f"{{ {unknown} {null} }}", 404),
        (f"{{ {odd} }}", 400),
        (f"{{ {null} {odd} }}", 400),
        (f"{{ {null} __typename }}", 200),
        (f"{{ {null} }}", 200),
    ):
        response = await reader.post(query)
        assert response.status_code == status, query


async def test_a_very_long_name_is_not_echoed(reader: Reader) -> None:
    for query, status in (
        ("{ coin(id: $id) { id } }", 200),
        ("{ prices(coin: $id) { next } }", 404),
    ):
        response = await reader.post(f"query ($id: ID!) {query}", id="x" * 10_000)
        assert response.status_code == status
        assert len(response.text) < 400


@pytest.mark.parametrize("first", [0, -1, -(2**31), 1_000_000, 2**31 - 1])
@pytest.mark.parametrize(
    "query",
    [
        "query ($first: Int!) { coins(first: $first) { totalCount } }",
        "query ($first: Int!) { refreshRuns(first: $first) { totalCount } }",
        'query ($first: Int!) { prices(coin: "bitcoin", first: $first) { next } }',
    ],
)
async def test_invalid_page_sizes(reader: Reader, query: str, first: int) -> None:
    status, code, message = await refused(reader, query, first=first)
    assert (status, code) == (400, "BAD_USER_INPUT")
    assert "`first` must be between 1 and " in message
    assert f"{first:,}" in message


@pytest.mark.parametrize("first", [2**31, 2**70, 1.5, "1", "abc", True, [1, 2]])
async def test_page_sizes_of_other_types(reader: Reader, first: object) -> None:
    query = "query ($first: Int!) { coins(first: $first) { totalCount } }"
    status, code, message = await refused(reader, query, first=first)
    assert (status, code) == (400, "BAD_USER_INPUT")
    assert "$first" in message


async def test_missing_and_null_variables(reader: Reader) -> None:
    query = "query ($first: Int!) { coins(first: $first) { totalCount } }"
    assert (await refused(reader, query))[:2] == (400, "BAD_USER_INPUT")
    assert (await refused(reader, query, first=None))[:2] == (400, "BAD_USER_INPUT")
    assert (await refused(reader, PRICES, granularity="MINUTE"))[:2] == (400, "BAD_USER_INPUT")


@pytest.mark.parametrize("list_name", ["coins", "refreshRuns"])
async def test_invalid_cursors(reader: Reader, list_name: str) -> None:
    query = f"query ($after: String) {{ {list_name}(after: $after) {{ totalCount }} }}"
    other = "refreshRuns" if list_name == "coins" else "coins"
    page = await reader.data(f"{{ {other}(first: 1) {{ pageInfo {{ endCursor }} }} }}")
    foreign = page[other]["pageInfo"]["endCursor"]
    plain = ["", "=", "bitcoin", "Yml0Y29pbg", "Y29pbjo", "cnVuOmJpdGNvaW4", "Y29pbjoA", "ö", "\0"]
    for after in [foreign, foreign + "=", *plain, "A" * 10_000, "💥"]:
        status, code, message = await refused(reader, query, after=after)
        assert (status, code) == (400, "BAD_USER_INPUT"), after
        assert "is not a cursor of this list" in message


@pytest.mark.parametrize("run_id", ["", "1", "nope", "x" * 10_000, "\0", "💥"])
async def test_invalid_run_ids(reader: Reader, run_id: str) -> None:
    query = "query ($id: ID!) { refreshRun(id: $id) { id } }"
    status, code, message = await refused(reader, query, id=run_id)
    assert (status, code) == (200, "BAD_USER_INPUT")
    assert len(message) < 200


async def test_lists_that_are_too_long(reader: Reader) -> None:
    names = [f"coin-{number}" for number in range(501)]
    for query in (
        "query ($names: [ID!]) { coins(filter: {ids: $names}) { totalCount } }",
        "query ($names: [ID!]) { latestPrices(coins: $names) { price } }",
        "query ($names: [ID!]) { seriesStatus(currencies: $names) { stale } }",
    ):
        status, code, message = await refused(reader, query, names=names)
        assert (status, code) == (400, "BAD_USER_INPUT")
        assert "at most 500" in message


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("nonsense", "GRAPHQL_PARSE_FAILED"),
        ('{ coin(id: "\\uD800") { id } }', "GRAPHQL_PARSE_FAILED"),
        ("{ nope }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ coin { id } }", "GRAPHQL_VALIDATION_FAILED"),
        ('{ coin(id: "bitcoin") }', "GRAPHQL_VALIDATION_FAILED"),
        ("{ coins(first: 2147483648) { totalCount } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ prices(coin: 1.5) { next } }", "GRAPHQL_VALIDATION_FAILED"),
        ("query ($x: Nope) { currencies { code } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ currencies { ...F } } fragment F on Currency { ...F }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ " * 5000, "GRAPHQL_PARSE_FAILED"),
        ("{ a" * 5000 + " }" * 5000, "GRAPHQL_PARSE_FAILED"),
        ("{ coins(filter: {ids: " + "[" * 9000 + "]" * 9000 + "}) { x } }", "GRAPHQL_PARSE_FAILED"),
        ("{ " + "__typename " * 5000 + "}", "OPERATION_TOO_COMPLEX"),
        ("subscription { x }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { priceUpdates { revision } }", "BAD_USER_INPUT"),
        ("fragment F on Query { __typename }", "GRAPHQL_VALIDATION_FAILED"),
        ("query A { __typename } query B { __typename }", "BAD_USER_INPUT"),
        ("mutation A { __typename } query B { __typename }", "BAD_USER_INPUT"),
    ],
)
async def test_invalid_documents(reader: Reader, document: str, code: str) -> None:
    response = await reader.post(document)
    body = response.json()
    assert response.status_code == 400
    assert {error["extensions"]["code"] for error in body["errors"]} == {code}
    assert "data" not in body
    assert not any(leak in response.text for leak in LEAKS)
    assert len(response.text) < 3000
