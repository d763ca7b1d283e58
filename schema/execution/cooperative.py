"""An executor that shares the event loop with other operations, however large its own is."""

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
    """graphql-core's executor with cooperative scheduling.

    It starts no field, item or list unless the operation's share of the current turn has time left.
    Work that must wait becomes an awaitable, which graphql-core accepts in each of these places.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - graphql-core's own
        super().__init__(*arguments, **named)
        self._share = current_share()
        self._has_room = self._share.has_room  # called very often

    def execute_field(self, *arguments: Any) -> Any:  # noqa: ANN401 - graphql-core's own
        """Execute a field now, or in a later turn."""
        if self._has_room():
            return super().execute_field(*arguments)
        return self.later(partial(super().execute_field, *arguments))

    def complete_list_item_value(
        self,
        item: Any,  # noqa: ANN401 - graphql-core's own
        completed: list[Any],
        *more: Any,  # noqa: ANN401 - likewise
    ) -> bool:
        """Complete an item now, or all of it in a later turn.

        One coroutine for the whole item replaces one for each of its fields.
        """
        if self._has_room():
            return super().complete_list_item_value(item, completed, *more)
        alone: list[Any] = []
        complete = partial(super().complete_list_item_value, item, alone, *more)

        def complete_alone() -> Any:  # noqa: ANN401 - an item, or an awaitable of one
            complete()
            return alone[0]

        completed.append(self.later(complete_alone))
        return True

    async def complete_awaitable_value(self, *arguments: Any) -> Any:  # noqa: ANN401 - graphql-core's own
        """Complete the value of an asynchronous resolver.

        Each resolver runs in a task of its own, and many become ready at once.
        """
        if not self._has_room():
            try:
                await self._share.wait()
            except asyncio.CancelledError:
                for each in arguments:
                    if iscoroutine(each):  # the resolver's coroutine, which is never awaited
                        each.close()
                raise
        return await super().complete_awaitable_value(*arguments)

    def in_turn(self, complete: Callable[[], AwaitableOrValue[T]]) -> AwaitableOrValue[T]:
        """Run a piece of work now, or in a later turn."""
        return complete() if self._has_room() else self.later(complete)

    async def later(self, complete: Callable[[], AwaitableOrValue[T]]) -> T:
        """Run a piece of work in the next turn that has time left."""
        await self._share.wait()
        completed = complete()
        return await completed if isinstance(completed, Awaitable) else completed
