"""Limits on the open connections of this process, by address and in total."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network
from itertools import islice

from server.access.callers import caller_of
from server.config.addresses import is_within

_TRIES = 16  # idle connections to try when one must be closed
_PROXIES = "proxies"  # one name for all trusted proxies


class ConnectionSlot:
    """The slot of one connection, from `ConnectionLimits.acquire` to `release`.

    `close_idle` closes the connection between two requests. It returns False if the last response
    is still being read.
    """

    __slots__ = ("_close_idle", "_limits", "_name", "_released")

    def __init__(
        self, connection_limits: "ConnectionLimits", name: str, close_idle: Callable[[], bool]
    ) -> None:
        self._limits = connection_limits
        self._name = name
        self._close_idle = close_idle
        self._released = False

    def release(self) -> None:
        """Free the slot of an ended connection. Further calls do nothing."""
        if not self._released:
            self._released = True
            self._limits.release(self, self._name)

    def mark_idle(self) -> None:
        """Record that the connection waits for its next request."""
        if not self._released:
            self._limits.idle.setdefault(self._name, {})[self] = None
            if self._name != _PROXIES:
                self._limits.idle_clients[self] = None

    def mark_active(self) -> None:
        """Record that the connection is not idle."""
        same = self._limits.idle.get(self._name)
        if same is not None and self in same:
            del same[self]
            self._limits.idle_clients.pop(self, None)
            if not same:
                del self._limits.idle[self._name]

    def close_if_idle(self) -> bool:
        """Close the idle connection; return False if its last response is still being read."""
        if not self._close_idle():
            return False
        self.mark_active()
        self.release()
        return True


class ConnectionLimits:
    """Counts connections by caller (`caller_of`).

    `most`: connections of one caller, 0 for no limit. `room`: connections in total, None for no
    limit. Addresses within `proxies` stand for many callers and have no limit of their own. At a
    limit, a new connection replaces the one that has been idle for longest: of the same caller, or
    of any caller, those of proxies last. So idle connections may stay open for long.
    """

    def __init__(
        self,
        most: int,
        proxies: Sequence[IPv4Network | IPv6Network] = (),
        room: int | None = None,
    ) -> None:
        self._most = most
        self._room = room
        self._proxies = tuple(proxies)
        self._open: Counter[str] = Counter()
        self._total = 0
        # in the order in which they became idle
        self.idle: dict[str, dict[ConnectionSlot, None]] = {}
        self.idle_clients: dict[ConnectionSlot, None] = {}  # of all callers but the proxies

    def __len__(self) -> int:
        """The number of callers with open connections."""
        return len(self._open)

    def acquire(self, address: str | None, close_idle: Callable[[], bool]) -> ConnectionSlot | None:
        """Return the slot of a new connection, None if it exceeds the limit of its caller."""
        name = _PROXIES if is_within(address, self._proxies) else caller_of(address)
        full = 0 < self._most <= self._open.get(name, 0) and name != _PROXIES
        if full and not _close_one(self.idle.get(name, ())):
            return None
        short = self._room is not None and self._total >= self._room
        if short and not _close_one(self.idle_clients):
            _close_one(self.idle.get(_PROXIES, ()))
        self._open[name] += 1
        self._total += 1
        return ConnectionSlot(self, name, close_idle)

    def release(self, slot: ConnectionSlot, name: str) -> None:
        """Count a connection no longer; `ConnectionSlot.release` calls it once."""
        slot.mark_active()
        self._total -= 1
        self._open[name] -= 1
        if not self._open[name]:
            del self._open[name]


def _close_one(idle: Iterable[ConnectionSlot]) -> bool:
    return any(slot.close_if_idle() for slot in list(islice(idle, _TRIES)))
