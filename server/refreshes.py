"""The refresher as GraphQL knows it."""

from collections.abc import Sequence
from uuid import UUID

from ingestion.outlook import BudgetExceededError
from ingestion.refresher import RefreshBusyError, Refresher
from models.tables import RefreshTrigger
from resolvers.errors import UnavailableError
from schema.plan import RefreshPlan
from server.plans import no_credits, request_of, shown_plan


class Refreshes:
    """The refresher as the mutation knows it."""

    def __init__(self, refresher: Refresher) -> None:
        self._refresher = refresher

    @property
    def coins(self) -> Sequence[str]:
        return self._refresher.coins

    @property
    def currencies(self) -> Sequence[str]:
        return self._refresher.currencies

    async def start(
        self,
        *,
        coins: Sequence[str] | None,
        currencies: Sequence[str] | None,
        days: int | None,
        rebuild: bool,
        key: str | None,
    ) -> tuple[UUID, bool]:
        request = request_of(coins, currencies, days, rebuild=rebuild)
        try:
            return await self._refresher.start(request, RefreshTrigger.MUTATION, key=key)
        except RefreshBusyError as error:
            raise UnavailableError(str(error), retry_after=error.retry_after) from error
        except BudgetExceededError as error:
            raise no_credits(error) from error

    async def plan(
        self,
        *,
        coins: Sequence[str] | None,
        currencies: Sequence[str] | None,
        days: int | None,
        rebuild: bool,
    ) -> RefreshPlan:
        request = request_of(coins, currencies, days, rebuild=rebuild)
        return shown_plan(await self._refresher.outlook(request))

    async def wait(self, run_id: UUID) -> None:
        await self._refresher.wait(run_id)
