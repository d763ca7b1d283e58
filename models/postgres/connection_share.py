"""Each operation's share of the pool, so that no caller takes all connections at once."""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from contextvars import ContextVar

_MOST = 3  # statements of one operation at a time, of a pool that has 20 connections

_UNSHARED = nullcontext()
_share: ContextVar[asyncio.Semaphore | None] = ContextVar("share", default=None)


def begin_share() -> None:
    """Let all reads that are begun from here on share a few connections."""
    _share.set(asyncio.Semaphore(_MOST))


def shared() -> AbstractAsyncContextManager[None]:
    """Wait until fewer than these are in use. No block may be within another."""
    return _share.get() or _UNSHARED
