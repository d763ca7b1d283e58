"""The refresher as GraphQL knows it."""

from collections.abc import Sequence
from uuid import UUID

from ingestion.planning.estimate import BudgetExceededError
from ingestion.planning.plan import RefreshRequest
from ingestion.run.refresher import RefreshBusyError, Refresher
from models.tables import RefreshTrigger
from resolvers.errors import UnavailableError
from schema.refresh_service import RefreshScope
from schema.types.refresh_plan import RefreshPlan
from server.plans import no_credits, shown_plan


class Refreshes:
    """A RefreshService: what goes wrong in it is told as clients are told."""

    def __init__(self, refresher: Refresher) -> None:
        self._refresher = refresher

    @property
    def coins(self) -> Sequence[str]:
        return self._refresher.coins

    @property
    def currencies(self) -> Sequence[str]:
        return self._refresher.currencies

    async def start(self, scope: RefreshScope, *, key: str | None) -> tuple[UUID, bool]:
        request = _request(scope)
        try:
            return await self._refresher.start(request, RefreshTrigger.MUTATION, key=key)
        except RefreshBusyError as error:
            raise UnavailableError(str(error), retry_after=error.retry_after) from error
        except BudgetExceededError as error:
            raise no_credits(error) from error

    async def plan(self, scope: RefreshScope) -> RefreshPlan:
        return shown_plan(await self._refresher.outlook(_request(scope)))

    async def wait(self, run_id: UUID) -> None:
        await self._refresher.wait(run_id)


def _request(scope: RefreshScope) -> RefreshRequest:
    return RefreshRequest(scope.coins, scope.currencies, scope.days, scope.rebuild, scope.only_due)
