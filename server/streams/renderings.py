"""Caches the JSON payloads of subscription events for subscribers with equal operations."""

import asyncio
from collections import deque

_MOST = 16_000_000  # bytes of the payloads of all events
_MOST_EACH = 32  # payloads of one event; further ones are not cached

Rendered = dict[bytes, bytes | asyncio.Task[bytes]]
"""The payloads of one event by the key of their operation; a task while one is computed."""


class Renderings:
    """Bounds the cached payloads of all events; the oldest are dropped first."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._payloads: deque[tuple[Rendered, bytes, int]] = deque()
        self.size = 0

    def has_room(self, rendered: Rendered) -> bool:
        """Return True if another payload of the event may be cached."""
        return len(rendered) < _MOST_EACH

    def store(self, rendered: Rendered, key: bytes, payload: bytes) -> None:
        """Replace the task of a payload by its result. Repeated calls do nothing."""
        if isinstance(rendered.get(key), bytes):
            return
        rendered[key] = payload
        self._payloads.append((rendered, key, len(payload)))
        self.size += len(payload)
        while self.size > self._most:
            oldest, operation, size = self._payloads.popleft()
            oldest.pop(operation, None)
            self.size -= size
