"""Whether the process lives, and whether it can do its work."""

from starlette.requests import Request
from starlette.responses import JSONResponse

from models.database import Database, DatabaseUnavailableError
from models.migrate import current_revision, newest_revision
from models.series import newest_observation_age


async def live(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "live"})


class Readiness:
    """`/health/ready`: the database answers and is migrated. Old data is told, not refused."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def handle(self, _request: Request) -> JSONResponse:
        try:
            migrated = await current_revision(self._database) == newest_revision()
            age = None
            if migrated:
                async with self._database.read() as session:
                    age = await newest_observation_age(session)
        except DatabaseUnavailableError as error:
            return JSONResponse(
                {"status": "unavailable", "database": str(error)},
                status_code=503,
                headers={"Retry-After": "5"},
            )
        body: dict[str, object] = {
            "status": "ready" if migrated else "unavailable",
            "database": "reachable",
            "migrations": "up to date" if migrated else "pending",
            "newestPriceAgeSeconds": age,
        }
        return JSONResponse(body, status_code=200 if migrated else 503)
