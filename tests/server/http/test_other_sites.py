"""Requests from pages of other sites, and security headers, over real sockets."""

import json
from typing import Any

import httpx
import pytest

from server.http.cross_origin import Origins
from simulator import Simulator
from tests.server.raw_client import raw
from tests.serving import LiveServer, Reader, live_server, make_settings

QUERY = {"query": "{ currencies { code } }"}
FRIEND, EVIL = "https://app.example.com", "https://evil.example.com"
IMAGE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # curl, a server, the audits
        (IMAGE, 403),
        (IMAGE | {"Sec-Fetch-Site": "same-site"}, 403),
        (IMAGE | {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Mode": "navigate"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": EVIL, "Sec-Fetch-Dest": "empty"}, 403),
        ({"Origin": EVIL}, 403),  # a browser without Sec-Fetch-Site
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),  # typed, or a bookmark
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}, 200),  # a link
        (IMAGE | {"Apollo-Require-Preflight": "true"}, 200),
        ({"Origin": EVIL, "X-Apollo-Operation-Name": "A"}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_simple_requests(
    reader: Reader, method: str, headers: dict[str, str], status: int
) -> None:
    answer = await reader.http.request(method, "/graphql", params=QUERY, headers=headers)
    assert answer.status_code == status
    if status == 403 and method == "GET":
        [error] = answer.json()["errors"]
        assert error["extensions"] == {"code": "FORBIDDEN"}
        assert "Apollo-Require-Preflight" in error["message"]


async def test_the_servers_own_pages(reader: Reader) -> None:
    headers = {"Origin": reader.url}
    assert (await reader.http.get("/graphql", params=QUERY, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None],
)
async def test_what_a_form_can_post(reader: Reader, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = await reader.http.post("/graphql", content=json.dumps(QUERY), headers=headers)
    assert answer.status_code == 415


async def preflight(server: LiveServer, origin: str, headers: str) -> httpx.Response:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": headers,
    }
    return await server.http.options("/graphql", headers=asked)


async def test_origins_by_setting(database_url: str, shared_simulator: Simulator) -> None:
    settings = make_settings(database_url, shared_simulator, cors_origins=f"{FRIEND},{EVIL}.org")
    async with live_server(settings) as server:
        sent = "apollo-require-preflight,authorization,content-type,x-apollo-operation-name"
        asked = await preflight(server, FRIEND, sent)
        assert asked.status_code == 200
        assert asked.headers["access-control-max-age"] == "86400"
        assert asked.headers["access-control-allow-origin"] == FRIEND
        foreign = await preflight(server, EVIL, sent)
        assert foreign.status_code == 400
        assert not any(name.startswith("access-control-allow") for name in foreign.headers)
        assert "Origin" in foreign.headers["vary"]
        assert foreign.json()["errors"][0]["extensions"] == {"code": "FORBIDDEN"}
        for origin, status in ((FRIEND, 200), (EVIL, 403), (None, 200)):
            headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"} if origin else {}
            answer = await server.http.get("/graphql", params=QUERY, headers=headers)
            assert answer.status_code == status
            allowed = answer.headers.get("access-control-allow-origin")
            assert allowed == (FRIEND if origin == FRIEND else None)
            assert "access-control-allow-credentials" not in answer.headers
            varies = [name.strip() for name in answer.headers["vary"].split(",")]
            assert varies.count("Origin") == 1, "a cache would give one origin the other's answer"
        exposed = set(answer.headers.get("access-control-expose-headers", "").split(", "))
        assert exposed == {""}, "headers are exposed only to allowed origins"
        answer = await server.http.get("/graphql", params=QUERY, headers={"Origin": FRIEND})
        exposed = set(answer.headers["access-control-expose-headers"].split(", "))
        assert {"ETag", "Retry-After", "X-Request-ID", "RateLimit"} <= exposed


async def test_every_origin(database_url: str, shared_simulator: Simulator) -> None:
    settings = make_settings(database_url, shared_simulator, cors_origins="*")
    async with live_server(settings) as server:
        headers = {"Origin": EVIL, "Cookie": "a=b"}
        for answer in (
            await server.http.get("/graphql", params=QUERY, headers=headers),
            await server.http.post("/graphql", json=QUERY, headers={"Origin": EVIL}),
        ):
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] in {"*", EVIL}
            assert "access-control-allow-credentials" not in answer.headers
            assert "Origin" in answer.headers["vary"]


def test_ports_and_schemes_are_part_of_an_origin() -> None:
    origins = Origins(["https://app.example.com:8443"])
    for text, distrusted in (
        (b"https://app.example.com:8443", False),
        (b"https://app.example.com", True),
        (b"http://app.example.com:8443", True),
        (b"https://app.example.com:8443.evil.com", True),
    ):
        assert origins.is_untrusted({b"origin": text, b"host": b"api.example.com"}) is distrusted


EXPECTED = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def check_headers(headers: Any, *, page: bool = False) -> None:
    assert {name: headers.get(name) for name in EXPECTED} == EXPECTED
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert ("script-src" in policy) == page


async def test_every_answer_has_the_security_headers(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method, path, status in (
        ("GET", "/graphql?query={__typename}", 200),
        ("GET", "/graphql", 400),
        ("GET", "/graphql?query=mutation{__typename}", 405),
        ("OPTIONS", "/graphql", 405),
        ("GET", "/", 307),
        ("GET", "/nothing", 404),
        ("POST", "/health/live", 405),
        ("GET", "/health/live", 200),
        ("GET", "/health/ready", 200),
        ("GET", "/graphiql/graphiql.js", 200),
        ("GET", "/graphiql/nothing.js", 404),
    ):
        answer = await server.http.request(method, path)
        assert answer.status_code == status, path
        check_headers(answer.headers)
        if status >= 400:
            assert answer.json()["errors"][0]["extensions"]["code"]
    check_headers(
        (await server.http.get("/graphql", headers={"Accept": "text/html"})).headers, page=True
    )
    async with raw(server.url) as client:
        client.send(b"no http\r\n\r\n")
        check_headers((await client.answer()).headers)

    async def fail(*_: object) -> None:
        raise RuntimeError("hunter2")

    monkeypatch.setattr(server.application.endpoint, "_page", fail)
    headers = {"Accept": "text/html", "X-Request-ID": "find-me"}
    answer = await server.http.get("/graphql", headers=headers)
    assert answer.status_code == 500
    check_headers(answer.headers)
    assert answer.headers["x-request-id"] == "find-me"
    assert "hunter2" not in answer.text
    assert answer.json()["errors"][0]["extensions"]["requestId"] == "find-me"
