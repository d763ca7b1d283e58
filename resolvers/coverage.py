"""Which buckets of a series are stored and which are missing."""

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
from resolvers.scheduling.event_loop_turns import yield_to_event_loop

_ALL = 2**31 - 1  # rows of one series


@dataclass(frozen=True, slots=True)
class CoverageQuery:
    """A series and its range [start, end)."""

    series: SeriesKey
    granularity: Granularity
    start: datetime
    end: datetime


async def coverages(
    database: Database,
    questions: Sequence[CoverageQuery],
    now: datetime,
    tracked: TrackingScope | None,
) -> list[Coverage | Exception]:
    """Compute the coverage of many ranges. Returns results in the order of `questions`.

    Reads no prices: one SQL statement for each granularity, and one more for the gaps. For a
    tracked series, the configured history is expected, unless upstream has shown that the coin
    began later. A range of an unknown series gives a NotFoundError in its place.
    """
    parts: dict[CoverageQuery, WindowPrices] = {}
    found: dict[CoverageQuery, Coverage] = {}
    for granularity in dict.fromkeys(question.granularity for question in questions):
        group = [question for question in questions if question.granularity is granularity]
        windows = [PriceWindow(*each.series, each.start, each.end, _ALL) for each in group]
        read = await read_windows(database, granularity, windows, columns=frozenset({BEGINS}))
        for question, part in zip(group, read, strict=True):
            if part is not None:
                await yield_to_event_loop()  # a page of coins takes long
                parts[question] = part
                begins = expected_from(question, part.begins, tracked, now)
                found[question] = _measure(question, part, begins, now)
    gappy = [question for question, measured in found.items() if len(measured.lengths)]
    ids = sorted({parts[question].facts.id for question in gappy})
    known = await asked_gaps(database, ids) if ids else {}
    for question in gappy:
        await yield_to_event_loop()
        gaps = known[parts[question].facts.id]
        if tracked and (begins := _listed(question, gaps, tracked, now)):
            found[question] = _measure(question, parts[question], begins, now)
        found[question] = _with_evidence(question, found[question], gaps, now)
    missing = [question.series for question in questions if question not in found]
    errors = await explain_missing(database, missing) if missing else {}
    return [found.get(question) or errors[question.series] for question in questions]


def expected_from(
    question: CoverageQuery, begins: datetime | None, tracked: TrackingScope | None, now: datetime
) -> datetime | None:
    """Return the start of the expected history: the earlier of stored and configured.

    None if there is neither.
    """
    wanted = wanted_from(question.series, question.granularity, tracked, now)
    return min((each for each in (begins, wanted) if each), default=None)


def wanted_from(
    series: SeriesKey, granularity: Granularity, tracked: TrackingScope | None, now: datetime
) -> datetime | None:
    """Return the start of the configured history; None for an untracked series."""
    if tracked is None or not tracked.tracks(*series):
        return None
    hourly = granularity is Granularity.HOUR
    return tracked.hours_from(now) if hourly else tracked.days_from(now)


def _measure(
    question: CoverageQuery, part: WindowPrices, begins: datetime | None, now: datetime
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
    question: CoverageQuery, gaps: AskedGaps, tracked: TrackingScope, now: datetime
) -> datetime | None:
    """Return when the coin began according to upstream; None if that is not known."""
    wanted = wanted_from(question.series, question.granularity, tracked, now)
    if wanted is None:
        return None
    if question.granularity is Granularity.HOUR:
        return begins_at(gaps.first_hour, wanted, gaps.hours, gaps.first_day)
    # the days may have been requested as days, or as their hours
    return begins_at(gaps.first_day, wanted, gaps.days, None) or begins_at(
        gaps.first_day, wanted, gaps.hours, None
    )


def _with_evidence(
    question: CoverageQuery, measured: Coverage, gaps: AskedGaps, now: datetime
) -> Coverage:
    starts, ends = (
        edge.astype("datetime64[us]").view(np.int64) for edge in (measured.starts, measured.ends)
    )
    hours = evidence(gaps.hours, starts, ends, micros(now))
    if question.granularity is Granularity.HOUR:
        return measured.with_evidence(hours)
    days = evidence(gaps.days, starts, ends, micros(now))
    requested = days.times > 0
    return measured.with_evidence(
        Evidence(
            np.where(requested, days.since, hours.since),
            np.where(requested, days.times, hours.times),
            np.where(requested, days.until, hours.until),
            np.where(requested, days.upstream, hours.upstream),
        )
    )
