"""Automatic persisted queries, as Apollo's clients send them."""

import hashlib
import json
from typing import Any

import httpx
import pytest

from server.graphql.persisted_queries import (
    LONGEST_QUERY,
    MOST_CHARACTERS,
    MOST_QUERIES,
    PersistedQueries,
)
from simulator import Simulator
from tests.server.cache_probes import said, wait_for_listener
from tests.serving import TOKEN, Client, LiveServer, live_server, make_settings

QUERY = "query Codes($n: Int!) { coins(first: $n) { nodes { id } } }"
ANSWER = {"data": {"coins": {"nodes": [{"id": "bitcoin"}]}}}


def hash_of(query: str) -> str:
    return hashlib.sha256(query.encode()).hexdigest()


def extension(sha256: Any, version: Any = 1) -> dict[str, Any]:
    return {"persistedQuery": {"version": version, "sha256Hash": sha256}}


async def send(
    server: Client,
    method: str,
    *,
    query: str | None = None,
    extensions: dict[str, Any] | None = None,
    token: str | None = None,
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    fields: dict[str, Any] = {"query": query, "variables": {"n": 1}, "extensions": extensions}
    fields = {name: value for name, value in fields.items() if value is not None}
    if method == "POST":
        return await server.http.post("/graphql", json=fields, headers=headers)
    texts = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in fields.items()
    }
    return await server.http.get("/graphql", params=texts, headers=headers)


def not_found(answer: httpx.Response) -> None:
    assert answer.status_code == 200, "as Apollo Server does: its clients read the body"
    assert answer.headers["cache-control"] in {"no-store", "private, no-store"}
    (error,) = answer.json()["errors"]
    assert error["message"] == "PersistedQueryNotFound"
    assert error["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
    assert "data" not in answer.json()


async def test_an_unknown_hash_with_the_graphql_media_type(server: LiveServer) -> None:
    """The media type allows no status 200 without data."""
    for accept, status in (
        ("application/graphql-response+json, application/json;q=0.9", 404),
        ("application/json", 200),
        ("*/*", 200),
    ):
        asked = {"extensions": json.dumps(extension(hash_of(QUERY)))}
        headers = {"Accept": accept}
        answer = await server.http.get("/graphql", params=asked, headers=headers)
        assert answer.status_code == status
        assert answer.json()["errors"][0]["message"] == "PersistedQueryNotFound"


@pytest.mark.slow
@pytest.mark.parametrize("register", ["GET", "POST"])
@pytest.mark.parametrize("ask", ["GET", "POST"])
async def test_the_protocol(server: LiveServer, register: str, ask: str) -> None:
    await wait_for_listener(server)
    known = extension(hash_of(QUERY))
    not_found(await send(server, ask, extensions=known))
    registered = await send(server, register, query=QUERY, extensions=known)
    asked = await send(server, ask, extensions=known)
    assert registered.json() == asked.json() == ANSWER
    assert (said(registered), said(asked)) == ("MISS", "HIT")
    assert asked.headers["cache-control"].startswith("public, max-age=")
    upper = extension(hash_of(QUERY).upper())
    assert (await send(server, ask, extensions=upper)).json() == ANSWER
    etag = {"If-None-Match": asked.headers["etag"]}
    parameters = {"extensions": json.dumps(known), "variables": '{"n": 1}'}
    again = await server.http.get("/graphql", params=parameters, headers=etag)
    assert again.status_code == 304


async def test_a_cached_response_registers_its_query(server: LiveServer) -> None:
    await wait_for_listener(server)
    assert said(await send(server, "POST", query=QUERY)) == "MISS"
    known = extension(hash_of(QUERY))
    not_found(await send(server, "GET", extensions=known))
    assert said(await send(server, "POST", query=QUERY, extensions=known)) == "HIT"
    assert (await send(server, "GET", extensions=known)).json() == ANSWER


@pytest.mark.slow
@pytest.mark.parametrize(
    "query", ["{", "{ nothing }", "query A { __typename } query A { __typename }", "# nothing"]
)
async def test_only_valid_documents_are_registered(server: LiveServer, query: str) -> None:
    known = extension(hash_of(query))
    assert (await send(server, "POST", query=query, extensions=known)).status_code == 400
    not_found(await send(server, "POST", extensions=known))


async def test_a_valid_document_that_fails_is_registered(server: LiveServer) -> None:
    query = '{ prices(coin: "nothing") { next } }'
    known = extension(hash_of(query))
    assert (await send(server, "POST", query=query, extensions=known)).status_code == 404
    assert (await send(server, "POST", extensions=known)).status_code == 404


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("query", "extensions", "words"),
    [
        (QUERY, extension(hash_of("{ __typename }")), "is not the SHA-256 of `query`"),
        (QUERY, extension("abc"), "64 hexadecimal digits"),
        (None, extension("g" * 64), "64 hexadecimal digits"),
        (None, extension(None), "64 hexadecimal digits"),
        (None, extension(["0" * 64]), "64 hexadecimal digits"),
        (None, extension("0" * 64, version=2), "`version: 1`"),
        (None, {"persistedQuery": "0" * 64}, "must be an object"),
        (None, {"persistedQuery": {}}, "`version: 1`"),
        (None, {}, "`query` is missing"),
        ("", extension("0" * 64), "`query` is missing"),
    ],
)
async def test_malformed_hashes(
    server: LiveServer, method: str, query: str | None, extensions: dict[str, Any], words: str
) -> None:
    answer = await send(server, method, query=query, extensions=extensions)
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert (error["extensions"]["code"], words in error["message"]) == ("BAD_USER_INPUT", True)
    assert answer.headers["cache-control"] == "no-store"


async def test_a_mutation_by_its_hash(server: LiveServer) -> None:
    mutation = "mutation { refreshPrices { started } }"
    known = extension(hash_of(mutation))
    refused = await send(server, "POST", query=mutation, extensions=known)
    assert refused.status_code == 401, "but valid"
    assert (await send(server, "GET", extensions=known, token=TOKEN)).status_code == 405
    assert (await send(server, "POST", extensions=known)).status_code == 401
    assert (await send(server, "POST", extensions=known, token=TOKEN)).status_code == 200


async def test_a_caller_without_access_learns_no_hash(
    database_url: str, shared_simulator: Simulator
) -> None:
    settings = make_settings(database_url, shared_simulator, read_tokens="reader")
    async with live_server(settings) as server:
        known = extension(hash_of(QUERY))
        assert (await send(server, "GET", extensions=known)).status_code == 401
        refused = await send(server, "POST", query=QUERY, extensions=known)
        assert refused.status_code == 401
        not_found(await send(server, "GET", extensions=known, token="reader"))  # noqa: S106 - a test's
        await send(server, "POST", query=QUERY, extensions=known, token="reader")  # noqa: S106 - a test's
        assert (await send(server, "GET", extensions=known)).status_code == 401
        asked = await send(server, "GET", extensions=known, token="reader")  # noqa: S106 - a test's
        assert asked.json() == ANSWER


def test_a_flood_of_documents() -> None:
    store = PersistedQueries()
    texts = {str(number): "x" * (number % 5_000) for number in range(20_000)}
    kept: list[str] = []
    for sha256, text in texts.items():
        store.put(sha256, text)
        store.put("favourite", "{ __typename }")
        assert store.get("favourite") is not None
    kept = [text for sha256, text in texts.items() if store.get(sha256) is not None]
    assert 0 < len(kept) < MOST_QUERIES
    assert sum(map(len, kept)) <= MOST_CHARACTERS
    store.put("long", "x" * (LONGEST_QUERY + 1))
    assert store.get("long") is None
