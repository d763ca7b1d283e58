"""Client libraries that frontends use, on Node, against a real server. tests/clients has them."""

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from models.database import Database
from tests.server.streams.moving import move
from tests.serving import TOKEN, LiveServer

pytestmark = pytest.mark.processes

CLIENTS = Path(__file__).resolve().parents[2] / "clients"
SECONDS = 60  # for Node to start, with other tests on the same machine


def node() -> str:
    """Node's program; without it or the clients the test is skipped, but never in CI."""
    missing = None
    if (program := shutil.which("node")) is None:
        missing = "no Node: `make test` installs one"
    elif not (CLIENTS / "node_modules" / "graphql-ws").is_dir():
        missing = "no clients: npm could not install tests/clients"
    if missing and os.environ.get("CI"):
        pytest.fail(missing)
    if missing or program is None:
        pytest.skip(missing or "")
    return program


class Driven:
    """A client under way; each of its steps is a line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        self._lines = process.stdout
        self.process = process

    async def step(self, name: str) -> dict[str, Any]:
        """Wait for the next step, which must be this one."""
        line = await asyncio.wait_for(self._lines.readline(), SECONDS)
        assert line, "it ended early"
        step: dict[str, Any] = json.loads(line)
        assert step["step"] == name, step
        return step


@contextlib.asynccontextmanager
async def driven(client: str, server: LiveServer) -> AsyncIterator[Driven]:
    process = await asyncio.create_subprocess_exec(
        *(node(), "run.mjs", client, f"{server.url}/graphql", TOKEN),
        cwd=CLIENTS,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Driven(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("client", ["graphql-ws", "apollo", "urql", "graphql-sse"])
async def test_a_client_gets_what_a_frontend_needs(
    server: LiveServer, database: Database, sql: asyncpg.Connection, client: str
) -> None:
    latest = (await server.data("{ latestPrices { coin currency price } }"))["latestPrices"]
    async with driven(client, server) as script:
        asked = (await script.step("query"))["data"]["latestPrices"]
        for price in asked:
            price.pop("__typename", None)  # which Apollo and urql ask for, too
        assert asked == latest
        done = (await script.step("mutation"))["data"]["refreshPrices"]
        assert done["run"]["status"] == "SUCCEEDED"
        failure = json.dumps((await script.step("wrong"))["failure"])
        assert "There is no coin 'nothing'" in failure
        assert (await script.step("update"))["kind"] == "SNAPSHOT"
        await move(database, sql, coin="ethereum", currency="usd", price=7.25)
        change = await script.step("update")
        assert change["kind"] == "CHANGE"
        assert [price["price"] for price in change["prices"]] == [7.25]
        assert (await script.step("again"))["revision"] == change["revision"]
        await server.application.end_streams(SECONDS)
        await script.step("complete")
        if client != "graphql-sse":
            assert (await script.step("closed"))["code"] == 1001
        assert await asyncio.wait_for(script.process.wait(), SECONDS) == 0
    assert len(server.application.endpoint.streams) == 0
