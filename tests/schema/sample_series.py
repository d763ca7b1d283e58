"""Sample series, and the expected responses computed in plain Python."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from models.coins import seed
from models.postgres.database import Database
from models.tables import Coin, Currency
from tests.models.storing import DAY, HOUR, Sample, store
from tests.recomputed import day_of

Hours = dict[datetime, Sample]
Point = dict[str, Any]

FIRST = datetime(2020, 11, 20, 5, tzinfo=UTC)  # through a turn of the year and a February
LAST = datetime(2021, 3, 3, 17, tzinfo=UTC)
CUT = datetime(2020, 12, 30, 7, tzinfo=UTC)  # within a day, within the last ISO week of 2020
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
LISTED = NOW - 7 * DAY  # a coin that was listed a week ago
ASKED = NOW - 90 * DAY  # since when it has been asked for


def made(
    first: datetime, last: datetime, number: int, scale: float = 1.0, *, gaps: bool = True
) -> Hours:
    """Draw a series with nulls and gaps of an hour, of days and of a week."""
    draw = Random(number)  # noqa: S311 - a test
    hours: Hours = {}
    for place in range((last - first) // HOUR + 1):
        at, value = first + place * HOUR, draw.lognormvariate(0, 0.3) * scale
        sample = Sample(value, draw.choice([None, value * 7]), draw.choice([None, 0.0, value]))
        hidden = draw.random() < 0.1 or (place // 24) % 17 == 5 or 1240 <= place < 1240 + 9 * 24
        if not (gaps and hidden and place > 0):
            hours[at] = sample
    return hours


SERIES: dict[tuple[str, str], tuple[datetime, Hours]] = {  # and since when upstream was asked
    ("constant", "usd"): (FIRST, {at: Sample(0.1) for at in made(FIRST, LAST, 0)}),
    ("cut", "usd"): (CUT, made(CUT, LAST, 1)),
    ("gappy", "eur"): (FIRST, made(FIRST, LAST, 2)),
    ("gappy", "usd"): (FIRST, made(FIRST, LAST, 3)),
    ("huge", "usd"): (FIRST, made(FIRST, LAST, 4, 1e12)),
    ("none", "usd"): (FIRST, {}),
    ("single", "usd"): (FIRST, {FIRST + 30 * DAY: Sample(3.5, 7.0)}),
    ("tiny", "usd"): (FIRST, made(FIRST, LAST, 5, 1e-12)),
    ("young", "usd"): (ASKED, made(LISTED, NOW, 6, gaps=False)),
}
GRANULARITIES = ("HOUR", "DAY", "WEEK", "MONTH")


async def store_all(database: Database) -> None:
    coins = {coin for coin, _ in SERIES}
    async with database.write() as session:
        await seed(
            session,
            [Coin(id=coin, symbol=coin[:3], name=coin.title()) for coin in coins],
            [Currency(code=code, name=code, symbol=code) for code in ("usd", "eur")],
        )
    rows = await database.fetch("SELECT id, coin_id, currency_code FROM series")
    for series_id, coin, currency in rows:
        if (coin, currency) in SERIES:
            asked_from, hours = SERIES[coin, currency]
            await store(database, series_id, dict(hours), asked_from=asked_from)


def text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def start_of(granularity: str, at: datetime) -> datetime:
    """Return the start of the bucket of an instant, by the calendar."""
    at = at.replace(minute=0, second=0, microsecond=0)
    if granularity == "HOUR":
        return at
    midnight = at.replace(hour=0)
    if granularity == "DAY":
        return midnight
    if granularity == "WEEK":
        year, week, _ = midnight.isocalendar()
        return datetime.fromisocalendar(year, week, 1).replace(tzinfo=UTC)
    return midnight.replace(day=1)


def following(granularity: str, start: datetime) -> datetime:
    """Return the start of the next bucket."""
    return start_of(granularity, start + {"HOUR": HOUR, "DAY": DAY, "WEEK": 7 * DAY}.get(
        granularity, 31 * DAY
    ))  # fmt: skip


def starts_between(granularity: str, start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the starts of the buckets in [start, end)."""
    at = start_of(granularity, start)
    while at < end:
        if at >= start:
            yield at
        at = following(granularity, at)


def points_of(key: tuple[str, str], granularity: str) -> dict[datetime, Point]:
    """Return all points of a series by their start."""
    asked_from, hours = SERIES[key]
    if granularity == "HOUR":
        return {
            at: _point(at, granularity, (s.price, *[None] * 4, s.cap, s.volume, 1), s.late)
            for at, s in hours.items()
        }
    groups: dict[datetime, list[Sample]] = {}
    for at, sample in hours.items():
        if start_of("DAY", at) >= asked_from or granularity == "HOUR":
            groups.setdefault(start_of(granularity, at), []).append(sample)
    return {
        at: _point(at, granularity, day_of([(s.price, s.cap, s.volume) for s in group]), None)
        for at, group in groups.items()
    }


_FIGURES = ("price", "open", "high", "low", "close", "marketCap", "volume", "samples")


def _point(at: datetime, granularity: str, figures: Iterable[Any], late: float | None) -> Point:
    return {
        "timestamp": text(at),
        "observedAt": None if late is None else text(at + timedelta(seconds=late)),
        **dict(zip(_FIGURES, figures, strict=True)),
        "partial": following(granularity, at) > datetime.now(UTC),
        "filled": False,
    }


def filled(
    points: Mapping[datetime, Point],
    granularity: str,
    start: datetime,
    end: datetime,
    *,
    carried: bool,
) -> list[Point]:
    """Return every bucket of the range."""
    found = []
    for at in starts_between(granularity, start, min(end, datetime.now(UTC))):
        earlier = [known for known in points if known < at] if carried else []
        price = points[max(earlier)]["price"] if earlier else None
        blank = _point(at, granularity, (price, *[None] * 6, 0), None) | {"filled": True}
        found.append(points.get(at, blank))
    return found
