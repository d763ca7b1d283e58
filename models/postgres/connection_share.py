"""Limits the connections of one operation, so that no caller takes the whole pool."""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from contextvars import ContextVar

_MOST = 3  # statements of one operation at a time

_UNSHARED = nullcontext()
_share: ContextVar[asyncio.Semaphore | None] = ContextVar("share", default=None)


def limit_operation_connections() -> None:
    """Limit the concurrent reads of the current context, which is one operation's, to `_MOST`."""
    _share.set(asyncio.Semaphore(_MOST))


def operation_share() -> AbstractAsyncContextManager[None]:
    """Wait for one of the operation's connections; held for the block. Blocks must not nest."""
    return _share.get() or _UNSHARED
