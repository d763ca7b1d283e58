"""Decides whether a request can join the run in progress. Pure."""

import math
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from ingestion.planning.estimate import Estimate
from ingestion.planning.plan import RefreshRequest
from models.runs import new_run_id
from models.tables import (
    ItemStatus,
    RefreshRun,
    RefreshRunItem,
    RefreshStatus,
    RefreshTrigger,
)

_LONGEST_WAIT = 3600

Names = AbstractSet[tuple[str, str]]  # of series: (coin, currency)


class RefreshBusyError(Exception):
    """No run can start now. `retry_after` is in seconds, None if it is unknown."""

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def busy_error(run_id: UUID, seconds_left: float | None) -> RefreshBusyError:
    """Create the error for a request that the run in progress does not cover."""
    seconds = min(max(1, math.ceil(seconds_left or 0)), _LONGEST_WAIT)
    return RefreshBusyError(
        f"Run {run_id} is in progress and does not cover this request. Try again when it has "
        f"ended, in about {seconds} seconds.",
        seconds,
    )


@dataclass(frozen=True, slots=True)
class RunScope:
    """What a run covers.

    `series` are its (coin, currency) pairs. `days` is None if it fetches what is missing.
    `only_due`: it leaves out what is missing but not due to be requested.
    """

    series: Names
    days: int | None
    rebuild: bool
    only_due: bool = False

    @classmethod
    def from_request(cls, request: dict[str, Any], series: Names) -> "RunScope":
        """Create a scope from the values that `request_values` returned."""
        return cls(
            series,
            request.get("days"),
            request.get("rebuild", False),
            request.get("only_due", False),
        )

    def covers(self, other: "RunScope", history_days: int) -> bool:
        """Return True if this run covers `other`: its series, its days, and a rebuild if requested.

        A run without `days` counts as `history_days`. A run of what is due does not cover a run of
        everything that is missing.
        """
        enough = (other.days or history_days) <= (self.days or history_days)
        whole = (self.rebuild or not other.rebuild) and (other.only_due or not self.only_due)
        return other.series <= self.series and enough and whole


def request_values(request: RefreshRequest) -> dict[str, Any]:
    """Return the values of a request that differ from their defaults, for `refresh_run.request`."""
    return {name: value for name, value in asdict(request).items() if value}


def new_run(
    request: RefreshRequest, trigger: RefreshTrigger, estimate: Estimate
) -> tuple[RefreshRun, list[RefreshRunItem]]:
    """Create the row of a run, and an item row per series, in the order of work."""
    run_plan = estimate.run_plan
    run = RefreshRun(
        id=new_run_id(),
        status=RefreshStatus.RUNNING,
        trigger=trigger,
        request=request_values(replace(request, only_due=run_plan.withheld)),
        started_at=datetime.now(UTC),
        planned_calls=run_plan.calls,
        seconds_per_call=estimate.seconds_per_call,
    )
    items = [
        RefreshRunItem(
            run_id=run.id,
            series_id=plan.state.series_id,
            position=position,
            status=ItemStatus.PENDING,
            reason=plan.reason,
        )
        for position, plan in enumerate(run_plan.plans)
    ]
    return run, items
