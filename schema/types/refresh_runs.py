"""Refresh runs, as clients see them."""

from collections.abc import Hashable
from dataclasses import field
from datetime import datetime
from enum import Enum
from typing import Annotated, Self
from uuid import UUID

import strawberry

from models.runs import seconds_left
from models.tables import RefreshRun as RefreshRunRow
from models.tables import RefreshRunItem as RefreshRunItemRow
from models.tables import Series as SeriesRow
from resolvers import runs as answers
from resolvers.live.run_watcher import RunState
from schema.context import Info
from schema.scalars import DateTime, moment
from schema.types.pagination import Connection


@strawberry.enum(description="How a run stands.")
class RefreshStatus(Enum):
    RUNNING = strawberry.enum_value("RUNNING", description="It is under way.")
    SUCCEEDED = strawberry.enum_value("SUCCEEDED", description="Every series was brought.")
    PARTIAL = strawberry.enum_value(
        "PARTIAL", description="Some series failed, or parts of them: see `items`."
    )
    FAILED = strawberry.enum_value("FAILED", description="No series was brought, or see `error`.")
    INTERRUPTED = strawberry.enum_value(
        "INTERRUPTED", description="The server stopped meanwhile. What was stored stays."
    )


@strawberry.enum(description="What became of one series in a run.")
class RefreshItemStatus(Enum):
    PENDING = strawberry.enum_value("PENDING", description="Its turn has not come.")
    SUCCEEDED = strawberry.enum_value(
        "SUCCEEDED", description="Nearly all that was asked for came, and is stored."
    )
    PARTIAL = strawberry.enum_value(
        "PARTIAL",
        description="What came is stored, but much of what was asked for did not: see `error`.",
    )
    FAILED = strawberry.enum_value("FAILED", description="See `error`; what was there stays.")
    INTERRUPTED = strawberry.enum_value("INTERRUPTED", description="The run ended before.")


@strawberry.enum(description="Who asked for a run.")
class RefreshTrigger(Enum):
    MUTATION = strawberry.enum_value("MUTATION", description="The mutation `refreshPrices`.")
    COMMAND = strawberry.enum_value("COMMAND", description="The command `coingraph refresh`.")
    STARTUP = strawberry.enum_value("STARTUP", description="The server, for series without prices.")
    SCHEDULE = strawberry.enum_value("SCHEDULE", description="The server's own schedule.")


@strawberry.type(description="What became of one series in a run.")
class RefreshRunItem:
    coin: strawberry.ID = strawberry.field(description="The coin's id.")
    currency: strawberry.ID = strawberry.field(description="The currency's code.")
    status: RefreshItemStatus = strawberry.field(description="How it stands.")
    reason: str = strawberry.field(
        description="Why it is asked for: FIRST_LOAD, ROUTINE, GAP, BACKFILL, REQUESTED, REBUILD."
    )
    calls: int = strawberry.field(
        description="Calls to CoinGecko made for it so far, refused ones and retries included."
    )
    retries: int = strawberry.field(description="Those of its calls that were made again.")
    seconds_waited_for_rate_limit: float = strawberry.field(
        description="Seconds by which the run had to pause because CoinGecko answered its calls "
        "with 429 (too many requests), or with another refusal that names a time to wait. Where "
        "calls for several series are refused at once, the pause counts for the first."
    )
    rows_inserted: int = strawberry.field(description="Hours that were new.")
    rows_corrected: int = strawberry.field(description="Hours that changed.")
    duplicates_dropped: int = strawberry.field(
        description="Later observations of an hour, of which the earliest is kept."
    )
    error: str | None = strawberry.field(description="Why it failed, or what did not come.")
    note: str | None = strawberry.field(
        description="What was not kept of CoinGecko's answers, and why; null where all was."
    )
    finished_at: DateTime | None = strawberry.field(description="When it was done.")

    @classmethod
    def from_row(cls, row: RefreshRunItemRow, series: SeriesRow) -> Self:
        return cls(
            coin=strawberry.ID(series.coin_id),
            currency=strawberry.ID(series.currency_code),
            status=RefreshItemStatus[row.status],
            reason=row.reason,
            calls=row.calls,
            retries=row.retries,
            seconds_waited_for_rate_limit=row.seconds_waited,
            rows_inserted=row.rows_inserted,
            rows_corrected=row.rows_corrected,
            duplicates_dropped=row.duplicates_dropped,
            error=row.error,
            note=row.note,
            finished_at=moment(row.finished_at),
        )


