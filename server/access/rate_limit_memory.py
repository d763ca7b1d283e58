"""Rate limit windows in memory, bounded in number. docs/decisions/0020-rate-limit-storage.md."""

from collections import OrderedDict
from collections.abc import Callable

from limits.aio.storage import Storage

MOST_WINDOWS = 100_000  # some 300 bytes each


class _Window:
    __slots__ = ("ends_at", "spent")

    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at
        self.spent = 0


class BoundedMemory(Storage):
    """A storage of fixed windows of one length. Past `most`, those that end first are dropped."""

    STORAGE_SCHEME = None

    def __init__(self, clock: Callable[[], float], most: int = MOST_WINDOWS) -> None:
        super().__init__()
        self._clock = clock
        self._most = most
        self._windows: OrderedDict[str, _Window] = OrderedDict()  # ordered by `ends_at`

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """The errors of the storage: none."""
        return ()

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add points to the window of a key, opening one of `expiry` seconds; return its sum."""
        now = self._clock()
        window = self._windows.get(key)
        if window is None or window.ends_at <= now:
            self._drop_ended(now)
            window = self._windows[key] = _Window(now + expiry)
            if len(self._windows) > self._most:
                self._windows.popitem(last=False)
        window.spent += amount
        return window.spent

    async def get(self, key: str) -> int:
        """Return the points spent in the window of a key."""
        window = self._windows.get(key)
        return 0 if window is None or window.ends_at <= self._clock() else window.spent

    async def get_expiry(self, key: str) -> float:
        """Return when the window of a key ends, in seconds of the clock."""
        window = self._windows.get(key)
        return self._clock() if window is None else window.ends_at

    async def check(self) -> bool:
        """Return True: memory is always available."""
        return True

    async def reset(self) -> int:
        """Drop all windows; return how many."""
        windows = len(self._windows)
        self._windows.clear()
        return windows

    async def clear(self, key: str) -> None:
        """Drop the window of a key."""
        self._windows.pop(key, None)

    def _drop_ended(self, now: float) -> None:
        while self._windows:
            key, window = next(iter(self._windows.items()))
            if window.ends_at > now:
                return
            del self._windows[key]
