"""GraphiQL loads only local files, and a real browser shows it."""

import hashlib
import html
import json
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from graphql import GraphQLObjectType, graphql_sync, parse, validate
from graphql import build_schema as schema_from_sdl
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from schema import build_schema
from server.access.tokens import Authenticator
from server.graphql.admission import Admission
from server.http.security_headers import CONTENT_SECURITY_POLICY
from server.pages.graphiql import GRAPHIQL_DIR, GRAPHIQL_PATH, graphiql_files, graphiql_page
from simulator import Simulator
from tests.browser import arguments
from tests.serving import live_server, make_settings

EXAMPLES = sorted((GRAPHIQL_DIR / "examples").glob("*.graphql"))
STUB = schema_from_sdl("type Query { latestPrices(coins: [ID!]): [ID!]! }")


def app(asked: list[str]) -> Starlette:
    headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}

    async def graphql(request: Request) -> Response:
        if request.method == "GET":
            return HTMLResponse(graphiql_page().identity, headers=headers)
        body = await request.json()
        asked.append(body["query"])
        return JSONResponse(graphql_sync(STUB, body["query"]).formatted)

    return Starlette(
        routes=[
            Route("/graphql", graphql, methods=["GET", "POST"]),
            Mount(GRAPHIQL_PATH, graphiql_files(Admission(Authenticator([], [])))),
        ]
    )


@pytest.fixture
def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app([])), base_url="http://test")


def references(page: str) -> list[str]:
    return [html.unescape(url) for url in re.findall(r'(?:src|href)="([^"]*)"', page)]


def config(page: str) -> dict[str, Any]:
    found = re.search(
        r'<script id="config" type="application/json">(.*?)</script>', page, re.DOTALL
    )
    assert found
    settings: dict[str, Any] = json.loads(found[1])
    return settings


async def test_the_page_names_no_other_host_and_runs_no_inline_script(
    client: httpx.AsyncClient,
) -> None:
    response = await client.get("/graphql")
    page = response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "<title>coingraph</title>" in page
    assert not re.search(r"https?:|[\"'(]//", page)
    assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", page) == [
        '<script id="config" type="application/json">'
    ]
    assert "<style" not in page
    assert not re.search(r"\s(style|on\w+)=", page)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "http" not in policy


async def test_all_files_of_the_page_exist_and_are_immutable(
    client: httpx.AsyncClient,
) -> None:
    urls = references((await client.get("/graphql")).text)
    assert len(urls) == 9
    for url in urls:
        response = await client.get(url)
        assert response.status_code == 200, url
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        again = await client.get(url, headers={"If-None-Match": response.headers["etag"]})
        assert again.status_code == 304
        assert again.headers["cache-control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("query", ["", "?v=", "?v=000000000000", "?x=1"])
async def test_only_the_requested_version_is_immutable(
    client: httpx.AsyncClient, query: str
) -> None:
    response = await client.get(f"{GRAPHIQL_PATH}/graphiql.js{query}")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        *("nothing.js", "..%2fpyproject.toml", "graphiql", "README.md", ""),
        *("examples/1-latest-prices.graphql", "./examples/7-refresh.headers.json"),
        *("graphiql/../examples/2-coins.graphql", "EXAMPLES/2-coins.graphql"),
    ],
)
async def test_nothing_else_is_served(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(f"{GRAPHIQL_PATH}/{path}")).status_code == 404


def test_our_own_files_name_no_other_host() -> None:
    for name in ("graphiql.js", "graphiql.css"):
        assert "//" not in re.sub(
            r"^ *// .*$", "", (GRAPHIQL_DIR / name).read_text(), flags=re.MULTILINE
        )


def test_the_page_uses_the_prefix_of_a_proxy() -> None:
    page = graphiql_page("/api/graphql", "/api/graphiql").identity.decode()
    assert config(page)["endpoint"] == "/api/graphql"
    assert all(url.startswith("/api/graphiql/") for url in references(page))


