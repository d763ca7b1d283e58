"""Any sequence of charts and live prices leaves what the rules say, and counts as without them."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.postgres.database import Database
from models.prices.write_latest import NewestPrice
from models.prices.write_live import store_live
from tests.models.series_model import SeriesModel, hours_after
from tests.models.storing import HOUR, NOON, Sample, days_in, store

START = NOON - 12 * HOUR
_SPAN = 50  # hours: two days and a bit


@dataclass(frozen=True)
class Chart:
    """Samples by hours after START, asked for since `asked`."""

    samples: dict[int, Sample]
    asked: int
    replace: bool


@dataclass(frozen=True)
class Live:
    """A price observed so many minutes after START, `late` minutes before it was polled."""

    minute: int
    late: int
    price: float
    cap: float | None


@dataclass
class LiveModel:
    """What charts have given in addition to what is stored."""

    series: SeriesModel = field(default_factory=SeriesModel)

    @property
    def charted(self) -> datetime | None:
        return self.series.charted

    def chart(self, step: Chart) -> tuple[int, int]:
        """Store a chart; how many hours were new to charts, and how many were corrected."""
        samples = hours_after(START, step.samples)
        before = dict(self.series.hours)
        known = {at for at in before if self.charted is not None and at <= self.charted}
        asked = START + step.asked * HOUR
        replace = asked if step.replace else None
        self.series.store(samples, asked_from=asked, replace_from=replace, newest=None)
        now = self.series.hours
        inserted = len(samples.keys() - known)
        corrected = sum(before[at] != now[at] for at in known & samples.keys())
        return inserted, corrected

    def live(self, quote: NewestPrice, hour: datetime) -> int:
        model = self.series
        before = dict(model.hours), model.latest
        stands_in = hour <= quote.observed_at < hour + HOUR and hour not in model.hours
        if stands_in and self.charted is not None and self.charted < hour:
            model.hours[hour] = (quote.observed_at, quote.price, quote.market_cap, quote.volume)
            assert model.history_from is not None
            model.make_days(model.history_from)
        model.see(quote)
        changed = before != (model.hours, model.latest)
        model.revision += changed
        return int(changed)


_prices = st.sampled_from([0.1, 3.7, 1e100])
_extras = st.sampled_from([None, 2.5])
_samples = st.builds(Sample, _prices, _extras, _extras, st.sampled_from([0.0, 270.0]))


@st.composite
def _charts(draw: st.DrawFn) -> Chart:
    asked = draw(st.integers(0, _SPAN))
    hours = st.integers(asked, _SPAN)
    samples = draw(st.dictionaries(hours, _samples, max_size=20))
    return Chart(samples, asked, replace=draw(st.booleans()) and bool(samples))


_lives = st.builds(
    Live, st.integers(0, (_SPAN + 3) * 60), st.sampled_from([0, 1, 90]), _prices, _extras
)


@pytest.mark.slow
@given(st.lists(_charts() | _lives, min_size=1, max_size=10))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_any_sequence_follows_the_rules(
    database: Database, sql: asyncpg.Connection, series: int, steps: list[Chart | Live]
) -> None:
    for table in ("price_hourly", "price_daily", "price_latest"):
        await sql.execute(f"DELETE FROM {table}")  # noqa: S608 - a test's own name
    await sql.execute(
        "UPDATE series SET revision = 0, history_from = NULL, first_bucket = NULL, "
        "last_bucket = NULL, charted_to = NULL"
    )
    model = LiveModel()
    for step in steps:
        if isinstance(step, Chart):
            asked = START + step.asked * HOUR
            stored = await store(
                database,
                series,
                hours_after(START, step.samples),
                asked_from=asked,
                replace_from=asked if step.replace else None,
            )
            assert (stored.inserted, stored.corrected) == model.chart(step)
        else:
            polled = START + timedelta(minutes=step.minute)
            quote = NewestPrice(
                series, polled - timedelta(minutes=step.late), step.price, step.cap, None
            )
            hour = polled.replace(minute=0)
            async with database.write() as session:
                assert await store_live(session, [quote], hour) == model.live(quote, hour)
        await _assert_holds(sql, series, model)


async def _assert_holds(sql: asyncpg.Connection, series: int, model: LiveModel) -> None:
    rows = await sql.fetch("SELECT * FROM price_hourly WHERE series_id = $1", series)
    assert {row["bucket"]: tuple(row)[2:] for row in rows} == model.series.hours
    assert await days_in(sql, series) == model.series.days
    latest = await sql.fetchrow("SELECT * FROM price_latest WHERE series_id = $1", series)
    assert (None if latest is None else tuple(latest)[1:]) == model.series.latest
    known = await sql.fetchrow(
        "SELECT revision, charted_to, first_bucket, last_bucket FROM series WHERE id = $1", series
    )
    assert known is not None
    hours = model.series.hours
    edges = min(hours, default=None), max(hours, default=None)
    assert tuple(known) == (model.series.revision, model.charted, *edges)
