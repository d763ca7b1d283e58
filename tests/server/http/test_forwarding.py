"""Behind a proxy: prefixes, trailing slashes and addresses, over real sockets."""

import html
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from server.config.settings import SettingsError, load_settings
from simulator import Simulator
from tests.conftest import new_database
from tests.server.http.sites import Site, ask, site
from tests.server.streams.sse_client import EVENTS
from tests.serving import make_settings

QUERY = {"query": "{ __typename }"}
PAGE = {"Accept": "text/html"}
PREFIX = "/coingraph"
PUBLIC = "https://prices.example"
HOSTILE = [
    *("//evil.example", "/..", "/a/../b", "/./a", "javascript:alert(1)", "https://evil.example"),
    *("/a//evil", '/"onload="x', "/<script>", "/a'b", "/a b", "/a?b", "/a#b", "/a\\b", "\\\\evil"),
    *("/%2f%2fevil", "/a;b", "evil", "/" + "a" * 300, "/a, evil", "/é", "/a\tb", "/@evil", "/{x}"),
]


@pytest.fixture(scope="module")
def served(
    postgres_url: str, template: str, shared_simulator: Simulator
) -> Iterator[dict[str, Site]]:
    """Servers without proxy, behind a trusted proxy, with ROOT_PATH, and with both."""
    trusted = {"trusted_proxies": "10.0.0.0/8,127.0.0.1"}
    root = {"root_path": f"{PREFIX}/"}
    with new_database(postgres_url, template) as url:

        def start(**more: Any) -> Any:
            return site(make_settings(url, shared_simulator, **more))

        with (
            start() as plain,
            start(**trusted) as proxied,
            start(**root) as rooted,
            start(**trusted, **root) as both,
        ):
            yield {"plain": plain, "proxied": proxied, "rooted": rooted, "both": both}


def references(page: str) -> list[str]:
    """Return all URLs in the GraphiQL page, its endpoint last."""
    found = [html.unescape(url) for url in re.findall(r'(?:src|href)="([^"]*)"', page)]
    config = re.search(
        r'<script id="config" type="application/json">(.*?)</script>', page, re.DOTALL
    )
    assert config
    return [*found, json.loads(config[1])["endpoint"]]


def check_page(server: Site, path: str, public: str, strips: str = "", **headers: str) -> None:
    """Check that all URLs in the page at `path`, published at `public`, are served.

    A proxy strips `strips` from the start of each path.
    """
    answer = ask(server, "GET", path, headers=PAGE | headers)
    assert answer.status_code == 200
    urls = [urljoin(PUBLIC + public, url) for url in references(answer.text)]
    assert len(urls) == 10
    for url in urls:
        assert url.startswith(f"{PUBLIC}/"), url
        inside = url.removeprefix(PUBLIC).removeprefix(strips)
        method, more = ("GET", {}) if url != urls[-1] else ("POST", {"json": QUERY})
        assert ask(server, method, inside, headers=headers, **more).status_code == 200, url


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "proxied", "rooted", "both"])
@pytest.mark.parametrize("slashes", ["", "/", "//"])
def test_a_trailing_slash_is_not_redirected(
    served: dict[str, Site], name: str, slashes: str
) -> None:
    server = served[name]
    for method, path, more in (
        ("POST", "/graphql", {"json": QUERY}),
        ("GET", "/graphql", {"params": QUERY}),
        ("HEAD", "/graphql", {"params": QUERY}),
        ("POST", "/graphql", {"json": QUERY, "headers": EVENTS}),
        ("GET", "/health/live", {}),
        ("GET", "/health/ready", {}),
    ):
        for prefix in ["", PREFIX] if name in {"rooted", "both"} else [""]:
            answer = ask(server, method, prefix + path + slashes, **more)
            assert answer.status_code == 200, path
            assert "location" not in answer.headers
    check_page(server, f"/graphql{slashes}", f"/graphql{slashes}")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        *(("plain", "/graphql/"), ("rooted", "/graphql"), ("rooted", "/coingraph/graphql")),
        *(("both", "/coingraph/graphql/"), ("proxied", "/graphql//")),
    ],
)
async def test_a_websocket_at_each_path(served: dict[str, Site], name: str, path: str) -> None:
    address = served[name].url.replace("http", "ws") + path
    protocols = [Subprotocol("graphql-transport-ws")]
    async with connect(address, subprotocols=protocols) as socket:
        await socket.send(json.dumps({"type": "connection_init"}))
        assert json.loads(await socket.recv())["type"] == "connection_ack"


@pytest.mark.parametrize("path", ["/nothing", "/nothing/", "/graphiql", "/graphiql/", "//graphql"])
def test_nothing_else_appears_or_redirects(served: dict[str, Site], path: str) -> None:
    for server in served.values():
        answer = ask(server, "GET", path)
        assert (answer.status_code, "location" in answer.headers) == (404, False)


