"""Rate limits: how many points of cost a caller may spend in a minute."""

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
_AWAY_SECONDS = 5.0  # a storage that failed is left alone so long
_STORAGE_SECONDS = 0.5  # what an answer may wait for it


class RateLimits:
    """The accounts of all callers, each with `points` a window, which begins when it is first used.

    Where `storage` fails, this process counts for itself for a while.
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

    def account(self, token: str | None, caller: str) -> "Account":
        """Give the account of a valid token, else of a caller as `caller_of` names it."""
        return Account(self, f"token:{token}" if token else f"address:{caller}")

    async def spend(self, key: str, points: int) -> tuple[int, float]:
        """Count; what is spent in this window, and when it ends."""
        if time.monotonic() < self._away_until:
            return await self._spend(self._own, key, points)
        trying = self._away
        if trying:  # one is enough: nobody else waits for what may not answer
            self._away_until = time.monotonic() + _AWAY_SECONDS
        try:
            spent = await self._spend(self._storage, key, points)
        except StorageError as error:
            if not self._away:
                reason = str(error.__cause__)
                log.warning("rate limits are counted here alone for now", error=reason)
            self._away = True
            self._away_until = time.monotonic() + _AWAY_SECONDS
            return await self._spend(self._own, key, points)
        if trying:
            log.info("rate limits are counted together again")
            self._away, self._away_until = False, -math.inf
        return spent

    async def _spend(self, storage: Storage, key: str, points: int) -> tuple[int, float]:
        spent = await storage.incr(key, WINDOW_SECONDS, points)
        return spent, await storage.get_expiry(key)

    async def close(self) -> None:
        """Let go of the connections to a Redis, for which `limits` has no method."""
        if isinstance(self._storage, RedisStorage):
            await self._storage.bridge.storage.aclose()  # type: ignore[attr-defined] # the client

    def headers(self, left: int, seconds: int) -> Sequence[tuple[bytes, bytes]]:
        """Write draft-ietf-httpapi-ratelimit-headers: the policy, and what is left of it."""
        return (
            (b"ratelimit-policy", self._policy),
            (b"ratelimit", b'"points";r=%d;t=%d' % (left, seconds)),
        )


class Account:
    """What a caller has, as one request of theirs sees it."""

    __slots__ = ("_ends_at", "_key", "_limits", "_spent")

    def __init__(self, limits: RateLimits, key: str) -> None:
        self._limits = limits
        self._key = key
        self._spent = 0
        self._ends_at = 0.0

    async def charge(self, points: int) -> None:
        """Take points. Raises RateLimitedError, and takes none, where fewer are left."""
        most = self._limits.points
        spent, self._ends_at = await self._limits.spend(self._key, points)
        if spent > most and points > 1:
            self._spent, _ = await self._limits.spend(self._key, -points)
            if self._spent < 0:  # it was counted elsewhere, or in a window that has ended
                self._spent, _ = await self._limits.spend(self._key, -self._spent)
            message = f"The operation costs {points:,} points, and {self._left:,} are left"
        elif spent > most:  # nothing is left that could be given back
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
        """Take what an operation costs; its first point came with its request."""
        if cost > 1:
            await self.charge(cost - 1)

    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        return self._limits.headers(self._left, self._seconds)

    @property
    def _left(self) -> int:
        return max(0, self._limits.points - self._spent)

    @property
    def _seconds(self) -> int:
        return max(1, math.ceil(self._ends_at - self._limits.clock()))


def redis_storage(url: str) -> Storage:
    """Count in a Redis that several processes share. It is connected to when it is first used."""
    return RedisStorage(
        f"async+{url}",
        wrap_exceptions=True,
        implementation="redispy",
        key_prefix="coingraph:rates",
        socket_timeout=_STORAGE_SECONDS,
        socket_connect_timeout=_STORAGE_SECONDS,
    )
