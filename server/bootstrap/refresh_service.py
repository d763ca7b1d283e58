"""Implements the RefreshService of the GraphQL schema by the refresher."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import strawberry

from ingestion.planning.estimate import BudgetExceededError, Estimate
from ingestion.planning.plan import RefreshRequest
from ingestion.planning.windows import SeriesPlan, Window
from ingestion.run.refresher import RefreshBusyError, Refresher
from models.tables import RefreshTrigger
from resolvers.errors import UnavailableError
from schema.refresh_service import (
    CreditBudget,
    PlannedSeries,
    PlannedWindow,
    RefreshPlan,
    RefreshReason,
    RefreshScope,
)
from schema.scalars import DateTime


class IngestionRefreshService:
    """A RefreshService whose errors are those of the GraphQL schema."""

    def __init__(self, refresher: Refresher) -> None:
        self._refresher = refresher

    @property
    def coins(self) -> Sequence[str]:
        """The ids of the tracked coins."""
        return self._refresher.coins

    @property
    def currencies(self) -> Sequence[str]:
        """The codes of the tracked currencies."""
        return self._refresher.currencies

    async def start(self, scope: RefreshScope, *, key: str | None) -> tuple[UUID, bool]:
        """Start or join a run; return its id and True if it was started.

        Raises UnavailableError if another run is in progress or the credits are spent.
        """
        request = _request(scope)
        try:
            return await self._refresher.start(request, RefreshTrigger.MUTATION, key=key)
        except RefreshBusyError as error:
            raise UnavailableError(str(error), retry_after=error.retry_after) from error
        except BudgetExceededError as error:
            raise credits_spent_error(error) from error

    async def plan(self, scope: RefreshScope) -> RefreshPlan:
        """Return the planned calls of a refresh and their cost."""
        return to_refresh_plan(await self._refresher.estimate(_request(scope)))

    async def wait(self, run_id: UUID) -> None:
        """Wait for a run of this process to end."""
        await self._refresher.wait(run_id)


def _request(scope: RefreshScope) -> RefreshRequest:
    return RefreshRequest(scope.coins, scope.currencies, scope.days, scope.rebuild, scope.only_due)


def credits_spent_error(error: BudgetExceededError) -> UnavailableError:
    """Make the error of spent credits; `retry_after` is the start of the next month."""
    seconds = math.ceil((error.resets_at - datetime.now(UTC)).total_seconds())
    return UnavailableError(str(error), retry_after=max(1, seconds))


def to_refresh_plan(estimate: Estimate) -> RefreshPlan:
    """Convert a plan of ingestion into its GraphQL type."""
    run_plan, budget = estimate.run_plan, estimate.budget
    return RefreshPlan(
        calls=estimate.calls,
        quote_calls=run_plan.quotes,
        metadata_calls=len(run_plan.metadata),
        series=[_series(plan) for plan in run_plan.plans],
        seconds_per_call=estimate.seconds_per_call,
        estimated_seconds=estimate.estimated_seconds,
        credits=CreditBudget(
            spent=budget.spent,
            budget=budget.monthly,
            left_after=estimate.credits_left,
            resets_at=DateTime(budget.resets_at),
        ),
        fits=estimate.fits,
        refusal=estimate.refusal,
    )


def _series(plan: SeriesPlan) -> PlannedSeries:
    return PlannedSeries(
        coin=strawberry.ID(plan.state.coin_id),
        currency=strawberry.ID(plan.state.currency_code),
        reason=RefreshReason[plan.reason],
        calls=plan.calls,
        windows=[_window(window) for window in plan.windows],
        daily=_window(plan.daily) if plan.daily else None,
    )


def _window(window: Window) -> PlannedWindow:
    return PlannedWindow(from_=DateTime(window.start), to=DateTime(window.end))
