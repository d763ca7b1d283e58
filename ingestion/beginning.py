"""What is written of a run when it begins."""

from dataclasses import replace
from datetime import UTC, datetime

from ingestion.joining import note
from ingestion.outlook import Outlook
from ingestion.preparing import RefreshRequest
from models.runs import new_run_id
from models.tables import (
    ItemStatus,
    RefreshRun,
    RefreshRunItem,
    RefreshStatus,
    RefreshTrigger,
)


def first_rows(
    request: RefreshRequest, trigger: RefreshTrigger, outlook: Outlook
) -> tuple[RefreshRun, list[RefreshRunItem]]:
    """Make the run, and an item for each of its series in the order of work."""
    preparation = outlook.preparation
    run = RefreshRun(
        id=new_run_id(),
        status=RefreshStatus.RUNNING,
        trigger=trigger,
        request=note(replace(request, only_due=preparation.withheld)),
        started_at=datetime.now(UTC),
        planned_calls=preparation.calls,
        seconds_per_call=outlook.seconds_per_call,
    )
    items = [
        RefreshRunItem(
            run_id=run.id,
            series_id=plan.state.series_id,
            position=position,
            status=ItemStatus.PENDING,
            reason=plan.reason,
        )
        for position, plan in enumerate(preparation.plans)
    ]
    return run, items
