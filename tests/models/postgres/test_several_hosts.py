"""Several hosts in one URL, of which some do not answer, or not as they should."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from models.postgres import connector
from models.postgres.database import Database, DatabaseUnavailableError
from tests.server.proxy import proxy_to


@contextlib.asynccontextmanager
async def bad_host(kind: str) -> AsyncIterator[int]:
    """A port that refuses, that closes each connection, or that takes it and says nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if kind == "silent":
            await reader.read()
        elif kind == "closing":
            await reader.read(8)
        writer.close()

    if kind == "refusing":
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            yield taken.getsockname()[1]
        return
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["refusing", "closing", "silent"])
@pytest.mark.parametrize("parameters", ["", "&target_session_attrs=read-write"])
async def test_the_host_that_answers_is_used(
    database_url: str, kind: str, parameters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector, "_OF_SEVERAL_SECONDS", 1.0)
    async with bad_host(kind) as bad, proxy_to(database_url) as proxy:
        user, name = Database(database_url).url.username, Database(database_url).url.database
        for ports in ((bad, proxy.port), (proxy.port, bad)):
            hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
            database = Database(f"postgresql://{user}@{hosts}/{name}?sslmode=disable{parameters}")
            await database.check()
            assert len(await asyncio.gather(*(database.fetch("SELECT 1") for _ in range(8)))) == 8
            async with database.write() as session:
                assert not (await session.driver()).read_only
            await database.close()


@pytest.mark.parametrize("attributes", ["standby", "read-only"])
async def test_no_host_has_the_requested_attributes(database_url: str, attributes: str) -> None:
    joint = "&" if "?" in database_url else "?"
    database = Database(f"{database_url}{joint}target_session_attrs={attributes}")
    with pytest.raises(DatabaseUnavailableError):
        await database.check()
    await database.close()
    preferred = Database(f"{database_url}{joint}target_session_attrs=prefer-standby")
    await preferred.check()
    await preferred.close()
