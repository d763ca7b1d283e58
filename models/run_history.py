"""How much of the past of refreshes is kept."""

from sqlalchemy import text

from models.database import WriteSession

MOST_RUNS = 10_000
MOST_DAYS = 400
_AT_ONCE = 500  # so that the first time, after years without, is short too

# Ids sort by time, and the primary key has them in order: 10,000 entries of it take 1 ms.
_PRUNE = text("""
    DELETE FROM refresh_run WHERE id IN (
        SELECT id FROM refresh_run
        WHERE status <> 'RUNNING' AND (
            started_at < now() - make_interval(days => :days)
            OR id <= (SELECT id FROM refresh_run ORDER BY id DESC OFFSET :runs LIMIT 1)
        )
        ORDER BY id LIMIT :at_once
    )
""")


async def prune_runs(session: WriteSession, *, runs: int = MOST_RUNS, days: int = MOST_DAYS) -> int:
    """Delete the oldest runs beyond so many and older than so many days, some of them at a time.

    What became of their series and their keys go with them. Tells how many it deleted.
    """
    result = await session.execute(_PRUNE, {"runs": runs, "days": days, "at_once": _AT_ONCE})
    return int(result.rowcount)  # type: ignore[attr-defined] # a DELETE's result has it
