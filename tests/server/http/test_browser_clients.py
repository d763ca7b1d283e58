"""Apollo Client in a page of another origin, in a real browser."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from simulator import Simulator
from tests.browser import opened_page
from tests.server.http.sites import Site, site
from tests.server.streams.node_clients import CLIENTS, node
from tests.serving import make_settings

pytestmark = pytest.mark.processes

IMPORTS = {
    "@apollo/client": "/@apollo/client/core/index.js",
    "@apollo/client/": "/@apollo/client/",
    "@graphql-typed-document-node/": "/@graphql-typed-document-node/",
    "@wry/caches": "/@wry/caches/lib/index.js",
    "@wry/context": "/@wry/context/lib/index.js",
    "@wry/equality": "/@wry/equality/lib/index.js",
    "@wry/trie": "/@wry/trie/lib/index.js",
    "graphql": "/graphql/index.mjs",
    "graphql-tag": "/graphql-tag/lib/index.js",
    "graphql-ws": "/graphql-ws/dist/client.js",
    "optimism": "/optimism/lib/index.js",
    "rxjs": "/rxjs/dist/esm/index.js",
    "tslib": "/tslib/tslib.es6.mjs",
}
PAGE = """<!doctype html><title>a frontend</title>
<script type="importmap">{"imports": IMPORTS}</script>
<script type="module">
  import { ApolloClient, HttpLink, InMemoryCache, gql } from "@apollo/client";
  import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
  import { createClient } from "graphql-ws";
  const url = new URLSearchParams(location.search).get("url");
  const tracing = {
    "sentry-trace": "12345678901234567890123456789012-1234567890123456-1", baggage: "sentry-x=y",
    traceparent: "00-12345678901234567890123456789012-1234567890123456-01", "x-b3-sampled": "1",
    "x-datadog-trace-id": "1", "x-requested-with": "XMLHttpRequest", "cache-control": "no-cache",
  };
  const make = (link) => new ApolloClient({
    link, cache: new InMemoryCache(), clientAwareness: { name: "web", version: "1.2" },
  });
  const report = (name) => (value) => { window[name] = JSON.stringify(value); };
  const asking = make(new HttpLink({ uri: url, headers: tracing }));
  asking.query({ query: gql`{ currencies { code } }` })
    .then(report("answer"), (error) => report("answer")(`${error}`));
  const socket = createClient({ url: url.replace("http", "ws"), retryAttempts: 0 });
  make(new GraphQLWsLink(socket)).subscribe({ query: gql`subscription { priceUpdates { kind } }` })
    .subscribe({ next: report("event"), error: (error) => report("event")(`${error}`) });
  fetch(url, { method: "POST", body: "{", headers: { "content-type": "application/json" } })
    .then((response) => report("refused")([response.status, response.headers.get("x-request-id")]));
</script>"""


class _Modules(SimpleHTTPRequestHandler):
    """Serves the page and npm packages, with file extensions added to their imports."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/":
            content = PAGE.replace("IMPORTS", json.dumps(IMPORTS)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            return
        found = Path(self.translate_path(path))
        if found.is_file():
            super().do_GET()
            return
        self.send_response(302)  # what it imports in turn is relative to where it is
        self.send_header("Location", f"{path}/index.js" if found.is_dir() else f"{path}.js")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def frontend() -> Iterator[str]:
    """The origin of a page that queries the server at `?url=`."""
    node()  # skips where the packages are not installed
    handler = partial(_Modules, directory=str(CLIENTS / "node_modules"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server(
    shared_url: tuple[str, str], shared_simulator: Simulator, frontend: str
) -> Iterator[Site]:
    settings = make_settings(shared_url[1], shared_simulator, cors_origins=f"{frontend.upper()}/")
    with site(settings) as served:
        yield served


async def test_apollo_with_client_awareness_and_tracing(
    tmp_path: Path, frontend: str, server: Site
) -> None:
    async with opened_page(tmp_path / "profile") as page:
        await page.open(f"{frontend}/?url={server.url}/graphql")
        answer = json.loads(await page.until("window.answer"))
        assert {each["code"] for each in answer["data"]["currencies"]} == {"usd", "eur"}
        event = json.loads(await page.until("window.event"))
        assert event["data"]["priceUpdates"]["kind"] == "SNAPSHOT"
        status, request_id = json.loads(await page.until("window.refused"))
        assert status == 400
        assert request_id
        assert page.complaints == []