async def test_the_examples_are_the_tabs(client: httpx.AsyncClient) -> None:
    tabs = config((await client.get("/graphql")).text)["tabs"]
    assert [tab["query"] for tab in tabs] == [path.read_text() for path in EXAMPLES]
    assert 5 <= len(tabs) <= 13
    headers = [json.loads(tab["headers"]) for tab in tabs if "headers" in tab]
    assert [list(each) for each in headers] == [["Authorization"]]
    assert "mutation" in tabs[-1]["query"]
    assert "headers" in tabs[-1]


async def test_a_license_comes_with_what_it_is_for(client: httpx.AsyncClient) -> None:
    for path in (GRAPHIQL_DIR / "graphiql").glob("LICENSE-*"):
        assert (await client.get(f"{GRAPHIQL_PATH}/graphiql/{path.name}")).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "shown"),
    [({}, True), ({"introspection": False}, False), ({"read_tokens": "reader"}, False)],
)
async def test_the_page_reveals_no_closed_schema(
    database_url: str, shared_simulator: Simulator, setting: dict[str, Any], shown: bool
) -> None:
    settings = make_settings(database_url, shared_simulator, **setting)
    async with live_server(settings) as server:
        headers = {"Accept": "text/html"}
        page = (await server.http.get("/graphql", headers=headers)).text
    tabs = config(page)["tabs"]
    schema = schema_from_sdl(build_schema().as_str())
    fields = {
        name
        for kind in schema.type_map.values()
        if isinstance(kind, GraphQLObjectType) and not kind.name.startswith("__")
        for name in (kind.name, *kind.fields)
    }
    named = fields & set(re.findall(r"\w+", re.sub("#.*", "", tabs[0]["query"])))
    assert ("latestPrices" in page, bool(named)) == (shown, shown)
    assert len(tabs) == (len(EXAMPLES) if shown else 1)
    assert all(validate(schema, parse(tab["query"])) == [] for tab in tabs)


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_explains_itself_and_is_valid(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# ")
    assert max(map(len, text.splitlines())) <= 64, "wider than GraphiQL's editor on a laptop"
    assert not re.search(r"\b20\d\d\b", text), "a date would go stale"
    schema = schema_from_sdl(build_schema().as_str())
    assert validate(schema, parse(text)) == []


def test_the_release_files_are_unmodified() -> None:
    readme = (GRAPHIQL_DIR / "README.md").read_text()
    sums = {
        name: digest
        for digest, name in re.findall(r"^([0-9a-f]{64})  (\S+)$", readme, re.MULTILINE)
    }
    files = {path.name: path.read_bytes() for path in (GRAPHIQL_DIR / "graphiql").iterdir()}
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert sum(map(len, files.values())) < 2_500_000


@contextmanager
def serving(asked: list[str]) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app(asked), lifespan="off", ws="none", log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/graphql"
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.processes
def test_a_browser_shows_it(tmp_path: Path) -> None:
    asked: list[str] = []
    with serving(asked) as url:
        command = [
            *(*arguments(tmp_path), "--enable-logging=stderr"),
            *("--virtual-time-budget=10000", "--dump-dom", url),
        ]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "Content Security Policy" not in ran.stderr
    assert "Uncaught" not in ran.stderr
    editor = ran.stdout.partition('class="graphiql-query-editor"')[2]
    text = html.unescape(re.sub(r"<[^>]*>", "", editor))
    assert "query LatestPrices {" in text
    assert [line for line in EXAMPLES[0].read_text().splitlines() if line not in text] == []
    tabs = re.findall(r'class="[^"]*graphiql-tab-button[^"]*"[^>]*>([^<]*)<', ran.stdout)
    assert tabs[0] == "LatestPrices"
    assert len(tabs) == len(EXAMPLES)
    assert any("__schema" in query for query in asked), "GraphiQL did not ask for the schema"
