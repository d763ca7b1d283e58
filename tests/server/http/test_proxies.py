"""nginx and haproxy in front, under path prefixes; GraphiQL in a real browser through them."""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from simulator import Simulator
from tests.browser import opened_page
from tests.server.http.sites import Site, site
from tests.server.http.test_forwarding import references
from tests.server.postgres_processes import eventually
from tests.server.streams.sse_client import EVENTS
from tests.serving import make_settings

pytestmark = pytest.mark.processes

QUERY = {"query": "{ __typename }"}
# whether the proxy strips the prefix, and whether it names it in a header
PREFIXES = ("/stripped", "/kept", "/silent")
ORIGIN = "http://prices.example"

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 200; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream coingraph {{ server 127.0.0.1:{server}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port};
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto https;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header X-Forwarded-Prefix $prefix;
    set $prefix "";
    location /stripped/ {{ set $prefix /stripped; proxy_pass http://coingraph/; }}
    location /kept/ {{ set $prefix /kept; proxy_pass http://coingraph; }}
    location /silent/ {{ proxy_pass http://coingraph/; }}
  }}
}}
"""
HAPROXY = """
global
  maxconn 200
defaults
  mode http
  timeout connect 60s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
  http-reuse always
frontend public
  bind 127.0.0.1:{port}
  http-request del-header X-Forwarded-Prefix
  http-request set-header X-Forwarded-Proto https
  option forwardfor
  http-request set-header X-Forwarded-Prefix /stripped if {{ path_beg /stripped/ }}
  http-request set-header X-Forwarded-Prefix /kept if {{ path_beg /kept/ }}
  http-request replace-path /stripped(/.*) \\1 if {{ path_beg /stripped/ }}
  http-request replace-path /silent(/.*) \\1 if {{ path_beg /silent/ }}
  default_backend coingraph
backend coingraph
  server one 127.0.0.1:{server}
"""


@dataclass
class Front:
    """A proxy, and the server behind it."""

    url: str
    server: Site


@contextlib.contextmanager
def running(program: str, config: str, folder: Path, server: Site) -> Iterator[Front]:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if found is None and os.environ.get("CI"):
        pytest.fail(f"no {program}, and CI must have one")
    if found is None:
        pytest.skip(f"no {program}: install the package {program}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = folder / "config"
    inner = server.url.rsplit(":", 1)[1]
    path.write_text(config.format(folder=folder, port=port, server=inner))
    options = ["-p", str(folder), "-c", str(path)] if program == "nginx" else ["-f", str(path)]
    with subprocess.Popen([found, *options], stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"{url}/stripped/health/live").status_code == 200
            return False

        try:
            eventually(answers)
            yield Front(url, server)
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="module")
def server(shared_url: tuple[str, str], shared_simulator: Simulator) -> Iterator[Site]:
    settings = make_settings(shared_url[1], shared_simulator, trusted_proxies="127.0.0.1")
    with site(settings) as served:
        yield served


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def front(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server: Site
) -> Iterator[Front]:
    config = NGINX if request.param == "nginx" else HAPROXY
    with running(request.param, config, tmp_path_factory.mktemp("proxy"), server) as front:
        yield front


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_all_routes_through_a_proxy(front: Front, prefix: str) -> None:
    async with httpx.AsyncClient(base_url=front.url + prefix, timeout=120) as http:
        for slash in ("", "/"):
            page = await http.get(f"/graphql{slash}", headers={"Accept": "text/html"})
            for reference in references(page.text)[:-1]:
                answer = await http.get(str(page.url.join(reference)))
                assert answer.status_code == 200, reference
            endpoint = str(page.url.join(references(page.text)[-1]))
            assert (await http.post(endpoint, json=QUERY)).json()["data"] == {"__typename": "Query"}
            events = await http.post(f"/graphql{slash}", json=QUERY, headers=EVENTS)
            assert "event: next" in events.text
            own = {"Origin": front.url}
            answer = await http.get(f"/graphql{slash}", params=QUERY, headers=own)
            assert answer.status_code == 200
        start = await http.get("/", follow_redirects=True, headers={"Accept": "text/html"})
        assert str(start.url) == f"{front.url}{prefix}/graphql"
        assert start.status_code == 200
    address = f"{front.url}{prefix}/graphql".replace("http", "ws", 1)
    protocols = [Subprotocol("graphql-transport-ws")]
    async with connect(address, subprotocols=protocols, origin=front.url) as talk:  # type: ignore[arg-type] # a string does
        await talk.send('{"type": "connection_init"}')
        assert "connection_ack" in str(await talk.recv())


_RUN = "document.querySelector('.graphiql-execute-button').click()"
# the response, once it has text; the editor follows a click on another tab with a delay
_ANSWER = """(() => {
  const found = document.querySelector('.result-window .CodeMirror');
  const text = found ? found.CodeMirror.getValue() : '';
  if (text.includes('Unknown operation')) RUN;
  return text.includes('WORDS') && text;
})()""".replace("RUN", _RUN)


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_graphiql_queries_and_subscribes_through_a_prefix(
    tmp_path: Path, server: Site, prefix: str
) -> None:
    folder = tmp_path / "nginx"
    folder.mkdir()
    with running("nginx", NGINX, folder, server) as front:
        async with opened_page(tmp_path / "profile") as page:
            await page.open(f"{front.url}{prefix}/graphql")
            await page.until("document.querySelector('.graphiql-execute-button') !== null")
            await page.evaluate(_RUN)
            assert '"price"' in await page.until(_ANSWER.replace("WORDS", "latestPrices"))
            await page.evaluate(
                "[...document.querySelectorAll('.graphiql-tab-button')]"
                ".find((tab) => tab.textContent === 'PriceUpdates').click()"
            )
            await page.evaluate(_RUN)
            assert '"kind"' in await page.until(_ANSWER.replace("WORDS", "SNAPSHOT"))
            assert page.complaints == []