@pytest.mark.parametrize(
    ("name", "path", "headers", "location"),
    [
        ("plain", "/", {}, "graphql"),
        ("plain", "/", {"X-Forwarded-Prefix": PREFIX, "Host": "evil.example"}, "graphql"),
        ("proxied", "/", {"X-Forwarded-Host": "evil.example"}, "graphql"),
        ("proxied", "/", {"X-Forwarded-Prefix": PREFIX}, "/coingraph/graphql"),
        ("proxied", "/", {"X-Forwarded-Prefix": "/a/, /b"}, "/a/b/graphql"),
        ("proxied", "/coingraph/", {"X-Forwarded-Prefix": PREFIX}, "/coingraph/graphql"),
        ("proxied", "/coingraph", {"X-Forwarded-Prefix": PREFIX}, "/coingraph/graphql"),
        ("rooted", "/", {}, "/coingraph/graphql"),
        ("rooted", "/coingraph", {"Host": "evil.example"}, "/coingraph/graphql"),
        ("rooted", "/", {"X-Forwarded-Prefix": "/other"}, "/coingraph/graphql"),
        ("both", "/", {"X-Forwarded-Prefix": "/other"}, "/other/graphql"),
        ("both", "/coingraph/", {"X-Forwarded-Prefix": "/other"}, "/other/graphql"),
    ],
)
def test_the_start_page_redirects_to_a_path(
    served: dict[str, Site], name: str, path: str, headers: dict[str, str], location: str
) -> None:
    answer = ask(served[name], "GET", path, headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (307, location)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "headers"),
    [("rooted", {}), ("proxied", {"X-Forwarded-Prefix": PREFIX}), ("both", {}),
     ("proxied", {"X-Forwarded-Prefix": f"{PREFIX}/"})],
)  # fmt: skip
def test_a_configured_prefix(served: dict[str, Site], name: str, headers: dict[str, str]) -> None:
    server = served[name]
    for strips in ("", PREFIX):
        kept = "" if strips else PREFIX
        check_page(server, f"{kept}/graphql", f"{PREFIX}/graphql", strips, **headers)
        check_page(server, f"{kept}/graphql/", f"{PREFIX}/graphql/", strips, **headers)
        missing = ask(server, "GET", f"{kept}/nothing", headers=headers)
        assert f"The API is at {PREFIX}/graphql." in missing.json()["errors"][0]["message"]
        asset = ask(server, "GET", f"{kept}/graphiql/nothing.js", headers=headers)
        assert f"The API is at {PREFIX}/graphql." in asset.json()["errors"][0]["message"]


def test_a_stripped_prefix_needs_no_setting(served: dict[str, Site]) -> None:
    """The page uses relative URLs if the proxy strips the prefix without a header."""
    for public in ("/graphql", "/any/where/graphql"):
        check_page(served["plain"], "/graphql", public, public.removesuffix("/graphql"))


@pytest.mark.parametrize("prefix", HOSTILE)
def test_a_hostile_prefix_is_ignored(served: dict[str, Site], prefix: str) -> None:
    sent = {"X-Forwarded-Prefix": prefix.encode("latin-1")}
    for name in ("proxied", "both"):
        server = served[name]
        usual = ask(server, "GET", "/graphql", headers=PAGE)
        page = ask(server, "GET", "/graphql", headers={**PAGE, **sent})
        assert page.text == usual.text
        start = ask(server, "GET", "/", headers=sent)
        assert start.headers["location"] == ask(server, "GET", "/").headers["location"]


def test_only_a_trusted_proxy_may_forward(served: dict[str, Site]) -> None:
    headers = {**PAGE, "X-Forwarded-Prefix": "/other"}
    for name, believed in (("plain", False), ("rooted", False), ("proxied", True), ("both", True)):
        page = ask(served[name], "GET", "/graphql", headers=headers).text
        assert ("/other/graphiql/" in page) == believed


@pytest.mark.parametrize(
    ("name", "host", "status"),
    [
        ("proxied", "prices.example", 200),
        ("proxied", "prices.example, inner.example", 200),
        ("proxied", "other.example", 403),
        ("proxied", "prices.example/x", 403),
        ("plain", "prices.example", 403),
    ],
)
def test_pages_of_the_public_host_are_our_own(
    served: dict[str, Site], name: str, host: str, status: int
) -> None:
    headers = {"Origin": PUBLIC, "Host": "inside:8000", "X-Forwarded-Host": host}
    assert ask(served[name], "GET", "/graphql", params=QUERY, headers=headers).status_code == status


@pytest.mark.parametrize(
    "root_path",
    ["//evil.example", "/a/../b", "https://example.com/a", "/a b", "/a?b", "/'", "/a//b"],
)
def test_an_invalid_root_path_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, root_path: str
) -> None:
    monkeypatch.setenv("ROOT_PATH", root_path)
    with pytest.raises(SettingsError, match=r"^ROOT_PATH: .*/coingraph$"):
        load_settings()
