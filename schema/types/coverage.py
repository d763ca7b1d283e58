"""What is there of a series, and what is missing, as clients see it."""

from functools import cached_property
from typing import Any, Self, cast

import numpy as np
import strawberry

from models.prices import coverage as measured
from models.prices.granularity import to_datetime
from schema.columnar.encoding import Column
from schema.columnar.lists import ColumnarList
from schema.scalars import DateTime, moment


@strawberry.type(description="A run of buckets that are missing, as a half-open range.")
class Gap:
    from_: DateTime = strawberry.field(
        name="from", description="When the first missing bucket begins."
    )
    to: DateTime = strawberry.field(
        description="When the last missing bucket ends: itself not part of the gap."
    )
    buckets: int = strawberry.field(description="How many buckets are missing.")
    asked_since: DateTime | None = strawberry.field(
        description="When CoinGecko was first asked for a part of it and did not give it; null "
        "where it was never asked: the next refresh asks."
    )
    asked_times: int = strawberry.field(
        description="How often it was asked since then, of its parts the most. Asks within an hour "
        "of each other count as one."
    )
    next_ask: DateTime | None = strawberry.field(
        description="From when on a scheduled refresh asks for it again: ever less often the "
        "longer CoinGecko is silent, but always again; null: by the next one. `refreshPrices` and "
        "`coingraph refresh` ask at once."
    )
    upstream: bool = strawberry.field(
        description="True where CoinGecko's answers, which had prices around it, have left out all "
        "of it for at least 7 days and 5 times: `askedSince` and `askedTimes` say how long and how "
        "often. It is asked for again all the same."
    )


class GapList(ColumnarList[Gap]):
    """The gaps of a series, the oldest first."""

    def __init__(self, found: measured.Coverage) -> None:
        self._columns = {
            "from": found.starts,
            "to": found.ends,
            "buckets": found.lengths,
            "askedSince": found.since,
            "askedTimes": found.times,
            "nextAsk": found.until,
            "upstream": found.upstream,
        }

    def __len__(self) -> int:
        return len(self._columns["buckets"])

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - Sequence's own overloads
        return self._gaps[index]

    def column(self, field: str) -> Column | None:
        return self._columns.get(field)

    @cached_property
    def _gaps(self) -> list[Gap]:
        each = zip(*self._columns.values(), strict=True)
        return [
            Gap(
                from_=DateTime(to_datetime(start)),
                to=DateTime(to_datetime(end)),
                buckets=int(buckets),
                asked_since=_moment(since),
                asked_times=int(times),
                next_ask=_moment(until),
                upstream=bool(upstream),
            )
            for start, end, buckets, since, times, until, upstream in each
        ]


def _moment(time: np.datetime64) -> DateTime | None:
    return None if np.isnat(time) else DateTime(to_datetime(time))


@strawberry.type(
    description="How much of a range there is. Buckets are expected as far back as the settings "
    "ask for (HISTORY_DAYS; days a year at least) or as the series reaches, whichever is earlier. "
    "The time before a coin was listed is no gap once CoinGecko's answers have begun with the same "
    "price for 7 days; until then it is. Buckets are expected up to now: the one that is not "
    "over yet counts only once it has a price. Where `present` equals `expected`, nothing is "
    "missing. A day, week or month is present with its first hour; its `samples` tell whether it "
    "is whole."
)
class Coverage:
    expected: int = strawberry.field(description="How many buckets there should be.")
    present: int = strawberry.field(description="How many of them there are.")
    first_available: DateTime | None = strawberry.field(
        description="When the first bucket that is there begins; null where none is."
    )
    last_available: DateTime | None = strawberry.field(
        description="When the last bucket that is there begins; null where none is."
    )
    gaps: list[Gap] = strawberry.field(
        description="Each run of missing buckets, the oldest first. Their `buckets` add up to "
        "`expected` - `present`."
    )

    @classmethod
    def from_row(cls, row: measured.Coverage) -> Self:
        return cls(
            expected=row.expected,
            present=row.present,
            first_available=moment(row.first),
            last_available=moment(row.last),
            # a sequence like any other, which the columnar executor need not walk
            gaps=cast("list[Gap]", GapList(row)),
        )
