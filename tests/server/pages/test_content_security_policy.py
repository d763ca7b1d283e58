"""The Content-Security-Policy of the page, in a real browser: what it allows and blocks."""

import asyncio
import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from server.http.security_headers import CONTENT_SECURITY_POLICY
from tests.browser import browser

pytestmark = pytest.mark.processes

SCRIPT = """
const report = (name) => document.body.append(` ${name};`);
const open = (url, name) => {
  try {
    const socket = new WebSocket(url);
    socket.onopen = () => { report(`${name} opened`); fetch("/reported"); };
    socket.onerror = () => report(`${name} failed`);
  } catch (error) { report(`${name} refused`); }
};
document.addEventListener("securitypolicyviolation", (event) =>
  report(`${event.blockedURI} blocked`));
fetch("/wait");  // the browser's time stands still for it, though not for a WebSocket
open(`ws://${location.host}/socket`, "own socket");
open(`ws://localhost:${location.port}/socket`, "other socket");
fetch("/script.js").then(() => report("own fetch done"));
fetch(`http://localhost:${location.port}/script.js`).catch(() => report("other fetch failed"));
"""


async def page(_: Request) -> Response:
    text = (
        '<!doctype html><body><script src="/script.js"></script><script>report("inline")</script>'
    )
    return HTMLResponse(text, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})


async def script(_: Request) -> Response:
    return Response(SCRIPT, media_type="text/javascript")


async def wait(request: Request) -> Response:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(request.app.state.shown.wait(), 20)
    return Response()


async def shown(request: Request) -> Response:
    request.app.state.shown.set()
    return Response()


async def accept(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


@pytest.fixture
def url() -> Iterator[str]:
    app = Starlette(
        routes=[
            Route("/", page), Route("/script.js", script), Route("/wait", wait),
            Route("/reported", shown), WebSocketRoute("/socket", accept),
        ]
    )  # fmt: skip
    app.state.shown = asyncio.Event()
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


def test_own_sockets_and_nothing_else(url: str, tmp_path: Path) -> None:
    command = [
        *(browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--no-first-run", "--disable-background-networking", f"--user-data-dir={tmp_path}"),
        *("--virtual-time-budget=10000", "--dump-dom", url),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    for shown in ("own socket opened", "own fetch done", "other fetch failed"):
        assert shown in ran.stdout, ran.stdout
    assert "other socket opened" not in ran.stdout
    assert "inline blocked" in ran.stdout
    assert "blocked" in ran.stdout.partition("ws://localhost")[2]
