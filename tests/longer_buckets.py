"""Weeks and months as they are read, held against plain Python over the hours."""

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from models.postgres.database import Database
from models.prices.granularity import Granularity
from models.prices.read import PriceWindow, read_windows
from tests.recomputed import day_of

FIGURES = ("price", "open", "high", "low", "close", "market_cap", "volume", "samples")


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _first_of_month(day: date) -> date:
    return day.replace(day=1)


async def assert_weeks_and_months(
    database: Database,
    coin: str,
    currency: str,
    hours: Mapping[datetime, tuple[Any, ...]],
    start: datetime,
) -> None:
    """Compare with `hours`: when each was observed, its price, cap and volume; whole days count."""
    whole = {at: row for at, row in sorted(hours.items()) if at.replace(hour=0) >= start}
    for granularity, begin in (
        (Granularity.WEEK, _monday),
        (Granularity.MONTH, _first_of_month),
    ):
        groups: dict[date, list[tuple[Any, Any, Any]]] = {}
        for at, (_, price, cap, volume) in whole.items():
            groups.setdefault(begin(at.date()), []).append((price, cap, volume))
        end = max(hours) + timedelta(hours=1)
        window = PriceWindow(coin, currency, datetime(2000, 1, 1, tzinfo=UTC), end, 1_000)
        [part] = await read_windows(database, granularity, [window])
        assert part is not None
        days = part.columns.timestamps.astype("datetime64[D]").tolist()
        columns = [getattr(part.columns, name).tolist() for name in FIGURES]
        rows = (tuple(map(_known, row)) for row in zip(*columns, strict=True))
        assert dict(zip(days, rows, strict=True)) == {
            day: day_of(group) for day, group in groups.items()
        }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
