"""Cache-Control, conditional requests and content codings."""

import gzip
import re
from typing import Any

import brotli
import httpx
import pytest
import zstandard

from server.graphql.response import names_etag
from simulator import Simulator
from tests.server.cache_probes import CURRENCIES, LATEST, quote, said, wait_for_listener
from tests.serving import LiveServer, Reader, live_server, make_settings

HOURS = '{ prices(coin: "bitcoin", to: "2100-01-01", first: 100) { points { timestamp price } } }'
KEPT = "public, max-age=5, stale-while-revalidate=30"


async def ask(reader: Any, method: str, query: str, **headers: str) -> httpx.Response:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if method == "GET":
        answer = await reader.http.get("/graphql", params={"query": query}, headers=headers)
    else:
        answer = await reader.http.post("/graphql", json={"query": query}, headers=headers)
    assert isinstance(answer, httpx.Response)
    return answer


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_not_modified(server: LiveServer, method: str) -> None:
    await wait_for_listener(server)
    first = await ask(server, method, LATEST)
    etag = first.headers["etag"]
    assert re.fullmatch(r'W/"[0-9a-f]{32}"', etag)
    for condition in (
        etag,
        etag[2:],
        "*",
        f'"other", {etag}',
        f'{etag},W/"x"',
        f'"a,b" , {etag}',
    ):
        answer = await ask(server, method, LATEST, If_None_Match=condition)
        assert (answer.status_code, answer.content, said(answer)) == (304, b"", "HIT")
        for name in ("etag", "cache-control", "vary"):
            assert answer.headers[name] == first.headers[name]
        assert "content-type" not in answer.headers
        assert "content-encoding" not in answer.headers
    for condition in ('"other"', 'W/"other"', etag[:-2] + '"', "", etag.upper()):
        assert (await ask(server, method, LATEST, If_None_Match=condition)).status_code == 200
    await quote(server.application.database, 2.5)
    await server.application.listener.catch_up()
    after = await ask(server, method, LATEST, If_None_Match=etag)
    assert (after.status_code, said(after)) == (200, "MISS")
    assert after.headers["etag"] != etag


async def test_not_modified_with_and_without_the_cache(
    server: LiveServer, database_url: str, shared_simulator: Simulator
) -> None:
    """All processes give equal responses equal tags, cached or computed."""
    settings = make_settings(database_url, shared_simulator, cache_megabytes=0)
    async with live_server(settings) as plain:
        etag = (await ask(server, "GET", LATEST)).headers["etag"]
        answer = await ask(plain, "POST", LATEST, If_None_Match=etag)
        assert (answer.status_code, said(answer)) == (304, "BYPASS")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (CURRENCIES, KEPT),
        (LATEST, KEPT),
        ("{ __typename }", KEPT),
        ("{ __schema { mutationType { name } } }", KEPT),
        ('{ prices(coin: "bitcoin", to: "2020-01-01") { points { price } } }', KEPT),
        ("{ latestPrices { ageSeconds } }", "public, max-age=1"),
        ("{ coins { nodes { latest { age: ageSeconds } } } }", "public, max-age=1"),
        ("{ seriesStatus { stale } }", "no-cache"),
        ("{ currencies { code } seriesStatus { stale } }", "no-cache"),
        ("{ refreshRuns { nodes { status } } }", "no-cache"),
        ("{ refreshRuns { totalCount } }", "no-cache"),
        ('{ coin(id: "nothing") { id } }', "no-store"),
        ("{ nothing }", "no-store"),
    ],
)
async def test_cache_control(reader: Reader, query: str, expected: str) -> None:
    for method in ("GET", "POST"):
        answer = await ask(reader, method, query)
        assert answer.headers["cache-control"] == expected
        assert answer.headers["vary"] == "Accept, Accept-Encoding, Authorization"
        assert ("etag" in answer.headers) == (expected != "no-store")


async def test_cache_control_of_ranges_up_to_now(reader: Reader) -> None:
    """They change by time alone, at the latest when the current bucket ends."""
    open_end = '{ prices(coin: "bitcoin", from: "2026-01-01", granularity: DAY) { to } }'
    answer = await ask(reader, "GET", open_end)
    # in the last second of a day it may not be cached at all
    assert answer.headers["cache-control"] in {"public, max-age=1", "no-cache"}
    ahead = await ask(reader, "GET", HOURS.replace("first", "granularity: DAY, first"))
    age = re.fullmatch(r"public, max-age=\d+(, stale-while-revalidate=\d+)?|no-cache",
                       ahead.headers["cache-control"])  # fmt: skip
    assert age, "not longer than the day is"


@pytest.mark.slow
async def test_settings_of_cache_control(
    server: LiveServer, database_url: str, shared_simulator: Simulator
) -> None:
    for max_age, stale, expected in (
        ("1h", "0s", "public, max-age=3600"),
        ("0s", "1m", "no-cache"),
    ):
        settings = make_settings(
            database_url,
            shared_simulator,
            cache_max_age=max_age,
            cache_stale_while_revalidate=stale,
        )
        async with live_server(settings) as other:
            answer = await ask(other, "GET", CURRENCIES)
            assert answer.headers["cache-control"] == expected