@strawberry.type(description="One refresh of prices from CoinGecko.")
class RefreshRun:
    """`state` is what it was made of where it is one event for many subscribers; `rendered` is
    where a transport keeps what it has encoded of that event, by whatever it was asked.
    """

    id: strawberry.ID = strawberry.field(description="Its id; ids sort by time.")
    status: RefreshStatus = strawberry.field(description="How it stands.")
    trigger: RefreshTrigger = strawberry.field(description="Who asked for it.")
    started_at: DateTime = strawberry.field(description="When it began.")
    finished_at: DateTime | None = strawberry.field(description="When it ended.")
    planned_calls: int = strawberry.field(
        description="Calls to CoinGecko it takes if none has to be made again."
    )
    completed_calls: int = strawberry.field(description="Those of them that are done.")
    failed_calls: int = strawberry.field(
        description="Those of them that failed for good or were given up."
    )
    retries: int = strawberry.field(
        description="Calls that were made again, besides the planned ones: for its series (see "
        "`items`), for newest prices and for coins' metadata. A series' count once it is done."
    )
    seconds_waited_for_rate_limit: float = strawberry.field(
        description="Seconds by which the run had to pause because CoinGecko answered with 429 "
        "(too many requests) or named a time to wait, counted as `retries` are."
    )
    rows_inserted: int = strawberry.field(description="Hours that were new.")
    rows_corrected: int = strawberry.field(description="Hours that changed.")
    duplicates_dropped: int = strawberry.field(
        description="Later observations of an hour, of which the earliest is kept."
    )
    estimated_seconds_left: float | None = strawberry.field(
        description="How long it will still take at its pace so far; null when it has ended."
    )
    error: str | None = strawberry.field(description="Why it ended early, in one sentence.")
    note: str | None = strawberry.field(
        description="What was not kept of CoinGecko's answers for newest prices, and how many "
        "`items` have a note of their own; null where all was kept."
    )
    state: strawberry.Private[RunState | None] = None
    rendered: strawberry.Private[dict[Hashable, bytes]] = field(default_factory=dict)

    @classmethod
    def from_row(cls, row: RefreshRunRow, now: datetime, state: RunState | None = None) -> Self:
        return cls(
            id=strawberry.ID(str(row.id)),
            status=RefreshStatus[row.status],
            trigger=RefreshTrigger[row.trigger],
            started_at=DateTime(row.started_at),
            finished_at=moment(row.finished_at),
            planned_calls=row.planned_calls,
            completed_calls=row.completed_calls,
            failed_calls=row.failed_calls,
            retries=row.retries,
            seconds_waited_for_rate_limit=row.seconds_waited,
            rows_inserted=row.rows_inserted,
            rows_corrected=row.rows_corrected,
            duplicates_dropped=row.duplicates_dropped,
            estimated_seconds_left=seconds_left(row, now),
            error=row.error,
            note=row.note,
            state=state,
        )

    @strawberry.field(description="What became of each series, in the order of work.")
    async def items(
        self,
        info: Info,
        status: Annotated[
            RefreshItemStatus | None, strawberry.argument(description="Only those that stand so.")
        ] = strawberry.UNSET,
    ) -> list[RefreshRunItem]:
        if self.state is None:
            rows = await info.context.loaders.run_items.load(UUID(self.id))
        else:
            rows = await self.state.items(info.context.database)
        return [
            RefreshRunItem.from_row(item, series)
            for item, series in rows
            if not status or item.status == status.name
        ]


@strawberry.type(description="A page of runs, the newest first.")
class RefreshRunConnection(Connection[RefreshRun]):
    @strawberry.field(description="How many runs there are on all pages.")
    async def total_count(self, info: Info) -> int:
        return await answers.count(info.context.database, info.context.footprint)


@strawberry.type(description="The run that a request started or joined.")
class RefreshPricesPayload:
    run: RefreshRun = strawberry.field(description="The run.")
    started: bool = strawberry.field(
        description="False where a run that does this was under way already, or the key has had "
        "its run."
    )
