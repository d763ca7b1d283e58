"""A run whose start was committed, though the answer to the commit was lost."""

import asyncio
from typing import Any

import pytest

from ingestion.run import refresher as module
from ingestion.run.refresher import Refresher
from models.postgres.database import DatabaseUnavailableError
from models.tables import RefreshTrigger
from tests.ingestion.run.test_killed_processes import until
from tests.ingestion.running import EVERYTHING, Deployment


@pytest.mark.parametrize(
    "lost", [DatabaseUnavailableError("It was cut."), asyncio.CancelledError()]
)
async def test_it_does_not_stay_running(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, lost: BaseException
) -> None:
    """Though the database comes back only after the pauses have been used up."""
    refresher = await deployment.process()
    insert = Refresher._insert  # noqa: SLF001 - where a commit can be lost
    looking, looks = Refresher.mark_interrupted_runs, 0

    async def lose_the_answer(*given: Any) -> Any:
        await insert(*given)
        raise lost

    async def be_away(self: Refresher) -> bool:
        nonlocal looks
        looks += 1
        return looks > 9 and await looking(self)

    monkeypatch.setattr(Refresher, "_insert", lose_the_answer)
    monkeypatch.setattr(Refresher, "mark_interrupted_runs", be_away)
    monkeypatch.setattr(module, "_MARK_PAUSES", (0.01, 0.02))
    with pytest.raises(type(lost)):
        await refresher.start(EVERYTHING, RefreshTrigger.MUTATION)
    assert await deployment.sql.fetchval("SELECT count(*) FROM refresh_run") == 1
    await until(deployment, "SELECT status = 'INTERRUPTED' FROM refresh_run")
    await refresher.stop()
