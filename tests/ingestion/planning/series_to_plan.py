"""Series to plan for, and what any plan must be."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import strategies as st

from ingestion.planning.gaps import Gap
from ingestion.planning.windows import SeriesPlan, SeriesState, Window, plan_refresh
from models.history import floor_hour, history_start

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 3, 1, 12, 34, 56, 789, tzinfo=UTC)
MIDNIGHTS = [  # leap days, and the hours that clocks skip or repeat elsewhere
    datetime(2024, 2, 29, tzinfo=UTC),
    datetime(2024, 3, 1, tzinfo=UTC),
    datetime(2025, 3, 30, 1, tzinfo=UTC),
    datetime(2025, 10, 26, 1, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=UTC),
]
moments = st.sampled_from(MIDNIGHTS) | st.integers(0, 85 * 365 * 86_400).map(
    lambda seconds: datetime(2015, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


def state(
    history_from: datetime | None = None,
    last_bucket: datetime | None = None,
    coin: str = "bitcoin",
    currency: str = "usd",
    missing_hours: tuple[Gap, ...] = (),
    missing_days: tuple[Gap, ...] = (),
) -> SeriesState:
    return SeriesState(1, coin, currency, history_from, last_bucket, missing_days, missing_hours)


def plan(
    known: SeriesState,
    history_days: int = 90,
    days: int | None = None,
    *,
    rebuild: bool = False,
    offered: datetime | None = None,
    now: datetime = NOW,
) -> SeriesPlan:
    (made,) = plan_refresh(
        [known],
        now,
        currencies=["usd"],
        start=history_start(now, days or history_days, offered),
        offered=offered,
        requested=days is not None,
        rebuild=rebuild,
    )
    return made


def assert_askable(windows: tuple[Window, ...], now: datetime) -> None:
    """What upstream answers in hours, wholly in the past, the newest first."""
    for window in windows:
        assert window.start == floor_hour(window.start)
        assert 2 * DAY <= window.end - window.start <= 89 * DAY
        assert window.end <= now
    assert [w.end for w in windows] == sorted((w.end for w in windows), reverse=True)


def assert_covered(windows: tuple[Window, ...], start: datetime, end: datetime) -> None:
    rising = sorted(windows, key=lambda window: window.start)
    assert rising[0].start <= start
    assert rising[-1].end >= end
    assert all(later.start <= sooner.end for sooner, later in pairwise(rising))
