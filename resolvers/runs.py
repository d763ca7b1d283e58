"""Refresh runs: one by id, pages, and their count."""

from uuid import UUID

from models import runs as run_rows
from models.postgres.database import Database
from models.tables import RefreshRun
from resolvers.cache_dependencies import CacheDependencies
from resolvers.errors import BadInputError, NotFoundError
from resolvers.names import short
from resolvers.pagination import (
    Page,
    check_first,
    decode_cursor,
    encode_cursor,
    invalid_cursor,
    make_page,
)

_CURSORS = "run"


async def run(database: Database, dependencies: CacheDependencies, run_id: str) -> RefreshRun:
    """Return one run. Raises NotFoundError and BadInputError."""
    dependencies.mark_uncacheable()
    key = parse_run_id(run_id)
    async with database.read() as session:
        found = (await run_rows.runs_by_id(session, [key])).get(key)
    if found is None:
        raise no_such_run(key)
    return found


def parse_run_id(run_id: str) -> UUID:
    """Parse the id of a run. Raises BadInputError."""
    try:
        return UUID(run_id)
    except ValueError:
        raise BadInputError(
            f"{short(run_id)!r} is not the id of a run: `refreshRuns` lists them."
        ) from None


def no_such_run(run_id: UUID) -> NotFoundError:
    """Return the error for a run id that is not stored."""
    return NotFoundError(f"There is no run {run_id}: `refreshRuns` lists those that are stored.")


async def page(
    database: Database, dependencies: CacheDependencies, first: int, after: str | None
) -> Page[RefreshRun]:
    """Return a page of runs, newest first. Raises BadInputError."""
    dependencies.mark_uncacheable()
    check_first(first)
    try:
        behind = None if after is None else UUID(decode_cursor(_CURSORS, after))
    except ValueError:
        raise invalid_cursor() from None
    async with database.read() as session:
        rows = await run_rows.page_of_runs(session, after=behind, limit=first + 1)
    return make_page(rows, first, after, lambda row: encode_cursor(_CURSORS, str(row.id)))


async def count(database: Database, dependencies: CacheDependencies) -> int:
    """Return the number of stored runs."""
    dependencies.mark_uncacheable()
    async with database.read() as session:
        return await run_rows.count_runs(session)