def decoded(raw: bytes, coding: str | None) -> bytes:
    """Decode with the libraries of this test."""
    if coding == "br":
        return brotli.decompress(raw)  # type: ignore[no-any-return] # it has no types
    if coding == "zstd":
        return zstandard.decompress(raw)
    return gzip.decompress(raw) if coding == "gzip" else raw


@pytest.mark.parametrize(
    "query", [HOURS, "{ refreshRuns { nodes { items { coin } } } }", "{ nothing }"]
)
async def test_codings(reader: Reader, query: str) -> None:
    """Cached, computed or failed: each coding holds the same bytes."""
    plain = await ask(reader, "POST", query, Accept_Encoding="identity")
    assert "content-encoding" not in plain.headers
    assert int(plain.headers["content-length"]) == len(plain.content)
    for accepted, coding in (
        ("gzip, deflate, br, zstd", "br"), ("br, gzip", "br"), ("gzip", "gzip"), ("*", "gzip"),
        ("gzip, br;q=0.9, zstd;q=0.9", "gzip"), ("gzip;q=0.9, br;q=0.9, zstd", "zstd"),
        ("gzip;q=1.0, br;q=0.5", "gzip"), ("zstd;q=0, *", "gzip"), ("deflate", None), ("", None),
    ):  # fmt: skip
        request = reader.http.build_request(
            "POST", "/graphql", json={"query": query}, headers={"Accept-Encoding": accepted}
        )
        answer = await reader.http.send(request, stream=True)
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
        await answer.aclose()
        shown = answer.headers.get("content-encoding")
        small = len(plain.content) < 500
        assert shown == (None if small else coding)
        assert decoded(raw, shown) == plain.content
        assert int(answer.headers["content-length"]) == len(raw)
        assert answer.headers.get("etag") == plain.headers.get("etag")


async def test_media_types_share_the_cache(server: LiveServer) -> None:
    await wait_for_listener(server)
    for method in ("POST", "GET"):
        for wanted in ("application/json", "application/graphql-response+json"):
            answer = await ask(server, method, HOURS, Accept=wanted)
            assert answer.headers["content-type"] == f"{wanted}; charset=utf-8"
    assert said(answer) == "HIT"


async def test_a_large_response_in_every_coding(server: LiveServer) -> None:
    """It is compressed in a thread, once for concurrent requests."""
    fields = "timestamp price marketCap volume observedAt partial samples"
    part = f'prices(coin: "bitcoin", to: "2100-01-01", first: 999) {{ points {{ {fields} }} }}'
    query = "{ " + " ".join(f"p{n}: {part}" for n in range(25)) + " }"
    plain = await ask(server, "POST", query, Accept_Encoding="identity")
    assert len(plain.content) > 300_000
    for coding in ("zstd", "br", "gzip"):
        answer = await ask(server, "POST", query, Accept_Encoding=coding)
        assert answer.headers["content-encoding"] == coding
        assert answer.content == plain.content


async def test_server_timing(reader: Reader) -> None:
    query = "{ timed: coins(first: 3) { nodes { name } } }"  # prices may be in memory
    times = []
    for _ in range(2):
        shown = (await ask(reader, "POST", query)).headers["server-timing"]
        found = re.fullmatch(r"total;dur=([\d.]+), db;dur=([\d.]+), encode;dur=([\d.]+)", shown)
        assert found, shown
        times.append([float(number) for number in found.groups()])
    (total, database, encode), (_, none, _) = times
    assert 0 < database <= total
    assert encode <= total
    assert none == 0


async def test_allowed_origins_may_read_the_headers(
    database_url: str, shared_simulator: Simulator
) -> None:
    settings = make_settings(database_url, shared_simulator, cors_origins="https://app.example.com")
    async with live_server(settings) as server:
        origin = {"Origin": "https://app.example.com"}
        preflight = await server.http.options(
            "/graphql",
            headers={
                **origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "content-type,if-none-match",
            },
        )
        assert preflight.status_code == 200
        for headers in (origin, {}):  # a cache may serve one's response to the other
            answer = await ask(server, "GET", CURRENCIES, **headers)
            varies = {name.strip() for name in answer.headers["vary"].split(",")}
            assert varies == {"Accept", "Accept-Encoding", "Authorization", "Origin"}
        exposed = (await ask(server, "GET", CURRENCIES, **origin)).headers
        assert "ETag" in exposed["access-control-expose-headers"]


def test_comparing_tags() -> None:
    assert names_etag(b"*", b'W/"a"')
    assert names_etag(b'"a"', b'W/"a"')
    assert not names_etag(b'"aa"', b'W/"a"')
    assert not names_etag(b"", b'W/"a"')
