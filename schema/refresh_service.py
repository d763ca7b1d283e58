"""What GraphQL needs of ingestion, of which it knows nothing; `server` brings the two together."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from schema.types.refresh_plan import RefreshPlan


@dataclass(frozen=True, slots=True)
class RefreshScope:
    """What to refresh. None stands for everything tracked, or what is missing."""

    coins: tuple[str, ...] | None
    currencies: tuple[str, ...] | None
    days: int | None
    rebuild: bool
    only_due: bool


class RefreshService(Protocol):
    """Starts refreshes, and plans them."""

    @property
    def coins(self) -> Sequence[str]: ...

    @property
    def currencies(self) -> Sequence[str]: ...

    async def start(self, scope: RefreshScope, *, key: str | None) -> tuple[UUID, bool]:
        """Start a run or join one; its id, and whether it was started."""
        ...

    async def plan(self, scope: RefreshScope) -> RefreshPlan:
        """Tell what such a run would do now."""
        ...

    async def wait(self, run_id: UUID) -> None:
        """Return when the run has ended."""
        ...


class Plans:
    """The plans of one operation, which makes each of them once, however often it asks for it."""

    def __init__(self, service: RefreshService) -> None:
        self._service = service
        self._made: dict[RefreshScope, asyncio.Task[RefreshPlan]] = {}

    async def plan(self, scope: RefreshScope) -> RefreshPlan:
        task = self._made.get(scope)
        if task is None:
            task = asyncio.create_task(self._plan(scope))
            self._made[scope] = task
        return await task

    async def _plan(self, scope: RefreshScope) -> RefreshPlan:
        return await self._service.plan(scope)
