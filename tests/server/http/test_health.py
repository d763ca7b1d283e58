"""The health checks, which anybody may call: they must not load the database."""

import asyncio

import pytest
from starlette.requests import Request

from models.postgres.database import Database
from models.postgres.migrate import current_revision
from server.http import health
from tests.serving import LiveServer

REQUEST = Request({"type": "http", "method": "GET", "path": "/health/ready", "headers": []})


async def test_concurrent_calls_share_one_check(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    looking, go_on = asyncio.Event(), asyncio.Event()

    async def counted(database: Database) -> str | None:
        nonlocal looks
        looks += 1
        looking.set()
        await go_on.wait()
        return await current_revision(database)

    monkeypatch.setattr(health, "current_revision", counted)
    readiness = server.application.readiness
    first, *others = [asyncio.create_task(readiness.handle(REQUEST)) for _ in range(100)]
    await looking.wait()
    first.cancel()  # a cancelled caller does not cancel the others
    go_on.set()
    assert {answer.status_code for answer in await asyncio.gather(*others)} == {200}
    assert looks == 1
    assert (await server.http.get("/health/ready")).status_code == 200
    assert looks == 2, "what was found is not kept"
