"""Refresh runs."""

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
from resolvers import runs as run_resolvers
from resolvers.live.run_watcher import RunState
from schema.context import Info
from schema.scalars import DateTime, moment
from schema.types.pagination import Connection


@strawberry.enum(description="The state of a refresh run.")
class RefreshStatus(Enum):
    """The states of a run."""

    RUNNING = strawberry.enum_value("RUNNING", description="The run is in progress.")
    SUCCEEDED = strawberry.enum_value("SUCCEEDED", description="All series were refreshed.")
    PARTIAL = strawberry.enum_value(
        "PARTIAL", description="Some series failed, completely or in part: see `items`."
    )
    FAILED = strawberry.enum_value(
        "FAILED",
        description="No series was refreshed, or the run was stopped by an error: see `error`.",
    )
    INTERRUPTED = strawberry.enum_value(
        "INTERRUPTED",
        description="The server process stopped during the run. What was already stored remains.",
    )


@strawberry.enum(description="The state of one series in a refresh run.")
class RefreshItemStatus(Enum):
    """The states of a series in a run."""

    PENDING = strawberry.enum_value("PENDING", description="The series has not been processed yet.")
    SUCCEEDED = strawberry.enum_value(
        "SUCCEEDED", description="All or nearly all of the requested data was received and stored."
    )
    PARTIAL = strawberry.enum_value(
        "PARTIAL",
        description="A large part of the requested data is missing from CoinGecko's responses: see "
        "`error`. What was received is stored.",
    )
    FAILED = strawberry.enum_value(
        "FAILED", description="Nothing was stored: see `error`. Prices stored before remain."
    )
    INTERRUPTED = strawberry.enum_value(
        "INTERRUPTED", description="The run ended before the series was processed."
    )


@strawberry.enum(description="What started a refresh run.")
class RefreshTrigger(Enum):
    """What starts a run."""

    MUTATION = strawberry.enum_value("MUTATION", description="The mutation `refreshPrices`.")
    COMMAND = strawberry.enum_value("COMMAND", description="The command `coingraph refresh`.")
    STARTUP = strawberry.enum_value(
        "STARTUP", description="The server at its start, for series without prices."
    )
    SCHEDULE = strawberry.enum_value("SCHEDULE", description="The server's own schedule.")


@strawberry.type(description="The result of one series in a refresh run.")
class RefreshRunItem:
    """The result of one series in a run."""

    coin: strawberry.ID = strawberry.field(description="The coin's id, for example `bitcoin`.")
    currency: strawberry.ID = strawberry.field(
        description="The currency's code, for example `usd`."
    )
    status: RefreshItemStatus = strawberry.field(description="The state of the series in the run.")
    reason: str = strawberry.field(
        description="Why the series is part of the run: one of the values of `RefreshReason`, as "
        "text."
    )
    calls: int = strawberry.field(
        description="The number of calls to CoinGecko for this series so far, including refused "
        "calls and retries."
    )
    retries: int = strawberry.field(description="The number of `calls` that were retries.")
    seconds_waited_for_rate_limit: float = strawberry.field(
        description="How long the run paused, in seconds, because CoinGecko answered calls for "
        "this series with 429 (too many requests) or with another refusal that names a time to "
        "wait. If calls for several series are refused at once, the pause counts for the first."
    )
    rows_inserted: int = strawberry.field(
        description="The number of hours stored for the first time."
    )
    rows_corrected: int = strawberry.field(
        description="The number of stored hours whose values changed."
    )
    duplicates_dropped: int = strawberry.field(
        description="The number of observations discarded because an earlier one in the same hour "
        "was used."
    )
    error: str | None = strawberry.field(
        description="Why the series failed, or which data was missing from the responses. Null if "
        "neither applies."
    )
    note: str | None = strawberry.field(
        description="Which parts of CoinGecko's responses were discarded, and why. Null if none "
        "were."
    )
    finished_at: DateTime | None = strawberry.field(
        description="The time when the series was finished. Null before."
    )

    @classmethod
    def from_row(cls, row: RefreshRunItemRow, series: SeriesRow) -> Self:
        """Build the object from a stored item and its series."""
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


@strawberry.type(description="One refresh of prices from CoinGecko, in the background.")
class RefreshRun:
    """A run, from a query or as an event of a subscription.

    `state` is the shared state of an event, None outside of subscriptions. Transports cache the
    encoded forms of the event in `rendered`, by everything they depend on.
    """

    id: strawberry.ID = strawberry.field(
        description="The run's id, a UUID. Ids sort by start time."
    )
    status: RefreshStatus = strawberry.field(description="The state of the run.")
    trigger: RefreshTrigger = strawberry.field(description="What started the run.")
    started_at: DateTime = strawberry.field(description="The time when the run started.")
    finished_at: DateTime | None = strawberry.field(
        description="The time when the run ended. Null while it is in progress."
    )
    planned_calls: int = strawberry.field(
        description="The number of calls to CoinGecko that the run needs, without retries."
    )
    completed_calls: int = strawberry.field(
        description="The number of planned calls that are done."
    )
    failed_calls: int = strawberry.field(
        description="The number of planned calls that failed finally or were abandoned."
    )
    retries: int = strawberry.field(
        description="The number of retries in addition to the planned calls: for series (see "
        "`items`), for newest prices and for coin metadata. The retries of a series are added "
        "when it is finished."
    )
    seconds_waited_for_rate_limit: float = strawberry.field(
        description="How long the run paused, in seconds, because CoinGecko answered with 429 (too "
        "many requests) or named a time to wait. The pauses of a series are added when it is "
        "finished."
    )
    rows_inserted: int = strawberry.field(
        description="The number of hours stored for the first time."
    )
    rows_corrected: int = strawberry.field(
        description="The number of stored hours whose values changed."
    )
    duplicates_dropped: int = strawberry.field(
        description="The number of observations discarded because an earlier one in the same hour "
        "was used."
    )
    estimated_seconds_left: float | None = strawberry.field(
        description="The estimated time until the run ends, in seconds, from its pace so far. Null "
        "once it has ended."
    )
    error: str | None = strawberry.field(
        description="Why the run ended early, as one sentence. Null if it did not."
    )
    note: str | None = strawberry.field(
        description="Which parts of CoinGecko's responses for newest prices were discarded, and "
        "how many `items` have a `note` of their own. Null if nothing was discarded."
    )
    state: strawberry.Private[RunState | None] = None
    rendered: strawberry.Private[dict[Hashable, bytes]] = field(default_factory=dict)

    @classmethod
    def from_row(cls, row: RefreshRunRow, now: datetime, state: RunState | None = None) -> Self:
        """Build the object from a stored run. The remaining time is relative to `now`."""
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

    @strawberry.field(description="The result of each series, in the order of processing.")
    async def items(
        self,
        info: Info,
        status: Annotated[
            RefreshItemStatus | None,
            strawberry.argument(description="Only items with this status. Default: all."),
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


@strawberry.type(description="One page of refresh runs, newest first.")
class RefreshRunConnection(Connection[RefreshRun]):
    """A page of runs."""

    @strawberry.field(description="The number of runs on all pages.")
    async def total_count(self, info: Info) -> int:
        return await run_resolvers.count(info.context.database, info.context.dependencies)


@strawberry.type(description="The result of `refreshPrices`.")
class RefreshPricesPayload:
    """The result of `refreshPrices`."""

    run: RefreshRun = strawberry.field(description="The run that was started or joined.")
    started: bool = strawberry.field(
        description="True if the request started a new run. False if it joined a run in progress, "
        "or if `idempotencyKey` was used before."
    )
