"""The types of `coverage`: which buckets are stored and which are missing."""

from functools import cached_property
from typing import Any, Self, cast

import numpy as np
import strawberry

from models.prices import coverage as measured
from models.prices.granularity import to_datetime
from schema.columnar.encoding import Column
from schema.columnar.lists import ColumnarList
from schema.scalars import DateTime, moment


@strawberry.type(description="Consecutive missing buckets, as a half-open time range.")
class Gap:
    """Consecutive missing buckets."""

    from_: DateTime = strawberry.field(
        name="from", description="The start of the first missing bucket."
    )
    to: DateTime = strawberry.field(description="The end of the last missing bucket, exclusive.")
    buckets: int = strawberry.field(description="The number of missing buckets.")
    asked_since: DateTime | None = strawberry.field(
        description="The time when CoinGecko was first asked for a part of this gap and did not "
        "return it. Null if it was never asked; the next refresh asks."
    )
    asked_times: int = strawberry.field(
        description="The number of times CoinGecko was asked since then; for a gap of several "
        "parts, the highest number of any part. Requests within one hour count once."
    )
    next_ask: DateTime | None = strawberry.field(
        description="The earliest time at which a scheduled refresh asks for this gap again. The "
        "interval grows the longer CoinGecko returns nothing, but requests never stop. Null: the "
        "next scheduled refresh asks. `refreshPrices` (without `onlyDue`) and `coingraph refresh` "
        "ask at once."
    )
    upstream: bool = strawberry.field(
        description="True if CoinGecko itself lacks these prices: over at least 7 days and 5 "
        "requests, its responses had prices around the gap but none in it. `askedSince` and "
        "`askedTimes` are the evidence. The server asks again all the same."
    )


class GapList(ColumnarList[Gap]):
    """The gaps of a series as columns, oldest first."""

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
        """Return the JSON values of a field; None for an unknown field."""
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
    description="How many buckets of a range are stored, and which are missing. Buckets are "
    "expected from the start of the configured history (HISTORY_DAYS; for days, weeks and months "
    "at least one year) or from the start of the series, whichever is earlier, until now. The "
    "bucket in progress counts only once it has a price. The time before a coin was listed counts "
    "as missing until CoinGecko's responses have begun with the same price for 7 days; then it is "
    "not expected. Nothing is missing if `present` equals `expected`. A day, week or month counts "
    "as present if it has at least one hour; its `samples` show if it is complete."
)
class Coverage:
    """The coverage of a range."""

    expected: int = strawberry.field(description="The number of expected buckets.")
    present: int = strawberry.field(description="The number of expected buckets that are stored.")
    first_available: DateTime | None = strawberry.field(
        description="The start of the first stored bucket in the range. Null if there is none."
    )
    last_available: DateTime | None = strawberry.field(
        description="The start of the last stored bucket in the range. Null if there is none."
    )
    gaps: list[Gap] = strawberry.field(
        description="The gaps, oldest first. Their `buckets` add up to `expected` - `present`."
    )

    @classmethod
    def from_row(cls, row: measured.Coverage) -> Self:
        """Build the object from a computed coverage."""
        return cls(
            expected=row.expected,
            present=row.present,
            first_available=moment(row.first),
            last_available=moment(row.last),
            # the columnar executor encodes it directly
            gaps=cast("list[Gap]", GapList(row)),
        )
