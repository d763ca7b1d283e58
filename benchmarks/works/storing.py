"""Upstream's JSON in memory to committed rows, compared with a raw COPY of the same rows."""

import asyncio
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

import asyncpg
import httpx

from benchmarks.databases import HOURS, fetch
from benchmarks.figures import Figure, Section
from benchmarks.laboratory import Laboratory
from ingestion.coingecko import charts, parsing
from ingestion.run.buckets import bucket_hours
from models.postgres.database import Database
from models.prices.gaps import Asked
from models.prices.write_latest import Newest
from models.prices.write_series import store_series
from simulator import run_simulator

_AT_A_TIME = 4  # as a refresh has series in flight
_TITLE = "storing 44 series of 90 days: upstream's JSON in memory to committed"
_EMPTY = (
    "TRUNCATE price_hourly, price_daily, price_latest, price_gap",
    """UPDATE series SET history_from = NULL, first_bucket = NULL, last_bucket = NULL,
        charted_to = NULL""",
    "CHECKPOINT",
)


@dataclass(frozen=True, slots=True)
class Body:
    """What upstream sent for one series."""

    series_id: int
    json: bytes


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of one round, and the rows that the product stored."""

    concurrent: float
    single: float
    copy: float
    hours: int
    days: int


def run(laboratory: Laboratory) -> Section:
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start = end - timedelta(hours=HOURS)
    bodies = _fetch_bodies(laboratory, start, end)
    with laboratory.copy("storing") as url:
        times = asyncio.run(_measure(url, bodies, start, end, laboratory.options.rounds))
    copied = median(t.copy for t in times)
    stored = median(t.concurrent for t in times)
    rows = [
        _row(f"coingraph, {_AT_A_TIME} series at a time as in a refresh", times, "concurrent"),
        _row("coingraph, one series after the other", times, "single"),
        _row("one raw COPY of the hours", times, "copy"),
    ]
    note = f"{times[0].hours:,} hours, {times[0].days:,} days"
    figure = Figure(_TITLE, "≤ 3 × a raw COPY", stored / copied, 3, at_most=True, note=note)
    remark = (
        f"{note}; one transaction a series. COPY is given its finished binary stream, writes the "
        "hours alone, without days, latest prices or a comparison, in one transaction, into the "
        "same empty table with its primary key."
    )
    return Section(_TITLE, ("way", "seconds", "min–max", "× COPY"), rows, [figure], [remark])


def _row(name: str, times: Sequence[Times], field: str) -> list[str]:
    taken = [getattr(t, field) for t in times]
    copied = median(t.copy for t in times)
    span = f"{min(taken):.3f}–{max(taken):.3f}"
    return [name, f"{median(taken):.3f}", span, f"{median(taken) / copied:.2f}"]


def _fetch_bodies(laboratory: Laboratory, start: datetime, end: datetime) -> list[Body]:
    series = fetch(
        laboratory.url,
        "SELECT id, coin_id, currency_code FROM series WHERE last_bucket IS NOT NULL ORDER BY id",
    )
    span = {
        "from": f"{start.timestamp():.0f}",
        "to": f"{end.timestamp():.0f}",
        "precision": "full",
    }
    with run_simulator() as simulator, httpx.Client(base_url=simulator.base_url) as client:
        return [
            Body(
                row["id"],
                client.get(
                    f"/coins/{row['coin_id']}/market_chart/range",
                    params={**span, "vs_currency": str(row["currency_code"])},
                ).content,
            )
            for row in series
        ]


async def _measure(
    url: str, bodies: Sequence[Body], start: datetime, end: datetime, rounds: int
) -> list[Times]:
    database = Database(url)
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        times = []
        await _store(database, bodies, start, end, 1)  # warm: connections, plans, files
        for _ in range(rounds):
            single = await _timed_store(connection, database, bodies, start, end, 1)
            concurrent = await _timed_store(connection, database, bodies, start, end, _AT_A_TIME)
            days = await connection.fetchval("SELECT count(*) FROM price_daily")
            copy, hours = await _timed_copy(connection)
            times.append(Times(concurrent, single, copy, hours, days))
        return times
    finally:
        await connection.close()
        await database.close()


async def _timed_store(
    connection: asyncpg.Connection,
    database: Database,
    bodies: Sequence[Body],
    start: datetime,
    end: datetime,
    at_a_time: int,
) -> float:
    await _empty(connection)
    begun = time.perf_counter()
    await _store(database, bodies, start, end, at_a_time)
    return time.perf_counter() - begun


async def _timed_copy(connection: asyncpg.Connection) -> tuple[float, int]:
    """Take out what the product stored, and put the very same rows back."""
    rows = await connection.fetchval("SELECT count(*) FROM price_hourly")
    stream = io.BytesIO()
    await connection.copy_from_query(
        "SELECT * FROM price_hourly ORDER BY series_id, bucket", output=stream, format="binary"
    )
    await _empty(connection)
    stream.seek(0)
    begun = time.perf_counter()
    await connection.copy_to_table("price_hourly", source=stream, format="binary")
    return time.perf_counter() - begun, rows


async def _empty(connection: asyncpg.Connection) -> None:
    for statement in _EMPTY:
        await connection.execute(statement)


async def _store(
    database: Database, bodies: Sequence[Body], start: datetime, end: datetime, at_a_time: int
) -> None:
    async def work_off(queue: Iterator[Body]) -> None:
        for body in queue:
            await _store_one(database, body, start, end)

    queue = iter(bodies)
    async with asyncio.TaskGroup() as group:
        for _ in range(at_a_time):
            group.create_task(work_off(queue))


async def _store_one(database: Database, body: Body, start: datetime, end: datetime) -> None:
    """Do what a refresh does with one series once its answer is there."""
    chart = charts.chart(parsing.decode(body.json), end.timestamp())
    bucketed = bucket_hours([chart], start, end)
    seen = bucketed.newest
    newest = (
        Newest(body.series_id, seen.observed_at, seen.price, seen.market_cap, seen.volume)
        if seen
        else None
    )
    async with database.write() as session:
        await store_series(
            session,
            body.series_id,
            bucketed.hours,
            newest,
            asked_from=start,
            asked=[Asked(start, end, end)],
        )
