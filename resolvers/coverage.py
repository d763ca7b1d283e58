"""How much of a series is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from models.answered import upstream_gaps
from models.coverage import Coverage, measure
from models.database import Database
from models.granularity import Granularity
from models.price_statements import BEGINS
from models.prices import PriceWindow, read_windows
from models.series import SeriesKey
from resolvers.names import explain_missing
from resolvers.turns import breathe

_ALL = 2**31 - 1  # rows of one series


@dataclass(frozen=True, slots=True)
class CoverageQuestion:
    """A series and the range [start, end) of it."""

    series: SeriesKey
    granularity: Granularity
    start: datetime
    end: datetime


async def coverages(
    database: Database, questions: Sequence[CoverageQuestion], now: datetime
) -> list[Coverage | Exception]:
    """Answer many questions with one statement for each granularity, which reads no prices.

    Where there are gaps, one more tells which of them are upstream's.
    """
    found: dict[CoverageQuestion, Coverage | None] = {}
    gappy: dict[CoverageQuestion, int] = {}
    for granularity in dict.fromkeys(question.granularity for question in questions):
        group = [question for question in questions if question.granularity is granularity]
        windows = [PriceWindow(*each.series, each.start, each.end, _ALL) for each in group]
        parts = await read_windows(database, granularity, windows, columns=frozenset({BEGINS}))
        for question, part in zip(group, parts, strict=True):
            await breathe()  # a page of coins takes a while
            measured = part and measure(
                granularity,
                part.columns.timestamps,
                start=question.start,
                end=question.end,
                begins=part.begins,
                now=now,
            )
            if part and measured and len(measured.lengths):
                gappy[question] = part.facts.id
            found[question] = measured
    lacked = await upstream_gaps(database, sorted(set(gappy.values()))) if gappy else {}
    for question, series in gappy.items():
        measured = found[question]
        found[question] = measured and measured.with_upstream(lacked[series])
    missing = [question.series for question in questions if found[question] is None]
    errors = await explain_missing(database, missing) if missing else {}
    return [found[question] or errors[question.series] for question in questions]
