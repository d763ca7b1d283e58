"""Reads a database without our code and checks its consistency."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from tests.ingestion.upstream import Hours, days_of
from tests.server.system.upstreams import Worlds

T = TypeVar("T")
_SERIES = "SELECT * FROM series ORDER BY id"
_HOURS = "SELECT * FROM price_hourly WHERE series_id = $1 ORDER BY bucket"
_DAYS = "SELECT * FROM price_daily WHERE series_id = $1 ORDER BY day"
_LATEST = "SELECT * FROM price_latest WHERE series_id = $1"


@dataclass(frozen=True)
class Held:
    """One stored series."""

    facts: dict[str, Any]
    hours: Hours
    days: dict[date, tuple[Any, ...]]
    latest: tuple[Any, ...]

    @property
    def prices(self) -> object:
        """Everything that the revision covers."""
        return self.hours, self.days, self.latest

    def assert_sound(self) -> None:
        """Check that buckets are aligned, days match their hours, and edges are right."""
        facts = self.facts
        for bucket, (observed_at, *_) in self.hours.items():
            assert bucket <= observed_at < bucket + timedelta(hours=1)
            assert (bucket.minute, bucket.second, bucket.microsecond) == (0, 0, 0)
        edges = (min(self.hours), max(self.hours)) if self.hours else (None, None)
        assert (facts["first_bucket"], facts["last_bucket"]) == edges
        if self.hours:
            since = facts["history_from"]
            made = {day: each for day, each in self.days.items() if midnight(day) >= since}
            assert made == days_of(self.hours, since)


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


class Ledger:
    """The database of an embedded server; `days` is how much history it keeps in hours."""

    def __init__(self, socket_dir: Path, days: int) -> None:
        self._socket_dir = socket_dir
        self._days = days

    def value(self, query: str) -> Any:
        return self._with(lambda connection: connection.fetchval(query))

    def read(self) -> dict[str, Held]:
        """Read all series by name, in one snapshot."""
        return self._with(_read)

    def _with(self, ask: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        async def connected() -> T:
            connection = await asyncpg.connect(
                host=str(self._socket_dir), port=5432, user="coingraph", database="coingraph"
            )
            try:
                return await ask(connection)
            finally:
                await connection.close()

        return asyncio.run(connected())

    def judge(self, before: dict[str, Held], worlds: Worlds) -> int:
        """Check that each series is sound, and entirely as before or as upstream has it.

        Returns how many have changed.
        """
        after = self.read()
        assert after.keys() == before.keys()
        for name, held in after.items():
            held.assert_sound()
            self._assert_whole(held, before[name], worlds, name)
            grown = held.facts["revision"] - before[name].facts["revision"]
            assert grown > 0 if held.prices != before[name].prices else grown == 0, name
        return sum(after[name].hours != before[name].hours for name in after)

    def assert_equal(self, worlds: Worlds) -> None:
        """Check that all series are as upstream has them."""
        for name, held in self.read().items():
            held.assert_sound()
            assert _since(held.hours, self._settled()) == self._wanted(name, worlds), name
            points = _middle(held.days, held.facts["history_from"])
            assert points
            wanted = worlds.points(name, days=self._days + 2)
            assert points == {day: wanted[day] for day in wanted if day in points}

    def _assert_whole(self, held: Held, before: Held, worlds: Worlds, name: str) -> None:
        settled = self._settled()
        hours = _since(held.hours, settled)
        assert hours in (_since(before.hours, settled), self._wanted(name, worlds)), name
        since = held.facts["history_from"] or datetime.now(UTC)
        points, wanted = _middle(held.days, since), worlds.points(name, days=self._days + 2)
        assert points in (
            _middle(before.days, since),
            {day: wanted[day] for day in wanted if day in points},
        ), name

    def _wanted(self, name: str, worlds: Worlds) -> Hours:
        return _since(worlds.hours(name, days=self._days + 2), self._settled())

    def _settled(self) -> datetime:
        """Return the first hour that every refresh of a test requests, as the clock advances."""
        return datetime.now(UTC) - timedelta(days=self._days, hours=-2)


def _since(hours: Hours, start: datetime) -> Hours:
    return {bucket: sample for bucket, sample in hours.items() if bucket >= start}


def _middle(days: dict[date, tuple[Any, ...]], before: datetime) -> dict[date, tuple[Any, ...]]:
    """Return the days that every refresh of a test requests while the clock runs."""
    first = datetime.now(UTC).date() - timedelta(days=360)
    return {day: each for day, each in days.items() if day > first and midnight(day) < before}


async def _read(connection: asyncpg.Connection) -> dict[str, Held]:
    found = {}
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for row in await connection.fetch(_SERIES):
            hours = await connection.fetch(_HOURS, row["id"])
            days = await connection.fetch(_DAYS, row["id"])
            latest = await connection.fetchrow(_LATEST, row["id"])
            found[f"{row['coin_id']}/{row['currency_code']}"] = Held(
                dict(row),
                {each["bucket"]: tuple(each)[2:] for each in hours},
                {each["day"]: tuple(each)[2:] for each in days},
                tuple(latest or ()),
            )
    return found
