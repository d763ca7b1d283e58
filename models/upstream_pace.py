"""The pace and the credits that all processes share.

Each statement is its own transaction, so that a killed process leaves no locks behind. Times are
exchanged as seconds from now on the database's clock, because the callers' clocks may differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import asyncpg

from models.postgres.database import Database

# Limits the wait after the database's clock was set back.
_MOST_AHEAD = "clock_timestamp() + interval '1 hour'"
_COLUMNS = f"""
    extract(epoch FROM least(last_departure, {_MOST_AHEAD}) - clock_timestamp())::float8
        AS last_departure,
    extract(epoch FROM least(paused_until, {_MOST_AHEAD}) - clock_timestamp())::float8
        AS paused_until,
    stretch, slowdowns, refusals_in_a_row
"""
_CHARGE = """
    WITH charged AS (
        INSERT INTO upstream_credits AS known (month, spent)
        SELECT * FROM unnest($1::date[], $2::bigint[])
        ON CONFLICT (month) DO UPDATE SET spent = known.spent + excluded.spent
    )
"""
# The effect of $4 successful calls that were sent at the present count of slowdowns ($3).
_STRETCH = """
    CASE WHEN $3::integer >= slowdowns THEN greatest(1, stretch * power($5::float8, $4::integer))
    ELSE stretch END
"""
_ANSWERED = f"""
    stretch = {_STRETCH},
    refusals_in_a_row =
        CASE WHEN $3 >= slowdowns AND $4 > 0 THEN 0 ELSE refusals_in_a_row END
"""
_REPORT = f"""
    {_CHARGE}
    UPDATE upstream_pace SET {_ANSWERED} RETURNING {_COLUMNS}
"""  # noqa: S608 - constants
_RESERVE = f"""
    {_CHARGE}
    UPDATE upstream_pace SET
        {_ANSWERED},
        last_departure = greatest(
            least(last_departure, {_MOST_AHEAD}) + make_interval(secs => $6::float8 * {_STRETCH}),
            least(paused_until, {_MOST_AHEAD}),
            clock_timestamp()
        )
    RETURNING {_COLUMNS}
"""  # noqa: S608 - constants
_LOOK = f"SELECT {_COLUMNS} FROM upstream_pace"  # noqa: S608 - constants
_REFUSED = f"""
    UPDATE upstream_pace SET
        stretch = $1, slowdowns = $2, refusals_in_a_row = $3,
        paused_until = greatest(
            least(paused_until, {_MOST_AHEAD}),
            clock_timestamp() + make_interval(secs => $4::float8)
        )
    WHERE (stretch, slowdowns, refusals_in_a_row) = ($5, $6, $7)
    RETURNING {_COLUMNS}
"""  # noqa: S608 - constants
_CREDITS = """
    SELECT
        (SELECT coalesce(sum(spent), 0) FROM upstream_credits WHERE month = $1)::bigint AS spent,
        (
            SELECT coalesce(sum(greatest(0, planned_calls - completed_calls - failed_calls)), 0)
            FROM refresh_run WHERE status = 'RUNNING'
        )::bigint AS promised
"""


@dataclass(frozen=True, slots=True)
class StoredPace:
    """The stored pace. `last_departure` and `paused_until` are seconds from now, past: negative."""

    last_departure: float
    paused_until: float
    stretch: float
    slowdowns: int
    refusals_in_a_row: int


@dataclass(frozen=True, slots=True)
class CallReport:
    """The responses since the last report.

    `charged` maps the first day of a month to the credits spent in it. `succeeded` calls were sent
    at the count `slowdown` of slowdowns; each multiplies the interval by `recovery`.
    """

    charged: Mapping[date, int]
    slowdown: int
    succeeded: int
    recovery: float


async def reserve_departure(
    database: Database, base_interval: float, answers: CallReport
) -> StoredPace:
    """Reserve the next departure for one call. It is the `last_departure` of the result."""
    rows = await database.statement(_RESERVE, *_arguments(answers), base_interval)
    return _pace(rows)


async def report_answers(database: Database, answers: CallReport) -> StoredPace:
    """Store responses without reserving a departure. Returns the pace after that."""
    return _pace(await database.statement(_REPORT, *_arguments(answers)))


async def present_pace(database: Database) -> StoredPace:
    """Read the pace."""
    return _pace(await database.fetch(_LOOK))


async def slow_down(database: Database, before: StoredPace, after: StoredPace) -> StoredPace | None:
    """Store the pace after a 429. Returns None if the stored pace no longer equals `before`."""
    rows = await database.statement(
        _REFUSED, after.stretch, after.slowdowns, after.refusals_in_a_row, after.paused_until,
        before.stretch, before.slowdowns, before.refusals_in_a_row,
    )  # fmt: skip
    return _pace(rows) if rows else None


async def credits_taken(database: Database, month: date) -> tuple[int, int]:
    """Return the credits spent in this month, and those that the run in progress still needs."""
    [row] = await database.fetch(_CREDITS, month)
    return row["spent"], row["promised"]


def _arguments(answers: CallReport) -> tuple[object, ...]:
    months, spent = list(answers.charged), list(answers.charged.values())
    return months, spent, answers.slowdown, answers.succeeded, answers.recovery


def _pace(rows: list[asyncpg.Record]) -> StoredPace:
    [row] = rows
    return StoredPace(**row)
