"""How much of a series is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from models.history import TrackingScope
from models.postgres.database import Database
from models.prices.answered_hours import AskedGaps, asked_gaps, begins_at
from models.prices.coverage import Coverage, measure
from models.prices.gaps import Evidence, evidence
from models.prices.granularity import Granularity
from models.prices.hours import micros
from models.prices.read import PriceWindow, WindowPrices, read_windows
from models.prices.read_sql import BEGINS
from models.series import SeriesKey
from resolvers.names import explain_missing
from resolvers.scheduling.event_loop_turns import breathe

_ALL = 2**31 - 1  # rows of one series


@dataclass(frozen=True, slots=True)
class CoverageQuestion:
    """A series and the range [start, end) of it."""

    series: SeriesKey
    granularity: Granularity
    start: datetime
    end: datetime


async def coverages(
    database: Database,
    questions: Sequence[CoverageQuestion],
    now: datetime,
    tracked: TrackingScope | None,
) -> list[Coverage | Exception]:
    """Answer many questions with one statement for each granularity, which reads no prices.

    Of tracked series, what the settings ask for is expected, unless upstream has shown that the
    coin began later. Where there are gaps, one more statement reads what is known of them.
    """
    parts: dict[CoverageQuestion, WindowPrices] = {}
    found: dict[CoverageQuestion, Coverage] = {}
    for granularity in dict.fromkeys(question.granularity for question in questions):
        group = [question for question in questions if question.granularity is granularity]
        windows = [PriceWindow(*each.series, each.start, each.end, _ALL) for each in group]
        read = await read_windows(database, granularity, windows, columns=frozenset({BEGINS}))
        for question, part in zip(group, read, strict=True):
            if part is not None:
                await breathe()  # a page of coins takes a while
                parts[question] = part
                begins = expected_from(question, part.begins, tracked, now)
                found[question] = _measure(question, part, begins, now)
    gappy = [question for question, measured in found.items() if len(measured.lengths)]
    ids = sorted({parts[question].facts.id for question in gappy})
    known = await asked_gaps(database, ids) if ids else {}
    for question in gappy:
        await breathe()
        gaps = known[parts[question].facts.id]
        if tracked and (begins := _listed(question, gaps, tracked, now)):
            found[question] = _measure(question, parts[question], begins, now)
        found[question] = _with_evidence(question, found[question], gaps, now)
    missing = [question.series for question in questions if question not in found]
    errors = await explain_missing(database, missing) if missing else {}
    return [found.get(question) or errors[question.series] for question in questions]


def expected_from(
    question: CoverageQuestion,
    begins: datetime | None,
    tracked: TrackingScope | None,
    now: datetime,
) -> datetime | None:
    """Return from when on buckets are expected: what is stored and what the settings ask for."""
    wanted = wanted_from(question.series, question.granularity, tracked, now)
    return min((each for each in (begins, wanted) if each), default=None)


def wanted_from(
    series: SeriesKey, granularity: Granularity, tracked: TrackingScope | None, now: datetime
) -> datetime | None:
    """Return since when the settings ask for buckets of this length; None for no such series."""
    if tracked is None or not tracked.tracks(*series):
        return None
    hourly = granularity is Granularity.HOUR
    return tracked.hours_from(now) if hourly else tracked.days_from(now)


def _measure(
    question: CoverageQuestion, part: WindowPrices, begins: datetime | None, now: datetime
) -> Coverage:
    return measure(
        question.granularity,
        part.columns.timestamps,
        start=question.start,
        end=question.end,
        begins=begins,
        now=now,
    )


def _listed(
    question: CoverageQuestion, gaps: AskedGaps, tracked: TrackingScope, now: datetime
) -> datetime | None:
    """Return where upstream has shown the coin to begin, None where it has not (yet)."""
    wanted = wanted_from(question.series, question.granularity, tracked, now)
    if wanted is None:
        return None
    if question.granularity is Granularity.HOUR:
        return begins_at(gaps.first_hour, wanted, gaps.hours, gaps.first_day)
    # the days may have been asked for as days, or as the hours that make them
    return begins_at(gaps.first_day, wanted, gaps.days, None) or begins_at(
        gaps.first_day, wanted, gaps.hours, None
    )


def _with_evidence(
    question: CoverageQuestion, measured: Coverage, gaps: AskedGaps, now: datetime
) -> Coverage:
    starts, ends = (
        edge.astype("datetime64[us]").view(np.int64) for edge in (measured.starts, measured.ends)
    )
    hours = evidence(gaps.hours, starts, ends, micros(now))
    if question.granularity is Granularity.HOUR:
        return measured.with_evidence(hours)
    days = evidence(gaps.days, starts, ends, micros(now))
    asked = days.times > 0
    return measured.with_evidence(
        Evidence(
            np.where(asked, days.since, hours.since),
            np.where(asked, days.times, hours.times),
            np.where(asked, days.until, hours.until),
            np.where(asked, days.upstream, hours.upstream),
        )
    )
