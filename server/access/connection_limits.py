"""How many connections are open in this process, by address, and which of them are idle."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network
from itertools import islice

from server.access.callers import caller_of
from server.config.addresses import is_within

_LOOKS = 16  # idle connections that are looked at to close one
_PROXIES = "proxies"  # one name for all: no account of an address


class Place:
    """The place of one connection, from `Crowds.enter` to `leave`.

    `close_idle` closes the connection between two requests, and returns False where its last answer
    is still being read.
    """

    __slots__ = ("_close_idle", "_crowds", "_left", "_name")

    def __init__(self, crowds: "Crowds", name: str, close_idle: Callable[[], bool]) -> None:
        self._crowds = crowds
        self._name = name
        self._close_idle = close_idle
        self._left = False

    def leave(self) -> None:
        """Note that the connection has ended. Further calls do nothing."""
        if not self._left:
            self._left = True
            self._crowds.leave(self, self._name)

    def rest(self) -> None:
        """Note that the connection waits for its next request."""
        if not self._left:
            self._crowds.idle.setdefault(self._name, {})[self] = None
            if self._name != _PROXIES:
                self._crowds.idle_clients[self] = None

    def wake(self) -> None:
        """Note that the connection is not idle any longer, if it was."""
        same = self._crowds.idle.get(self._name)
        if same is not None and self in same:
            del same[self]
            self._crowds.idle_clients.pop(self, None)
            if not same:
                del self._crowds.idle[self._name]

    def vacate(self) -> bool:
        """Close the idle connection, if its last answer has been read."""
        if not self._close_idle():
            return False
        self.wake()
        self.leave()
        return True


class Crowds:
    """Counts connections by address, an IPv6 network of 64 bits as one; `most` 0: without a limit.

    Addresses of `proxies` are many people's, and are not limited. Past `most` of one address, and
    past `room` in all, the connection that has been idle for longest is closed for the new one: of
    that address, or of any, those of proxies last. So idle connections may stay for long.
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
        # the ones that have been idle for longest come first
        self.idle: dict[str, dict[Place, None]] = {}
        self.idle_clients: dict[Place, None] = {}  # of all names but the proxies'

    def __len__(self) -> int:
        """How many addresses have connections open."""
        return len(self._open)

    def enter(self, address: str | None, close_idle: Callable[[], bool]) -> Place | None:
        """Count a connection. None: it is one too many."""
        name = _PROXIES if is_within(address, self._proxies) else caller_of(address)
        full = 0 < self._most <= self._open.get(name, 0) and name != _PROXIES
        if full and not _vacate_one(self.idle.get(name, ())):
            return None
        short = self._room is not None and self._total >= self._room
        if short and not _vacate_one(self.idle_clients):
            _vacate_one(self.idle.get(_PROXIES, ()))
        self._open[name] += 1
        self._total += 1
        return Place(self, name, close_idle)

    def leave(self, place: Place, name: str) -> None:
        """Forget a connection; `Place.leave` calls it once."""
        place.wake()
        self._total -= 1
        self._open[name] -= 1
        if not self._open[name]:
            del self._open[name]


def _vacate_one(idle: Iterable[Place]) -> bool:
    return any(place.vacate() for place in list(islice(idle, _LOOKS)))
