"""Arguments that several fields share, and their enums."""

from enum import Enum
from typing import Annotated

import strawberry

from schema.scalars import DateTime

USD = strawberry.ID("usd")


@strawberry.enum(description="The length of a bucket, the time span that one price stands for.")
class Granularity(Enum):
    """The lengths of buckets."""

    HOUR = strawberry.enum_value(
        "HOUR", description="One hour. Its price is the earliest observation in it."
    )
    DAY = strawberry.enum_value(
        "DAY",
        description="One day in UTC. Its price is the mean of its hourly prices. Before the start "
        "of the hourly history it is CoinGecko's single price at midnight, and `samples` is 1.",
    )
    WEEK = strawberry.enum_value(
        "WEEK",
        description="One ISO week: seven UTC days, starting on Monday. It is built from the days "
        "that are stored, and its price is the mean of all their hourly prices.",
    )
    MONTH = strawberry.enum_value(
        "MONTH",
        description="One calendar month in UTC. It is built from the days that are stored, and its "
        "price is the mean of all their hourly prices.",
    )


@strawberry.enum(description="What replaces a missing bucket.")
class FillPolicy(Enum):
    """What replaces a missing bucket."""

    NONE = strawberry.enum_value("NONE", description="Nothing: missing buckets are left out.")
    NULL = strawberry.enum_value(
        "NULL",
        description="A bucket with null values. The result contains every bucket that begins in "
        "the range and not in the future.",
    )
    PREVIOUS = strawberry.enum_value(
        "PREVIOUS",
        description="A bucket with the last known price as `price`; its other values are null. The "
        "result contains the same buckets as with NULL. A price from before `from` counts as "
        "well, so a page's start does not affect the values. `price` is null before the first "
        "price of the series.",
    )


@strawberry.enum(description="The sort order by time.")
class SortDirection(Enum):
    """The sort order by time."""

    ASC = strawberry.enum_value("ASC", description="Oldest first.")
    DESC = strawberry.enum_value("DESC", description="Newest first.")


CoinArgument = Annotated[
    strawberry.ID,
    strawberry.argument(description="The coin's id, for example `bitcoin`. `coins` lists all ids."),
]
CurrencyArgument = Annotated[
    strawberry.ID,
    strawberry.argument(
        description="The currency's code, for example `usd`. `currencies` lists all codes."
    ),
]
RunIdArgument = Annotated[
    strawberry.ID, strawberry.argument(description="The run's id, as in `RefreshRun.id`.")
]
CoinsArgument = Annotated[
    list[strawberry.ID] | None,
    strawberry.argument(
        description="The ids of the coins to include, at most 500. Default: all. An id that is not "
        "stored fails with the code NOT_FOUND."
    ),
]
CurrenciesArgument = Annotated[
    list[strawberry.ID] | None,
    strawberry.argument(
        description="The codes of the currencies to include, at most 500. Default: all. A code "
        "that is not stored fails with the code NOT_FOUND."
    ),
]
From = Annotated[
    DateTime | None,
    strawberry.argument(
        name="from",
        description="The start of the range, inclusive. A bucket that begins before it is "
        "excluded. Default: the start of the stored history (for WEEK and MONTH, the start of the "
        "week or month that contains it).",
    ),
]
To = Annotated[
    DateTime | None,
    strawberry.argument(
        description="The end of the range, exclusive. A bucket that begins at or after it is "
        "excluded. Default: now."
    ),
]
First = Annotated[
    int | None,
    strawberry.argument(
        description="The maximum number of buckets in the result, 1 to 10,000, filled ones "
        "included; `next` starts the next page. Default: the whole range, which fails with the "
        "code RANGE_TOO_LARGE if it has more than 10,000 buckets."
    ),
]
FillArgument = Annotated[
    FillPolicy, strawberry.argument(description="What replaces a missing bucket.")
]
GranularityArgument = Annotated[
    Granularity,
    strawberry.argument(
        description="The length of a bucket, the time span that one price stands for."
    ),
]
OrderArgument = Annotated[SortDirection, strawberry.argument(description="The sort order by time.")]
PageSize = Annotated[
    int, strawberry.argument(description="The maximum number of items on this page, 1 to 500.")
]
After = Annotated[
    str | None,
    strawberry.argument(
        description="Return the items after this cursor: `pageInfo.endCursor` of the previous "
        "page. Default: start with the first item."
    ),
]
