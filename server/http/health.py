"""Whether the process lives, and whether it can do its work."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse

from models.postgres.database import Database, DatabaseUnavailableError
from models.postgres.migrate import current_revision, newest_revision
from models.series import newest_observation_age

_PATIENCE_SECONDS = 5.0
_MIGRATED = "up to date"


async def live(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "live"})


class Readiness:
    """`/health/ready`: the database answers and is migrated, and operations are answered.

    A database that takes no writes is enough for all that reads; the answer says so. Old data is
    reported, not refused: other instances would have none newer. Nobody pays for asking, so all who
    ask at once share one look: it is no way to take the database from others.
    """

    def __init__(self, database: Database, is_open: Callable[[], bool]) -> None:
        self._database = database
        self._is_open = is_open
        self._looking: asyncio.Task[dict[str, object]] | None = None

    async def handle(self, _request: Request) -> JSONResponse:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            facts = await asyncio.shield(self._looking)  # others wait for it, too
        except (DatabaseUnavailableError, TimeoutError) as error:
            return _unavailable({"database": str(error) or "The database does not answer."})
        if facts["migrations"] != _MIGRATED or not self._is_open():
            return _unavailable(facts)
        return JSONResponse({"status": "ready", **facts})

    async def _look(self) -> dict[str, object]:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            current = await current_revision(self._database)
            # A newer one is no reason to stop: while servers are being replaced, old ones go on.
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
