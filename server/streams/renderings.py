"""Events of subscriptions as JSON, kept for other subscribers who ask the same of them."""

import asyncio
from collections import deque

_MOST = 16_000_000  # bytes of all events together
_MOST_EACH = 32  # forms of one event; a further one is made for who asks for it, and not kept

Rendered = dict[bytes, bytes | asyncio.Task[bytes]]
"""The forms of one event by what they depend on. A task makes one."""


class Renderings:
    """Bounds what is kept of all events: those that were made first are dropped first."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._kept: deque[tuple[Rendered, bytes, int]] = deque()
        self.size = 0

    def has_room(self, rendered: Rendered) -> bool:
        """Tell whether one more form of an event may be kept."""
        return len(rendered) < _MOST_EACH

    def store(self, rendered: Rendered, key: bytes, payload: bytes) -> None:
        """Replace the task that made a form by what it made. Several may call it for the same."""
        if isinstance(rendered.get(key), bytes):
            return
        rendered[key] = payload
        self._kept.append((rendered, key, len(payload)))
        self.size += len(payload)
        while self.size > self._most:
            oldest, form, size = self._kept.popleft()
            oldest.pop(form, None)
            self.size -= size
