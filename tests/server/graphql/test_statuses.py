"""HTTP statuses by accepted media type: docs/decisions/0018-graphql-over-http.md."""

import pytest

from tests.serving import Reader

GRAPHQL = "application/graphql-response+json"
JSON = "application/json"
APOLLO_4 = f"{GRAPHQL}, {JSON};q=0.9"
URQL = f"{GRAPHQL}, application/graphql+json, {JSON}, text/event-stream, multipart/mixed"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("query ($id: ID!) { coin(id: $id) { id } }", "BAD_USER_INPUT"),
        ('{ prices(coin: "bitcoin", from: "noon") { next } }', "BAD_USER_INPUT"),
    ],
)
@pytest.mark.parametrize(
    ("accept", "status"), [(GRAPHQL, 400), (APOLLO_4, 400), (URQL, 400), ("*/*", 400), (JSON, 200)]
)
async def test_operations_that_are_not_executed(
    reader: Reader, query: str, code: str, accept: str, status: int
) -> None:
    headers = {"Accept": accept}
    answer = await reader.http.post("/graphql", json={"query": query}, headers=headers)
    body = answer.json()
    assert (answer.status_code, body["errors"][0]["extensions"]["code"]) == (status, code)
    assert "data" not in body


@pytest.mark.parametrize("accept", [GRAPHQL, APOLLO_4, URQL, "*/*", JSON])
@pytest.mark.parametrize(
    ("query", "status", "data"),
    [
        ('{ coin(id: "nope") { id } }', 200, {"coin": None}),
        ('{ prices(coin: "nope") { next } }', 404, None),
        ("mutation { refreshPrices { started } }", 401, None),
    ],
)
async def test_executed_operations(
    reader: Reader, query: str, status: int, data: object, accept: str
) -> None:
    headers = {"Accept": accept}
    answer = await reader.http.post("/graphql", json={"query": query}, headers=headers)
    assert (answer.status_code, answer.json()["data"]) == (status, data)


@pytest.mark.parametrize("accept", [GRAPHQL, "*/*", JSON])
async def test_malformed_requests_have_the_same_status_for_all_clients(
    reader: Reader, accept: str
) -> None:
    headers = {"Accept": accept}
    several = {"query": "query A { __typename } query B { __typename }"}
    for asked in ({"query": 1}, {}, several):
        answer = await reader.http.post("/graphql", json=asked, headers=headers)
        assert answer.status_code == 400
        assert "data" not in answer.json()
