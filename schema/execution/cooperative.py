"""An executor that leaves turns of the event loop to others, however much an operation asks for."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import iscoroutine
from typing import Any, TypeVar

from graphql.pyutils import AwaitableOrValue
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from resolvers.scheduling.event_loop_turns import current_share

T = TypeVar("T")


class CooperativeExecutor(StrawberryGraphQLCoreExecutionContext):
    """graphql-core's executor, which begins no field, item or list for which its turn has no room.

    What has to wait becomes an awaitable: graphql-core takes one in each of these places.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - graphql-core's own
        super().__init__(*arguments, **named)
        self._share = current_share()
        self._has_room = self._share.has_room  # asked very often

    def execute_field(self, *asked: Any) -> Any:  # noqa: ANN401 - graphql-core's own
        if self._has_room():
            return super().execute_field(*asked)
        return self.later(partial(super().execute_field, *asked))

    def complete_list_item_value(
        self,
        item: Any,  # noqa: ANN401 - graphql-core's own
        completed: list[Any],
        *more: Any,  # noqa: ANN401 - likewise
    ) -> bool:
        """Complete an item, or leave it for later whole: a coroutine instead of many."""
        if self._has_room():
            return super().complete_list_item_value(item, completed, *more)
        alone: list[Any] = []
        complete = partial(super().complete_list_item_value, item, alone, *more)

        def complete_alone() -> Any:  # noqa: ANN401 - an item, or an awaitable of one
            complete()
            return alone[0]

        completed.append(self.later(complete_alone))
        return True

    async def complete_awaitable_value(self, *asked: Any) -> Any:  # noqa: ANN401 - graphql-core's own
        """Begin what a resolver has still to do: each is a task, and all of them are ready."""
        if not self._has_room():
            try:
                await self._share.wait()
            except asyncio.CancelledError:
                for each in asked:
                    if iscoroutine(each):  # what the resolver gave, which nobody will await
                        each.close()
                raise
        return await super().complete_awaitable_value(*asked)

    def in_turn(self, complete: Callable[[], AwaitableOrValue[T]]) -> AwaitableOrValue[T]:
        """Do a piece of the work at once, or when it is our turn."""
        return complete() if self._has_room() else self.later(complete)

    async def later(self, complete: Callable[[], AwaitableOrValue[T]]) -> T:
        await self._share.wait()
        completed = complete()
        return await completed if isinstance(completed, Awaitable) else completed
