"""The health checks: liveness and readiness."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse

from models.postgres.database import Database, DatabaseUnavailableError
from models.postgres.migrate import current_revision, newest_revision
from models.series import newest_observation_age

_CHECK_TIMEOUT_SECONDS = 5.0
_MIGRATED = "up to date"


async def live(_request: Request) -> JSONResponse:
    """`/health/live`: 200 while the event loop runs."""
    return JSONResponse({"status": "live"})


class Readiness:
    """`/health/ready`: 200 if the database is reachable and migrated and operations are admitted.

    A read-only database is ready; the response reports it. Stale prices are reported too, but leave
    the server ready: other instances have no newer prices. The check is free for callers, so
    concurrent calls share one check and cannot load the database.
    """

    def __init__(self, database: Database, is_open: Callable[[], bool]) -> None:
        self._database = database
        self._is_open = is_open
        self._checking: asyncio.Task[dict[str, object]] | None = None

    async def handle(self, _request: Request) -> JSONResponse:
        """Return the state as JSON, with status 200 or 503."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check())
        try:
            facts = await asyncio.shield(self._checking)  # other calls wait for it too
        except (DatabaseUnavailableError, TimeoutError) as error:
            return _unavailable({"database": str(error) or "The database does not respond."})
        if facts["migrations"] != _MIGRATED or not self._is_open():
            return _unavailable(facts)
        return JSONResponse({"status": "ready", **facts})

    async def _check(self) -> dict[str, object]:
        async with asyncio.timeout(_CHECK_TIMEOUT_SECONDS):
            current = await current_revision(self._database)
            # A newer revision is fine: during a rolling update old servers go on serving.
            migrated = current is not None and current >= newest_revision()
            async with self._database.read() as session:
                read_only = (await session.driver()).read_only
                age = await newest_observation_age(session) if migrated else None
        return {
            "database": "read-only" if read_only else "reachable",
            "migrations": _MIGRATED if migrated else "pending",
            "newestPriceAgeSeconds": age,
        }


def _unavailable(facts: dict[str, object]) -> JSONResponse:
    return JSONResponse(
        {"status": "unavailable", **facts}, status_code=503, headers={"Retry-After": "5"}
    )
