"""The mutation requires the same token on every transport, in the Authorization header only."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from simulator import Simulator
from tests.server.streams.sse_client import EVENTS
from tests.server.streams.websocket_client import connected_to, talking_to
from tests.serving import TOKEN, LiveServer, live_server, make_settings

MUTATION = "mutation { refreshPrices { started } }"
READER = "test-read-token"
EXPECTED = {
    None: "UNAUTHENTICATED",
    "wrong": "UNAUTHENTICATED",
    f"{TOKEN}x": "UNAUTHENTICATED",
    READER: "FORBIDDEN",
    TOKEN: None,
}
PLACES = ("token", "access_token", "authorization", "Authorization", "bearer", "api_key")


@pytest.fixture
async def guarded(database_url: str, shared_simulator: Simulator) -> AsyncIterator[LiveServer]:
    settings = make_settings(database_url, shared_simulator, read_tokens=READER)
    async with live_server(settings) as live:
        yield live


def headers_with(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def code_in(answer: Any) -> str | None:
    """Return the code of the only error."""
    errors = answer.get("errors")
    if not errors:
        assert isinstance(answer["data"]["refreshPrices"]["started"], bool)
        return None
    (error,) = errors
    code: str = error["extensions"]["code"]
    return code


async def by_post(server: LiveServer, token: str | None) -> str | None:
    answer = await server.http.post(
        "/graphql", json={"query": MUTATION}, headers=headers_with(token)
    )
    return code_in(answer.json())


async def by_events(server: LiveServer, token: str | None) -> str | None:
    headers = EVENTS | headers_with(token)
    answer = await server.http.post("/graphql", json={"query": MUTATION}, headers=headers)
    if answer.headers["content-type"].startswith("text/event-stream"):
        found = [line for line in answer.text.splitlines() if line.startswith("data: {")]
        return code_in(json.loads(found[0].removeprefix("data: ")))
    return code_in(answer.json())


async def by_socket(server: LiveServer, token: str | None) -> str | None:
    async with connected_to(server) as talk:
        payload = {} if token is None else {"payload": headers_with(token)}
        await talk.say("connection_init", **payload)
        if token not in {READER, TOKEN}:
            assert (await talk.closed())[0] == 4403
            return "UNAUTHENTICATED"
        assert (await talk.receive())["type"] == "connection_ack"
        await talk.begin(MUTATION)
        message = await talk.receive()
        body = message["payload"]
        return code_in(body if message["type"] == "next" else {"errors": body})


@pytest.mark.slow
@pytest.mark.parametrize("ask", [by_post, by_events, by_socket])
async def test_every_transport_requires_the_token(guarded: LiveServer, ask: Any) -> None:
    for token, code in EXPECTED.items():
        assert await ask(guarded, token) == code, token


async def test_open_reads_do_not_open_mutations(server: LiveServer) -> None:
    for token in (None, "wrong", f"{TOKEN}x"):
        assert await by_post(server, token) == "UNAUTHENTICATED"
        assert await by_events(server, token) == "UNAUTHENTICATED"
        async with talking_to(server, headers_with(token)) as talk:
            await talk.begin(MUTATION)
            assert code_in((await talk.receive())["payload"]) == "UNAUTHENTICATED"


async def test_the_token_cannot_be_bypassed(guarded: LiveServer) -> None:
    headers = headers_with(TOKEN)
    got = await guarded.http.get("/graphql", params={"query": MUTATION}, headers=headers)
    assert (got.status_code, got.headers["allow"]) == (405, "POST")
    got = await guarded.http.get("/graphql", params={"query": MUTATION}, headers=EVENTS | headers)
    assert "event: next" in got.text
    assert "started" not in got.text
    batch = await guarded.http.post("/graphql", json=[{"query": MUTATION}], headers=headers)
    assert (batch.status_code, code_in(batch.json())) == (400, "BAD_USER_INPUT")


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
async def test_a_token_in_the_query_string_is_ignored(guarded: LiveServer, place: str) -> None:
    """Every proxy on the path would log it."""
    for value in (READER, TOKEN, f"Bearer {TOKEN}"):
        got = await guarded.http.get("/graphql", params={"query": "{ __typename }", place: value})
        assert (got.status_code, code_in(got.json())) == (401, "UNAUTHENTICATED")
        cookie = {"Cookie": f"{place}={value}", "X-Api-Key": value}
        posted = await guarded.http.post(
            f"/graphql?{place}={value}", json={"query": MUTATION, place: value}, headers=cookie
        )
        assert posted.status_code == 401


async def test_responses_to_tokens_are_never_cached(guarded: LiveServer) -> None:
    for token, status in ((None, 401), ("wrong", 401), (READER, 200)):
        got = await guarded.http.get(
            "/graphql", params={"query": "{ __typename }"}, headers=headers_with(token)
        )
        assert got.status_code == status
        assert "Authorization" in got.headers["vary"]
        assert {"no-store", "private"} & set(got.headers["cache-control"].split(", "))
