"""The interface to refreshes, which `server` implements with `ingestion`, and its types."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol
from uuid import UUID

import strawberry

from schema.scalars import DateTime


@strawberry.enum(description="Why a refresh asks CoinGecko for a series.")
class RefreshReason(Enum):
    """The enum `RefreshReason`; see its description."""

    FIRST_LOAD = strawberry.enum_value("FIRST_LOAD", description="The series has no prices yet.")
    ROUTINE = strawberry.enum_value(
        "ROUTINE",
        description="The last two days are fetched again, because CoinGecko may have corrected "
        "them.",
    )
    GAP = strawberry.enum_value("GAP", description="Hours are missing within the stored history.")
    BACKFILL = strawberry.enum_value(
        "BACKFILL", description="The configured history starts before the stored one."
    )
    REQUESTED = strawberry.enum_value("REQUESTED", description="The request sets `days`.")
    REBUILD = strawberry.enum_value("REBUILD", description="The request sets `rebuild`.")


@strawberry.type(description="The time range of one call to CoinGecko.")
class PlannedWindow:
    """The type `PlannedWindow`; see its description."""

    from_: DateTime = strawberry.field(
        name="from", description="The start of the range, inclusive."
    )
    to: DateTime = strawberry.field(
        description="The end of the range, exclusive. The newest range extends to the moment of "
        "the call."
    )


@strawberry.type(description="The calls to CoinGecko that a refresh would make for one series.")
class PlannedSeries:
    """The type `PlannedSeries`; see its description."""

    coin: strawberry.ID = strawberry.field(description="The coin's id, for example `bitcoin`.")
    currency: strawberry.ID = strawberry.field(
        description="The currency's code, for example `usd`."
    )
    reason: RefreshReason = strawberry.field(description="Why the refresh asks for the series.")
    calls: int = strawberry.field(
        description="The number of calls for this series: one for each of `windows`, and one for "
        "`daily`."
    )
    windows: list[PlannedWindow] = strawberry.field(
        description="The ranges to fetch hourly prices for, newest first."
    )
    daily: PlannedWindow | None = strawberry.field(
        description="The range before the hourly history to fetch daily prices for. Null if none "
        "are needed."
    )


@strawberry.type(
    description="The use of CoinGecko API credits in the current calendar month, in UTC. Each call "
    "that CoinGecko answers with prices or metadata costs one credit; refused and failed calls "
    "cost none."
)
class CreditBudget:
    """The type `CreditBudget`; see its description."""

    spent: int = strawberry.field(
        description="The credits that this deployment has spent since the month began, by "
        "refreshes and all other calls."
    )
    budget: int | None = strawberry.field(
        description="The credits that may be spent in a month: the setting "
        "COINGECKO_MONTHLY_CREDITS. Null if it is not set; then there is no limit."
    )
    left_after: int | None = strawberry.field(
        description="The credits that would remain after this refresh. Negative if it does not "
        "fit, null without a budget."
    )
    resets_at: DateTime = strawberry.field(
        description="The start of the next month, when the count restarts."
    )


@strawberry.type(description="What a refresh would do now. Reading it changes nothing.")
class RefreshPlan:
    """The type `RefreshPlan`; see its description."""

    calls: int = strawberry.field(
        description="The number of calls to CoinGecko without retries: the calls of `series`, "
        "`quoteCalls` and `metadataCalls`."
    )
    quote_calls: int = strawberry.field(
        description="The number of calls for the newest prices of all series, with which a refresh "
        "starts."
    )
    metadata_calls: int = strawberry.field(
        description="The number of calls for the names, descriptions and logos of coins whose "
        "metadata is missing or older than 30 days."
    )
    series: list[PlannedSeries] = strawberry.field(
        description="The calls that each series needs, in the order of processing."
    )
    seconds_per_call: float = strawberry.field(
        description="The current interval between calls, in seconds. It is longer for a while "
        "after CoinGecko has answered with 429 (too many requests)."
    )
    estimated_seconds: float = strawberry.field(
        description="The estimated duration in seconds, including a pause that CoinGecko has "
        "demanded. Other calls in the meantime extend it."
    )
    credits: CreditBudget = strawberry.field(description="The effect on the month's credits.")
    fits: bool = strawberry.field(
        description="True if the month's credits suffice. If false, `refreshPrices` rejects the "
        "same input."
    )
    refusal: str | None = strawberry.field(
        description="Why `refreshPrices` would reject this input, and what would fit, as one "
        "sentence. Null if it fits."
    )


@dataclass(frozen=True, slots=True)
class RefreshScope:
    """What to refresh. None means everything tracked, and for `days` what is missing."""

    coins: tuple[str, ...] | None
    currencies: tuple[str, ...] | None
    days: int | None
    rebuild: bool
    only_due: bool


class RefreshService(Protocol):
    """Starts and plans refreshes."""

    @property
    def coins(self) -> Sequence[str]:
        """The ids of the tracked coins."""
        ...

    @property
    def currencies(self) -> Sequence[str]:
        """The codes of the tracked currencies."""
        ...

    async def start(self, scope: RefreshScope, *, key: str | None) -> tuple[UUID, bool]:
        """Start or join a run. Return its id, and True if it was started."""
        ...

    async def plan(self, scope: RefreshScope) -> RefreshPlan:
        """Return what such a run would do now."""
        ...

    async def wait(self, run_id: UUID) -> None:
        """Return when the run has ended."""
        ...


class RefreshPlanCache:
    """The refresh plans of one operation: each scope is planned once."""

    def __init__(self, service: RefreshService) -> None:
        self._service = service
        self._made: dict[RefreshScope, asyncio.Task[RefreshPlan]] = {}

    async def plan(self, scope: RefreshScope) -> RefreshPlan:
        """Return the plan of `scope`."""
        task = self._made.get(scope)
        if task is None:
            task = asyncio.create_task(self._plan(scope))
            self._made[scope] = task
        return await task

    async def _plan(self, scope: RefreshScope) -> RefreshPlan:
        return await self._service.plan(scope)
