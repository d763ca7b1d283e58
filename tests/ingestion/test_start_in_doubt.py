"""A run whose start was committed, though the answer to the commit was lost."""

from typing import Any

import pytest

from ingestion import refresher as module
from ingestion.refresher import Refresher
from models.database import DatabaseUnavailableError
from models.tables import RefreshTrigger
from tests.ingestion.running import EVERYTHING, Deployment
from tests.ingestion.test_refresh_killed import until


async def test_it_does_not_stay_running(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresher = await deployment.process()
    insert = Refresher._insert  # noqa: SLF001 - where a commit can be lost

    async def lose_the_answer(*given: Any) -> Any:
        await insert(*given)
        raise DatabaseUnavailableError("The connection was cut.")

    monkeypatch.setattr(Refresher, "_insert", lose_the_answer)
    monkeypatch.setattr(module, "_BURIAL_PAUSES", (0.05,) * 400)
    with pytest.raises(DatabaseUnavailableError):
        await refresher.start(EVERYTHING, RefreshTrigger.MUTATION)
    assert await deployment.sql.fetchval("SELECT count(*) FROM refresh_run") == 1
    await until(deployment, "SELECT status = 'INTERRUPTED' FROM refresh_run")
    await refresher.stop()
