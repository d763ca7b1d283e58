"""Servers for a test module, each with a client."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from server.app import Application
from server.config.settings import Settings
from tests.serving import PATIENCE, in_thread, live_server


@dataclass(frozen=True, slots=True)
class Site:
    """A server in a thread. Its client follows no redirects."""

    url: str
    http: httpx.Client
    application: Application


@contextlib.contextmanager
def site(settings: Settings) -> Iterator[Site]:
    """Serve during the block."""
    with (
        in_thread(live_server(settings)) as live,
        httpx.Client(timeout=PATIENCE) as http,
    ):
        yield Site(live.url, http, live.application)


def ask(site: Site, method: str, path: str = "/graphql", **more: object) -> httpx.Response:
    """Send a request and read its response."""
    return site.http.request(method, site.url + path, **more)  # type: ignore[arg-type] # httpx checks them
