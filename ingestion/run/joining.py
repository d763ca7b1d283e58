"""Whether a request is answered by the run that is under way. Pure."""

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
    """No run can start now. `retry_after` is in seconds, None where nobody can tell."""

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def busy_error(run_id: UUID, seconds_left: float | None) -> RefreshBusyError:
    """Tell that a run is under way which does not do what is asked for."""
    seconds = min(max(1, math.ceil(seconds_left or 0)), _LONGEST_WAIT)
    return RefreshBusyError(
        f"Run {run_id} is under way and does other work. Try again when it has ended, "
        f"in about {seconds} seconds.",
        seconds,
    )


@dataclass(frozen=True, slots=True)
class RunScope:
    """What a run does. `days` is None where it brings what is missing.

    `only_due`: it leaves out what is missing, but not to be asked for yet.
    """

    series: Names
    days: int | None
    rebuild: bool
    only_due: bool = False

    @classmethod
    def from_request(cls, request: dict[str, Any], series: Names) -> "RunScope":
        """Read what `note` wrote."""
        return cls(
            series,
            request.get("days"),
            request.get("rebuild", False),
            request.get("only_due", False),
        )

    def covers(self, other: "RunScope", history_days: int) -> bool:
        """Return True if this run covers `other`: its series, its days, and a rebuild if requested.

        Without days of its own, a run has `history_days`. A run of what is due covers no run of
        everything.
        """
        enough = (other.days or history_days) <= (self.days or history_days)
        whole = (self.rebuild or not other.rebuild) and (other.only_due or not self.only_due)
        return other.series <= self.series and enough and whole


def request_values(request: RefreshRequest) -> dict[str, Any]:
    """Write down what was asked for, without what was left out."""
    return {name: value for name, value in asdict(request).items() if value}


def new_run(
    request: RefreshRequest, trigger: RefreshTrigger, estimate: Estimate
) -> tuple[RefreshRun, list[RefreshRunItem]]:
    """Make the run, and an item for each of its series in the order of work."""
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
