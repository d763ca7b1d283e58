"""GraphQL over HTTP: methods, media types, bodies, malformed requests."""

import gzip
import json
from typing import Any

import httpx
import pytest

from simulator import Simulator
from tests.serving import TOKEN, LiveServer, Reader, live_server, make_settings

QUERY = "{ currencies { code } }"
LEAKS = ("Traceback", "SELECT", "sqlalchemy", ".py", "Error(")


def refused(response: httpx.Response, status: int, code: str = "BAD_USER_INPUT") -> str:
    """Check an error; return its message."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert not any(leak in response.text for leak in LEAKS), response.text
    body = response.json()
    assert "data" not in body
    (error,) = body["errors"]
    assert error["extensions"]["code"] == code
    message: str = error["message"]
    return message


async def post(reader: Reader, content: bytes | str, **headers: str) -> httpx.Response:
    sent = {"Content-Type": "application/json", **headers}
    return await reader.http.post("/graphql", content=content, headers=sent)


async def test_a_query_by_post_and_by_get(reader: Reader) -> None:
    expected = {"data": {"currencies": [{"code": "eur"}, {"code": "usd"}]}}
    posted = await reader.http.post("/graphql", json={"query": QUERY})
    got = await reader.http.get("/graphql", params={"query": QUERY})
    for response in (posted, got):
        assert (response.status_code, response.json()) == (200, expected)
        assert response.headers["content-type"] == "application/json; charset=utf-8"
    head = await reader.http.head("/graphql", params={"query": QUERY})
    assert (head.status_code, head.content) == (200, b"")


async def test_variables_and_names(reader: Reader) -> None:
    document = "query A($n: Int!) { coins(first: $n) { nodes { id } } } query B { __typename }"
    variables = {"n": 1}
    by_get = {"query": document, "operationName": "A", "variables": json.dumps(variables)}
    got = await reader.http.get("/graphql", params=by_get)
    body = {"query": document, "operationName": "A", "variables": variables, "extensions": {}}
    posted = await reader.http.post("/graphql", json=body)
    assert got.json() == posted.json() == {"data": {"coins": {"nodes": [{"id": "bitcoin"}]}}}
    last = await reader.http.post("/graphql", json={"query": document, "operationName": "B"})
    assert last.json() == {"data": {"__typename": "Query"}}
    nulls = {"query": QUERY, "variables": None, "operationName": None, "extensions": None}
    assert (await reader.http.post("/graphql", json=nulls)).status_code == 200


async def test_media_types(reader: Reader) -> None:
    wanted = "application/graphql-response+json"
    for accept, expected in (
        (wanted, wanted),
        (f"{wanted}, application/json;q=0.9", wanted),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
    ):
        response = await post(reader, json.dumps({"query": QUERY}), Accept=accept)
        assert response.headers["content-type"] == f"{expected}; charset=utf-8"
    for sent in ("application/json; charset=utf-8", "Application/JSON"):
        response = await post(reader, json.dumps({"query": QUERY}), **{"Content-Type": sent})
        assert response.status_code == 200
    for sent in ("text/plain", "application/graphql", "application/x-www-form-urlencoded", ""):
        response = await post(reader, json.dumps({"query": QUERY}), **{"Content-Type": sent})
        assert "Content-Type: application/json" in refused(response, 415)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"   ", "not JSON"),
        (b"not json", "not JSON"),
        (b'{"query": "{ __typename }"', "not JSON"),
        (b'{"query": NaN}', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"query": "{ coin(id: \\"\\ud800\\") { id } }"}', "not JSON"),
        (b"[" * 50_000, "not JSON"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "not JSON"),
        (gzip.compress(b'{"query": "{ __typename }"}', mtime=0), "not JSON"),
        (b"[]", "Batches are not supported"),
        (b'[{"query": "{ __typename }"}]', "Batches are not supported"),
        (b"null", "must be a JSON object"),
        (b'"{ __typename }"', "must be a JSON object"),
        (b"1", "must be a JSON object"),
        (b"{}", "`query` is missing"),
        (b'{"query": null}', "`query` is missing"),
        (b'{"query": ""}', "`query` is missing"),
        (b'{"query": "  "}', "`query` is missing"),
        (b'{"query": ["{ __typename }"]}', "`query` is missing"),
        (b'{"query": "{ __typename }", "variables": []}', "`variables` must be an object"),
        (b'{"query": "{ __typename }", "variables": "{}"}', "`variables` must be an object"),
        (b'{"query": "{ __typename }", "operationName": 1}', "`operationName` must be"),
        (b'{"query": "{ __typename }", "extensions": 1}', "`extensions` must be"),
        (b'{"query": "{ __typename }", "operationName": "X"}', 'named "X"'),
        (b'{"query": "query A { __typename } query B { __typename }"}', "`operationName`"),
    ],
)
async def test_malformed_bodies(reader: Reader, content: bytes, words: str) -> None:
    assert words in refused(await post(reader, content), 400)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "`query` is missing"),
        ({"query": ""}, "`query` is missing"),
        ({"query": QUERY, "variables": "{"}, "`variables` is not JSON"),
        ({"query": QUERY, "variables": "[]"}, "`variables` must be an object"),
        ({"query": QUERY, "extensions": "1"}, "`extensions` must be an object"),
        ({"query": QUERY, "operationName": "X"}, 'named "X"'),
    ],
)
async def test_malformed_query_strings(
    reader: Reader, parameters: dict[str, str], words: str
) -> None:
    assert words in refused(await reader.http.get("/graphql", params=parameters), 400)


async def test_a_mutation_by_get_is_rejected(reader: Reader) -> None:
    before = await reader.sql.fetchval("SELECT count(*) FROM refresh_run")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    mutation = "mutation M { refreshPrices { started } }"
    for parameters in (
        {"query": mutation},
        {"query": f"{mutation} query Q {{ __typename }}", "operationName": "M"},
    ):
        response = await reader.http.get("/graphql", params=parameters, headers=headers)
        refused(response, 405)
        assert response.headers["allow"] == "POST"
        head = await reader.http.head("/graphql", params=parameters, headers=headers)
        assert (head.status_code, head.headers["allow"]) == (405, "POST")
    # the specification knows no first operation: nothing is run where several could be meant
    several = {"query": f"query Q {{ __typename }} {mutation}"}
    refused(await reader.http.get("/graphql", params=several, headers=headers), 400)
    assert await reader.sql.fetchval("SELECT count(*) FROM refresh_run") == before


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_methods(reader: Reader, method: str) -> None:
    response = await reader.http.request(method, "/graphql")
    assert "Use GET or POST" in refused(response, 405)
    assert response.headers["allow"] == "GET, HEAD, POST"


async def test_bodies_that_are_too_large(reader: Reader) -> None:
    def body(size: int) -> bytes:
        bare = json.dumps({"query": QUERY, "pad": ""}).encode()
        return bare.replace(b'"pad": ""', b'"pad": "' + b"x" * (size - len(bare)) + b'"')

    assert len(body(100_000)) == 100_000
    assert (await post(reader, body(100_000))).status_code == 200
    for size in (100_001, 1_000_000):
        assert "100,000 bytes" in refused(await post(reader, body(size)), 413)

    async def in_pieces() -> Any:
        for _ in range(101):
            yield b"x" * 1000

    headers = {"Content-Type": "application/json"}  # and no Content-Length
    response = await reader.http.post("/graphql", content=in_pieces(), headers=headers)
    refused(response, 413)
    assert (await post(reader, body(1000))).status_code == 200


async def test_browsers_receive_graphiql(reader: Reader) -> None:
    accept = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    page = await reader.http.get("/graphql", headers=accept)
    assert page.headers["content-type"].startswith("text/html")
    asked = await reader.http.get("/graphql", params={"query": QUERY}, headers=accept)
    assert asked.headers["content-type"].startswith("application/json")
    start = await reader.http.get("/", headers=accept, follow_redirects=True)
    assert (start.status_code, start.url.path) == (200, "/graphql")


async def test_other_origins(server: LiveServer) -> None:
    """Without CORS_ORIGINS no page of another origin may read a response."""
    headers = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
    preflight = await server.http.options("/graphql", headers=headers)
    assert preflight.status_code == 405
    answer = await server.http.get("/graphql", params={"query": QUERY}, headers=headers)
    assert "access-control-allow-origin" not in answer.headers


async def test_origins_that_are_allowed(database_url: str, shared_simulator: Simulator) -> None:
    origins = "https://app.example.com, http://localhost:3000"
    settings = make_settings(database_url, shared_simulator, cors_origins=origins)
    async with live_server(settings) as server:
        for origin, allowed in (
            ("https://app.example.com", True),
            ("http://localhost:3000", True),
            ("https://evil.example.com", False),
            ("https://app.example.com.evil.com", False),
        ):
            preflight = await server.http.options(
                "/graphql",
                headers={
                    "Origin": origin,
                    "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": "authorization,content-type",
                },
            )
            assert (preflight.status_code == 200) == allowed
            headers = {"Origin": origin}
            for answer in (
                await server.http.post("/graphql", json={"query": QUERY}, headers=headers),
                await server.http.post("/graphql", content=b"", headers=headers),
            ):
                shown = answer.headers.get("access-control-allow-origin")
                assert shown == (origin if allowed else None)
                assert "access-control-allow-credentials" not in answer.headers
