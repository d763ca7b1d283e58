"""What GraphQL needs of ingestion, of which it knows nothing; `server` brings the two together."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol
from uuid import UUID

import strawberry

from schema.scalars import DateTime


@strawberry.enum(description="Why a series is asked for.")
class RefreshReason(Enum):
    FIRST_LOAD = strawberry.enum_value("FIRST_LOAD", description="It has no prices yet.")
    ROUTINE = strawberry.enum_value(
        "ROUTINE", description="The last two days, which CoinGecko may have corrected."
    )
    GAP = strawberry.enum_value("GAP", description="Hours are missing within its history.")
    BACKFILL = strawberry.enum_value(
        "BACKFILL", description="Its history is to reach further back."
    )
    REQUESTED = strawberry.enum_value("REQUESTED", description="`days` were asked for.")
    REBUILD = strawberry.enum_value("REBUILD", description="`rebuild` was asked for.")


@strawberry.type(description="The range of one call.")
class PlannedWindow:
    from_: DateTime = strawberry.field(name="from", description="Its first moment.")
    to: DateTime = strawberry.field(
        description="Its end. The newest window reaches on to the moment of its call."
    )


@strawberry.type(description="What a refresh would ask of CoinGecko for one series.")
class PlannedSeries:
    coin: strawberry.ID = strawberry.field(description="The coin's id.")
    currency: strawberry.ID = strawberry.field(description="The currency's code.")
    reason: RefreshReason = strawberry.field(description="Why.")
    calls: int = strawberry.field(
        description="Calls for this series: one for each of `windows`, and one for `daily`."
    )
    windows: list[PlannedWindow] = strawberry.field(
        description="The ranges whose hours are asked for, the newest first."
    )
    daily: PlannedWindow | None = strawberry.field(
        description="The range whose days are asked for, those before the hours; null where that "
        "is not needed."
    )


@strawberry.type(
    description="CoinGecko's credits of this UTC month. Each call that it answers with prices or "
    "metadata costs one; a refused or failed call costs none."
)
class CreditBudget:
    spent: int = strawberry.field(
        description="What the calls of this deployment have cost since the month began, by "
        "refreshes or otherwise."
    )
    budget: int | None = strawberry.field(
        description="What may be spent in a month: COINGECKO_MONTHLY_CREDITS; null where that is "
        "not set, and nothing is refused."
    )
    left_after: int | None = strawberry.field(
        description="What this refresh would leave; negative where it does not fit, null without "
        "a budget."
    )
    resets_at: DateTime = strawberry.field(description="When the next month begins.")


@strawberry.type(description="What a refresh would do now. Asking for it does nothing.")
class RefreshPlan:
    calls: int = strawberry.field(
        description="Calls to CoinGecko in all, if none has to be tried again: those of `series`, "
        "`quoteCalls` and `metadataCalls`."
    )
    quote_calls: int = strawberry.field(
        description="Calls for all newest prices, with which a refresh begins."
    )
    metadata_calls: int = strawberry.field(
        description="Calls for coins' names, descriptions and pictures: of those that have none, "
        "or none newer than 30 days."
    )
    series: list[PlannedSeries] = strawberry.field(
        description="What each series needs, in the order of work."
    )
    seconds_per_call: float = strawberry.field(
        description="How far apart calls are now: more than usual for a while after CoinGecko said "
        "that there were too many."
    )
    estimated_seconds: float = strawberry.field(
        description="How long it would take at that rate, a pause that CoinGecko asked for "
        "included. Other calls meanwhile make it longer."
    )
    credits: CreditBudget = strawberry.field(description="What it costs of the month's credits.")
    fits: bool = strawberry.field(
        description="Whether the month's credits suffice. Where they do not, `refreshPrices` with "
        "the same input is refused."
    )
    refusal: str | None = strawberry.field(
        description="Why it would be refused, and what would fit, in one sentence; null when it "
        "fits."
    )


@dataclass(frozen=True, slots=True)
class RefreshScope:
    """What to refresh. None stands for everything tracked, or what is missing."""

    coins: tuple[str, ...] | None
    currencies: tuple[str, ...] | None
    days: int | None
    rebuild: bool
    only_due: bool


class RefreshService(Protocol):
    """Starts refreshes, and plans them."""

    @property
    def coins(self) -> Sequence[str]: ...

    @property
    def currencies(self) -> Sequence[str]: ...

    async def start(self, scope: RefreshScope, *, key: str | None) -> tuple[UUID, bool]:
        """Start a run or join one; its id, and whether it was started."""
        ...

    async def plan(self, scope: RefreshScope) -> RefreshPlan:
        """Tell what such a run would do now."""
        ...

    async def wait(self, run_id: UUID) -> None:
        """Return when the run has ended."""
        ...


class Plans:
    """The plans of one operation, which makes each of them once, however often it asks for it."""

    def __init__(self, service: RefreshService) -> None:
        self._service = service
        self._made: dict[RefreshScope, asyncio.Task[RefreshPlan]] = {}

    async def plan(self, scope: RefreshScope) -> RefreshPlan:
        task = self._made.get(scope)
        if task is None:
            task = asyncio.create_task(self._plan(scope))
            self._made[scope] = task
        return await task

    async def _plan(self, scope: RefreshScope) -> RefreshPlan:
        return await self._service.plan(scope)
