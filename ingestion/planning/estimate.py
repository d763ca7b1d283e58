"""Estimates the duration of a refresh and its share of the month's credits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ingestion.planning.plan import RunPlan
from ingestion.planning.windows import LONGEST_CHART, SeriesPlan, plan_refresh
from ingestion.quota.credits import Budget
from models.history import history_start

_MOST_NAMED = 20  # coins, in a sentence


class BudgetExceededError(Exception):
    """Too few of the month's credits are left. The message names smaller refreshes that fit."""

    def __init__(self, message: str, resets_at: datetime) -> None:
        super().__init__(message)
        self.resets_at = resets_at


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimate of a run that has not started.

    `wait` is the time in seconds until its first call could be sent. `seconds_per_call` is the
    present interval between calls, which is shared with other processes.
    """

    run_plan: RunPlan
    budget: Budget
    seconds_per_call: float
    wait: float

    @property
    def calls(self) -> int:
        """The number of calls that the run would make."""
        return self.run_plan.calls

    @property
    def estimated_seconds(self) -> float:
        """The estimated duration of the run, 0.0 for a run without calls."""
        return self.wait + self.calls * self.seconds_per_call if self.calls else 0.0

    @property
    def credits_left(self) -> int | None:
        """The month's credits after the run, negative if it does not fit; None: unlimited."""
        return None if self.budget.left is None else self.budget.left - self.calls

    @property
    def fits(self) -> bool:
        """True if the month's credits cover the run."""
        return self.budget.allows(self.calls)

    @property
    def refusal(self) -> str | None:
        """Why the run would not start, and which smaller runs would. None if it would start."""
        left = self.budget.left
        if left is None or self.fits:
            return None
        options = " or ".join(what_fits(self.run_plan, left))
        return (
            f"This refresh needs {self.calls:,} calls, but {left:,} of {self.budget.monthly:,} "
            f"credits are left until {self.budget.resets_at:%Y-%m-%d}. "
            + (f"What would fit: {options}." if options else "No refresh would fit.")
        )

    def check(self) -> None:
        """Raise BudgetExceededError if the run does not fit."""
        if refusal := self.refusal:
            raise BudgetExceededError(refusal, self.budget.resets_at)


def what_fits(run_plan: RunPlan, left: int) -> list[str]:
    """List smaller refreshes that cost at most `left` credits, in terms of the refresh's input."""
    found = []
    shorter = _shorter(run_plan)
    if shorter.calls <= left and shorter.calls < run_plan.calls:
        found.append(f"days {_DAYS} of all {len(shorter.plans)} series ({shorter.calls:,} calls)")
    if fewer := _fewer_series(run_plan, left):
        found.append(_named(*fewer))
    if not found and (fewer := _fewer_series(shorter, left)):
        found.append(f"days {_DAYS} of {_named(*fewer)}")
    return found


_DAYS = LONGEST_CHART.days - 1  # always one call per series, whatever the minute


def _shorter(run_plan: RunPlan) -> RunPlan:
    """Plan the same run with the most days that one call returns."""
    plans = plan_refresh(
        [plan.state for plan in run_plan.plans],
        run_plan.now,
        currencies=(),  # the states are already ordered
        start=history_start(run_plan.now, _DAYS, run_plan.offered),
        offered=run_plan.offered,
        requested=True,
    )
    return RunPlan(plans, run_plan.metadata, run_plan.now, run_plan.offered)


def _named(coins: list[str], currencies: list[str], series: int, calls: int) -> str:
    named = ", ".join(coins[:_MOST_NAMED])
    if len(coins) > _MOST_NAMED:
        named += f" and the next {len(coins) - _MOST_NAMED:,}"
    return (
        f"coins {named} in currencies {', '.join(currencies)} ({series:,} series, {calls:,} calls)"
    )


def _fewer_series(run_plan: RunPlan, left: int) -> tuple[list[str], list[str], int, int] | None:
    """Find the leading coins and currencies that make the most series within `left` calls."""
    plans = run_plan.plans
    coins = list(dict.fromkeys(plan.state.coin_id for plan in plans))
    currencies = list(dict.fromkeys(plan.state.currency_code for plan in plans))
    metadata = set(run_plan.metadata)
    best: tuple[list[str], list[str], int, int] | None = None
    for number in range(1, len(currencies) + 1):
        chosen, calls, series = currencies[:number], run_plan.quotes, 0
        by_coin = _calls_by_coin(plans, chosen)
        for count, coin in enumerate(coins, 1):
            calls += by_coin[coin][1] + (coin in metadata)
            series += by_coin[coin][0]
            if calls > left:
                break
            if best is None or series > best[2]:
                best = coins[:count], chosen, series, calls
    return best


def _calls_by_coin(
    plans: Sequence[SeriesPlan], currencies: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """Return the number of series and of calls of each coin in these currencies."""
    counts = {plan.state.coin_id: (0, 0) for plan in plans}
    for plan in plans:
        if plan.state.currency_code in currencies:
            series, calls = counts[plan.state.coin_id]
            counts[plan.state.coin_id] = series + 1, calls + plan.calls
    return counts
