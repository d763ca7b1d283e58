"""Arguments that several fields take, and the enums of these."""

from enum import Enum
from typing import Annotated

import strawberry

from schema.scalars import DateTime

USD = strawberry.ID("usd")


@strawberry.enum(description="How long a bucket is.")
class Granularity(Enum):
    HOUR = strawberry.enum_value(
        "HOUR", description="An hour. Its price is the earliest observation in it."
    )
    DAY = strawberry.enum_value(
        "DAY",
        description="A UTC day. Its price is the mean of its hours; before the hourly history it "
        "is CoinGecko's one price at midnight, and `samples` is 1.",
    )
    WEEK = strawberry.enum_value(
        "WEEK",
        description="An ISO week: seven UTC days from Monday on. It is made of the days there are, "
        "and its price is the mean of all their hours.",
    )
    MONTH = strawberry.enum_value(
        "MONTH",
        description="A calendar month in UTC. It is made of the days there are, and its price is "
        "the mean of all their hours.",
    )


@strawberry.enum(description="What stands in for a bucket that is missing.")
class FillPolicy(Enum):
    NONE = strawberry.enum_value("NONE", description="Nothing: there is no such bucket.")
    NULL = strawberry.enum_value(
        "NULL",
        description="A bucket of nulls. So there is every bucket that begins in the range and not "
        "in the future.",
    )
    PREVIOUS = strawberry.enum_value(
        "PREVIOUS",
        description="The same buckets, with the last known price as `price`, be it from before "
        "`from`, so that it does not matter where a page begins. Null before the series' first "
        "price, and everything but `price` is null.",
    )


@strawberry.enum(description="The order of time.")
class SortDirection(Enum):
    ASC = strawberry.enum_value("ASC", description="The oldest first.")
    DESC = strawberry.enum_value("DESC", description="The newest first.")


CoinArgument = Annotated[
    strawberry.ID, strawberry.argument(description="The coin's id, such as `bitcoin`.")
]
CurrencyArgument = Annotated[
    strawberry.ID, strawberry.argument(description="The currency's code, such as `usd`.")
]
CoinsArgument = Annotated[
    list[strawberry.ID] | None,
    strawberry.argument(description="Only these coins, at most 500 names; without it, all."),
]
CurrenciesArgument = Annotated[
    list[strawberry.ID] | None,
    strawberry.argument(description="Only these currencies, at most 500; without it, all."),
]
From = Annotated[
    DateTime | None,
    strawberry.argument(
        name="from",
        description="The first moment of the range: a bucket that begins before it is not part "
        "of it. Without it, the start of the kept history (of a week or month, that of the one it "
        "begins in).",
    ),
]
To = Annotated[
    DateTime | None,
    strawberry.argument(
        description="The end of the range: a bucket that begins then or later is not part of it. "
        "Without it, now."
    ),
]
First = Annotated[
    int | None,
    strawberry.argument(
        description="How many buckets at most, up to 10,000; `next` tells where to go on. "
        "Without it the whole range, which may then have no more than 10,000 buckets. With `fill`, "
        "filled buckets count too."
    ),
]
FillArgument = Annotated[
    FillPolicy, strawberry.argument(description="What stands in for a bucket that is missing.")
]
GranularityArgument = Annotated[
    Granularity, strawberry.argument(description="How long a bucket is.")
]
OrderArgument = Annotated[SortDirection, strawberry.argument(description="The order of time.")]
PageSize = Annotated[int, strawberry.argument(description="How many at most, up to 500.")]
After = Annotated[
    str | None,
    strawberry.argument(description="Go on behind this cursor: the last `pageInfo.endCursor`."),
]
