"""Between ingestion and what clients see of a refresh that has not begun."""

import math
from datetime import UTC, datetime

import strawberry

from ingestion.planning.estimate import BudgetExceededError, Outlook
from ingestion.planning.windows import SeriesPlan, Window
from resolvers.errors import UnavailableError
from schema.scalars import DateTime
from schema.types.refresh_plan import (
    CreditBudget,
    PlannedSeries,
    PlannedWindow,
    RefreshPlan,
    RefreshReason,
)


def no_credits(error: BudgetExceededError) -> UnavailableError:
    """Tell a scheduler to come back when the next month begins."""
    seconds = math.ceil((error.resets_at - datetime.now(UTC)).total_seconds())
    return UnavailableError(str(error), retry_after=max(1, seconds))


def shown_plan(outlook: Outlook) -> RefreshPlan:
    preparation, budget = outlook.preparation, outlook.budget
    return RefreshPlan(
        calls=outlook.calls,
        quote_calls=preparation.quotes,
        metadata_calls=len(preparation.metadata),
        series=[_series(plan) for plan in preparation.plans],
        seconds_per_call=outlook.seconds_per_call,
        estimated_seconds=outlook.estimated_seconds,
        credits=CreditBudget(
            spent=budget.spent,
            budget=budget.monthly,
            left_after=outlook.credits_left,
            resets_at=DateTime(budget.resets_at),
        ),
        fits=outlook.fits,
        refusal=outlook.refusal,
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
