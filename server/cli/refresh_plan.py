"""`coingraph refresh --dry-run`: prints the plan of a refresh."""

from datetime import datetime

from rich.console import Console
from rich.table import Table

from ingestion.planning.estimate import Estimate
from ingestion.planning.windows import Window
from server.cli.startup import FAILED


def table_console() -> Console:
    """Return a console that does not shrink tables in files and pipes."""
    console = Console(soft_wrap=True)
    return console if console.is_terminal else Console(soft_wrap=True, width=160)


def show_plan(estimate: Estimate) -> int:
    """Print the planned calls and their cost; return the exit status: 2 if it is refused."""
    run_plan = estimate.run_plan
    table = Table("coin", "currency", "reason", "calls", "hours", "days before", box=None)
    for plan in run_plan.plans:
        table.add_row(
            plan.state.coin_id,
            plan.state.currency_code,
            plan.reason,
            str(plan.calls),
            ", ".join(_range(window) for window in plan.windows),
            _range(plan.daily) if plan.daily else "",
        )
    console = table_console()
    console.print(table)
    daily = sum(plan.daily is not None for plan in run_plan.plans)
    minutes = estimate.estimated_seconds / 60
    console.print(
        f"{estimate.calls} calls, {len(run_plan.metadata)} of them for coins' metadata, "
        f"{daily} for the days before the hours and {run_plan.quotes} for all newest prices: "
        f"about {minutes:,.1f} minutes at {60 / estimate.seconds_per_call:,.1f} calls a minute."
    )
    console.print(_credits(estimate))
    if estimate.refusal:
        console.print(estimate.refusal, markup=False)
        return FAILED
    return 0


def _credits(estimate: Estimate) -> str:
    budget = estimate.budget
    if budget.monthly is None:
        return f"{budget.spent:,} credits spent this month; COINGECKO_MONTHLY_CREDITS is not set."
    return (
        f"{budget.spent:,} of {budget.monthly:,} credits spent this month; this would leave "
        f"{estimate.credits_left:,} until {_moment(budget.resets_at)}."
    )


def _range(window: Window) -> str:
    return f"{_moment(window.start)} to {_moment(window.end)}"


def _moment(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M}Z"
