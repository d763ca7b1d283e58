"""Content negotiation: codings, media types, a page or data."""

from typing import Any

import httpx
import pytest

from server.http.compression import choose_coding
from tests.server.cache_probes import CURRENCIES
from tests.serving import LiveServer, Reader

GRAPHQL = "application/graphql-response+json"
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (b"", None), (b"*", "gzip"), (b"identity", None), (b"gzip;q=0", None), (b"GZIP", "gzip"),
        (b"br;q=0.9, gzip", "gzip"), (b"br ; q=0.9,gzip;q=0.9", "br"), (b"*;q=0", None),
        (b"identity, gzip;q=0.5", None), (b"gzip;q=x", None), (b";;;,,,", None), (b"\xff", None),
        (b"br;q=0.001, gzip;q=0.", "br"), (b"br;Q=0.5, gzip;q=1.000", "gzip"),
        (b"gzip, deflate, br, zstd", "br"), (b"zstd, br, gzip", "br"), (b"zstd, gzip", "gzip"),
        (b"zstd;q=0.8, br;q=0.8, gzip;q=0.5", "br"), (b"gzip;q=0.9, zstd", "zstd"),
        (b"zstd", "zstd"), (b"zstd, deflate", "zstd"), (b"zstd, *", "gzip"), (b"*, br", "br"),
        (b"zstd, br;q=0.999, gzip;q=0.9, *;q=0.1", "zstd"), (b"zstd;q=0, *", "gzip"),
        (b"gzip;q=0, *", "br"), (b"gzip;q=0, br;q=0, *", "zstd"), (b"zstd, *;q=0.5", "zstd"),
        (b"identity;q=0.5, zstd;q=0.5", "zstd"), (b"zstd;q=0.4, identity;q=0.5", None),
    ],
)  # fmt: skip
def test_choosing_a_coding(accepted: bytes, coding: str | None) -> None:
    assert choose_coding(accepted) == coding


@pytest.mark.parametrize(
    "weight",
    [
        "nan", "inf", "-inf", "-1", "1e5", "2", "1.001", "0.1234", "1.0000", ".5", "+1", "1_0", "",
        "\u0661", "0x1",
    ],
)  # fmt: skip
def test_an_invalid_weight_is_0(weight: str) -> None:
    assert choose_coding(f"zstd;q={weight}".encode()) is None
    assert choose_coding(f"zstd;q={weight}, gzip;q=0.001".encode()) == "gzip"


async def ask(reader: Reader, accept: str, **parameters: str) -> httpx.Response:
    return await reader.http.get("/graphql", params=parameters, headers={"Accept": accept})


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (CHROME, True), ("text/html", True), ("Text/HTML;q=0.1", True), ("text/html, */*", True),
        ("text/html;q=0.5, application/json;q=0.5", True), ("text/html, application/json", True),
        (f"text/html, application/*;q=0.9, {GRAPHQL};q=0.2", True),
        ("application/json, text/html;q=0.1", False), (f"{GRAPHQL}, text/html;q=0.9", False),
        ("text/html;q=0.9, */*", False), ("text/html;q=0.9, application/*", False),
        ("*/*", False), ("", False),
    ],
)  # fmt: skip
async def test_a_page_for_clients_that_prefer_html(reader: Reader, accept: str, page: bool) -> None:
    answer = await ask(reader, accept)
    assert answer.headers["content-type"].startswith("text/html" if page else "application/")
    assert answer.status_code == (200 if page else 400)
    varies = {name.strip() for name in answer.headers["vary"].split(",")}
    assert varies >= {"Accept", "Accept-Encoding"}, "both are at one address"
    data = await ask(reader, accept, query=CURRENCIES)
    assert data.headers["content-type"].startswith("application/")
    assert data.status_code == (406 if accept in {"text/html", "Text/HTML;q=0.1"} else 200)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "accept",
    [
        "text/html;q=0", "text/html;q=nan", "text/plain, application/x-text/html", "image/*",
        "*/*;q=0", "application/json;q=0", "text/*", f"{GRAPHQL};q=0, application/xml", ",",
    ],
)  # fmt: skip
async def test_unsupported_media_types_are_rejected(
    reader: Reader, method: str, accept: str
) -> None:
    field = "params" if method == "GET" else "json"
    asked: dict[str, Any] = {field: {"query": CURRENCIES}, "headers": {"Accept": accept}}
    answer = await reader.http.request(method, "/graphql", **asked)
    assert answer.status_code == 406
    [error] = answer.json()["errors"]
    assert "name one of them in Accept" in error["message"]


@pytest.mark.parametrize(
    ("accept", "graphql"),
    [
        (GRAPHQL, True), (f"application/json, {GRAPHQL}", True), (GRAPHQL.upper(), True),
        (f"{GRAPHQL};q=0.5, */*", True), (f"{GRAPHQL};q=0", False), ("application/*", False),
        (f"{GRAPHQL};q=0.5, application/json", False), (f"x{GRAPHQL}, */*;q=0.1", False),
        ("application/json;q=0, */*", True), (f"{'x/y, ' * 200}application/json", False),
    ],
)  # fmt: skip
async def test_the_media_type_of_data(reader: Reader, accept: str, graphql: bool) -> None:
    answer = await ask(reader, accept, query=CURRENCIES)
    wanted = GRAPHQL if graphql else "application/json"
    assert answer.headers["content-type"] == f"{wanted}; charset=utf-8"


async def test_an_error_while_encoding_is_answered(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: bytes) -> str:
        raise RuntimeError("hunter2")

    monkeypatch.setattr("server.graphql.response.choose_coding", fail)
    query = "{ __schema { types { name description } } }"  # large enough for a coding
    answer = await server.http.post("/graphql", json={"query": query}, headers={"Accept": GRAPHQL})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == f"{GRAPHQL}; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    [error] = answer.json()["errors"]
    assert error["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert "hunter2" not in answer.text
