"""Clients reconnect after a normal restart of the server on the same port."""

import asyncio
import contextlib
import json
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from models.postgres.database import Database
from simulator import Simulator
from tests.browser import opened_page
from tests.server.server_process import Served, served
from tests.server.streams.node_clients import CLIENTS, driven
from tests.server.streams.price_writes import move
from tests.server.streams.websocket_client import SECONDS
from tests.serving import TOKEN

pytestmark = pytest.mark.processes

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "subscriptions.md"
LIBRARIES = ["graphql-ws", "apollo", "urql", "graphql-sse"]
Step = dict[str, Any]
NextStep = Callable[[], Awaitable[Step]]
Connected = contextlib.AbstractAsyncContextManager[NextStep]


def documented(word: str) -> str:
    """Return the only example in the document that contains this word."""
    examples = re.findall(r"```js\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    [found] = [str(example) for example in examples if word in example]
    return found


@contextlib.asynccontextmanager
async def on_node(*arguments: str, script: str = "") -> AsyncIterator[NextStep]:
    async with driven(*arguments, script=script) as program:
        yield program.any_step


@contextlib.asynccontextmanager
async def in_chromium(script: str, url: str, profile: Path) -> AsyncIterator[NextStep]:
    report = (CLIENTS / "event-source.mjs").read_text().replace("export function", "function")
    async with opened_page(profile) as page:
        await page.open(url)
        await page.evaluate(f"{report} globalThis.steps = [];")
        await page.evaluate("report(location.href, (step) => steps.push(step));")
        await page.evaluate(script)
        yield lambda: page.until("steps.shift()")


def documented_socket(url: str) -> str:
    """Return the example for graphql-ws, extended to subscribe and report each message."""
    example = documented('from "graphql-ws"')
    assert "ws://127.0.0.1:8000/graphql" in example
    example = example.replace("ws://127.0.0.1:8000/graphql", url.replace("http", "ws"))
    return f"""{example.replace("Bearer …", f"Bearer {TOKEN}")}
        const say = (step, fields) => console.log(JSON.stringify({{ step, ...fields }}));
        client.on("message", ({{ type, payload }}) =>
          type === "next" && say("update", payload.data.priceUpdates));
        client.on("closed", ({{ code }}) => say("closed", {{ code }}));
        client.on("error", () => say("refused"));
        follow().finally(() => say("ended"));
    """


def clients(url: str, profile: Path) -> dict[str, Connected]:
    snippet = documented("new EventSource(")
    socket = ("--import", "./websocket.mjs", "--input-type=module", "-")
    return {
        **{name: on_node("follow.mjs", name, url, TOKEN) for name in LIBRARIES},
        "the WebSocket example": on_node(*socket, script=documented_socket(url)),
        "the EventSource example on Node": on_node(
            *("--experimental-eventsource", "page.mjs", url), script=snippet
        ),
        "the EventSource example in Chromium": in_chromium(snippet, url, profile),
    }


async def update_with(next_step: NextStep, price: float | None = None) -> Step:
    """Return the next update, or the next one with this price; no subscription may end before."""
    while True:
        step = await next_step()
        if step["step"] in {"closed", "refused"}:
            continue
        assert step["step"] == "update", step
        if price is None or price in [each["price"] for each in step["prices"]]:
            return step


async def refused(next_step: NextStep) -> list[int]:
    """Wait until a reconnect fails; return the close codes before it."""
    codes = []
    while (step := await next_step())["step"] != "refused":
        assert step["step"] in {"closed", "update"}, step
        if step["step"] == "closed":
            codes.append(step["code"])
    return codes


@contextlib.asynccontextmanager
async def server_of(
    folder: Path, database_url: str, simulator: Simulator, **settings: str
) -> AsyncIterator[Served]:
    """Run a server in its own process and stop it like a supervisor."""
    given = {"DATABASE_URL": database_url, "COINGECKO_BASE_URL": simulator.base_url, **settings}
    with served(folder, **given) as server:
        yield server
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.process.wait, SECONDS) == 0
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.endurance)])
async def test_every_client_reconnects(
    database_url: str,
    shared_simulator: Simulator,
    tmp_path_factory: pytest.TempPathFactory,
    database: Database,
    sql: asyncpg.Connection,
    workers: str,
) -> None:
    """The server is down long enough that each client finds the port closed."""
    own, folder = (database_url, shared_simulator), tmp_path_factory.mktemp
    async with contextlib.AsyncExitStack() as stack:
        async with server_of(folder("first"), *own, WORKERS=workers) as server:
            await asyncio.to_thread(server.await_line, "refresh ended")
            port = str(urlsplit(server.url).port)
            connected = clients(f"{server.url}/graphql", folder("browser"))
            steps = {name: await stack.enter_async_context(connected[name]) for name in connected}
            for next_step in steps.values():
                assert (await update_with(next_step))["kind"] == "SNAPSHOT"
            await move(database, sql, coin="bitcoin", currency="usd", price=4.5)
            for next_step in steps.values():
                await update_with(next_step, 4.5)
        closes = {name: await refused(next_step) for name, next_step in steps.items()}
        sockets = [codes for name, codes in closes.items() if codes]
        assert sockets == [[1001]] * 4, json.dumps(closes)
        async with server_of(folder("second"), *own, WORKERS=workers, PORT=port):
            for next_step in steps.values():
                assert (await update_with(next_step))["kind"] == "SNAPSHOT"
            await move(database, sql, coin="bitcoin", currency="usd", price=7.25)
            for next_step in steps.values():
                await update_with(next_step, 7.25)
