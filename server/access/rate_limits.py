"""Rate limits: the points of cost that a caller may spend in a minute."""

import math
import time
from collections.abc import Callable, Sequence

import structlog
from limits.aio.storage import RedisStorage, Storage
from limits.errors import StorageError

from resolvers.errors import RateLimitedError
from server.access.rate_limit_memory import BoundedMemory

log = structlog.get_logger("coingraph.rates")

WINDOW_SECONDS = 60
_AWAY_SECONDS = 5.0  # the pause before a failed storage is tried again
_STORAGE_SECONDS = 0.5  # the longest wait of a request for the storage


class RateLimits:
    """The accounts of all callers: `points` for each in a fixed window of WINDOW_SECONDS.

    A window begins with its first request. `storage` shares the counts between processes, None
    counts in memory. While `storage` fails, this process counts in memory.
    """

    def __init__(
        self,
        points: int,
        storage: Storage | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.points = points
        self.clock = clock
        self._own = BoundedMemory(clock)
        self._storage = self._own if storage is None else storage
        self._away = False
        self._away_until = -math.inf
        self._policy = b'"points";q=%d;w=%d' % (points, WINDOW_SECONDS)

    def account(self, token: str | None, caller: str) -> "RateLimitAccount":
        """Return the account of a valid token, else of the caller's name (`caller_of`)."""
        return RateLimitAccount(self, f"token:{token}" if token else f"address:{caller}")

    async def spend(self, key: str, points: int) -> tuple[int, float]:
        """Add points to a window; return the points spent in it and when it ends."""
        if time.monotonic() < self._away_until:
            return await self._spend(self._own, key, points)
        trying = self._away
        if trying:  # a single request tries the storage, the others do not wait for it
            self._away_until = time.monotonic() + _AWAY_SECONDS
        try:
            spent = await self._spend(self._storage, key, points)
        except StorageError as error:
            if not self._away:
                reason = str(error.__cause__)
                log.warning("rate limits are counted in this process alone for now", error=reason)
            self._away = True
            self._away_until = time.monotonic() + _AWAY_SECONDS
            return await self._spend(self._own, key, points)
        if trying:
            log.info("rate limits are shared between processes again")
            self._away, self._away_until = False, -math.inf
        return spent

    async def _spend(self, storage: Storage, key: str, points: int) -> tuple[int, float]:
        spent = await storage.incr(key, WINDOW_SECONDS, points)
        return spent, await storage.get_expiry(key)

    async def close(self) -> None:
        """Close the connections to Redis; `limits` has no method for it."""
        if isinstance(self._storage, RedisStorage):
            await self._storage.bridge.storage.aclose()  # type: ignore[attr-defined] # the client

    def headers(self, left: int, seconds: int) -> Sequence[tuple[bytes, bytes]]:
        """Return RateLimit-Policy and RateLimit, by draft-ietf-httpapi-ratelimit-headers."""
        return (
            (b"ratelimit-policy", self._policy),
            (b"ratelimit", b'"points";r=%d;t=%d' % (left, seconds)),
        )


class RateLimitAccount:
    """The account of a caller during one request."""

    __slots__ = ("_ends_at", "_key", "_limits", "_spent")

    def __init__(self, limits: RateLimits, key: str) -> None:
        self._limits = limits
        self._key = key
        self._spent = 0
        self._ends_at = 0.0

    async def charge(self, points: int) -> None:
        """Spend points. Raises RateLimitedError, and spends none, if fewer are left."""
        most = self._limits.points
        spent, self._ends_at = await self._limits.spend(self._key, points)
        if spent > most and points > 1:
            self._spent, _ = await self._limits.spend(self._key, -points)
            if self._spent < 0:  # spent in another storage, or in a window that has ended
                self._spent, _ = await self._limits.spend(self._key, -self._spent)
            message = f"The operation costs {points:,} points, and {self._left:,} are left"
        elif spent > most:  # a single point needs no refund
            self._spent = most
            message = "No points are left"
        else:
            self._spent = spent
            return
        raise RateLimitedError(
            f"{message} of {most:,} a minute (RATE_LIMIT_POINTS): try again in {self._seconds} s.",
            retry_after=self._seconds,
        )

    async def charge_cost(self, cost: int) -> None:
        """Spend the cost of an operation, without the point charged for its request."""
        if cost > 1:
            await self.charge(cost - 1)

    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """Return RateLimit-Policy and RateLimit of this account."""
        return self._limits.headers(self._left, self._seconds)

    @property
    def _left(self) -> int:
        return max(0, self._limits.points - self._spent)

    @property
    def _seconds(self) -> int:
        return max(1, math.ceil(self._ends_at - self._limits.clock()))


def redis_storage(url: str) -> Storage:
    """Make a storage in Redis for several processes. It connects at first use."""
    return RedisStorage(
        f"async+{url}",
        wrap_exceptions=True,
        implementation="redispy",
        key_prefix="coingraph:rates",
        socket_timeout=_STORAGE_SECONDS,
        socket_connect_timeout=_STORAGE_SECONDS,
    )
