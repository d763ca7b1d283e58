"""The response cache: storing, invalidation, eviction and memory."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from models.postgres.notifications import Listener
from server.graphql.response import EncodedResponse
from server.graphql.response_cache import ResponseCache
from tests.server.cache_entries import ROOM, Gate, encoded, fill, key, start


async def test_a_response_is_cached_until_one_of_its_series_changes(cache: ResponseCache) -> None:
    one, both, none = encoded(1), encoded(1, 2), encoded()
    for name, answer in (("one", one), ("both", both), ("none", none)):
        await fill(cache, name, answer)
        assert cache.get(key(name)) is answer
    cache.series_changed(3, 1)
    assert cache.get(key("both")) is both
    cache.series_changed(2, 1)
    assert (cache.get(key("one")), cache.get(key("both"))) == (one, None)
    cache.catalogue_changed()
    assert (cache.get(key("one")), cache.get(key("none"))) == (one, none)
    cache.anything_changed()
    assert (len(cache), cache.size) == (0, 0)


async def test_responses_that_are_never_cached(cache: ResponseCache) -> None:
    await fill(cache, "failed", encoded(1, ok=False))
    await fill(cache, "uncacheable", encoded(1, uncacheable=True))
    await fill(cache, "over", encoded(1, until=datetime.now(UTC) - timedelta(seconds=1)))
    assert cache.get(key("over")) is None
    assert (len(cache), cache.size) == (0, 0)


async def test_responses_relative_to_now_are_cached_for_a_second(
    cache: ResponseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    await fill(cache, "relative", encoded(1, relative=True))
    await fill(cache, "until", encoded(1, until=now + timedelta(seconds=600)))
    await fill(cache, "both", encoded(1, relative=True, until=now + timedelta(seconds=0.5)))
    for later, left in ((0.2, 3), (0.8, 2), (1.5, 1), (599, 1), (601, 0)):
        clock = now.timestamp() + later
        monkeypatch.setattr("server.graphql.response_cache.time", lambda clock=clock: clock)
        found = [name for name in ("relative", "until", "both") if cache.get(key(name))]
        assert len(found) == left, (later, found)


@pytest.mark.parametrize("change", ["series_changed", "catalogue_changed", "anything_changed"])
async def test_a_change_during_the_computation(cache: ResponseCache, change: str) -> None:
    """Data read before the change makes a response stale; unrelated ones are cached."""

    touched, untouched = encoded(1), encoded(2)
    touched.dependencies.add_catalogue()
    for name, answer in (("touched", touched), ("untouched", untouched)):
        gate = Gate(answer)
        computing = asyncio.create_task(cache.compute(key(name), gate.compute))
        await start(computing)
        getattr(cache, change)(*((1, 2) if change == "series_changed" else ()))
        gate.open.set()
        await computing
    assert cache.get(key("touched")) is None
    kept = cache.get(key("untouched"))
    assert kept is (None if change == "anything_changed" else untouched)


async def test_nothing_is_cached_while_notifications_may_be_missed(
    cache: ResponseCache, listener: Listener
) -> None:
    async def compute() -> EncodedResponse:
        listener.listening = False
        cache.anything_changed()
        cache.anything_changed()
        listener.listening = True
        return encoded(1)

    await cache.compute(key("one"), compute)
    assert len(cache) == 0


async def test_the_capacity_bounds_the_memory(cache: ResponseCache) -> None:
    names = [f"{'ü' * (number % 50)} {number}" for number in range(3_000)]
    for number, name in enumerate(names):
        answer = encoded(*range(number % 40), size=number % 7_000)
        await fill(cache, name, answer)
        assert cache.size <= ROOM
        if number % 3 == 0 and len(answer.body.identity) > 500:
            for coding in ("zstd", "br", "gzip"):
                await answer.body.compress(coding)
        assert cache.size <= ROOM
    kept = [found for name in names if (found := cache.get(key(name)))]
    held = sum(answer.body.size for answer in kept)
    assert ROOM / 3 < held < cache.size, "much of the room is for answers"
    for number in range(40):
        cache.series_changed(number, 1)
    left = [found for name in names if (found := cache.get(key(name)))]
    assert left == [answer for answer in kept if not answer.dependencies.tags]
    assert len(cache) == len(left)
    cache.anything_changed()
    assert (cache.size, len(cache)) == (0, 0)


async def test_the_least_recently_used_response_is_evicted_first(cache: ResponseCache) -> None:
    for number in range(8):
        await fill(cache, str(number), encoded(size=100_000))
    assert cache.get(key("0")) is not None
    for number in range(8, 12):
        await fill(cache, str(number), encoded(size=100_000))
    assert cache.get(key("0")) is not None
    assert cache.get(key("1")) is None


async def test_a_response_that_would_evict_many_is_not_cached(cache: ResponseCache) -> None:
    await fill(cache, "large", encoded(size=ROOM // 8))
    assert len(cache) == 0


async def test_a_response_evicted_during_compression_is_not_counted(
    cache: ResponseCache,
) -> None:
    answer = encoded(1, size=1_000)
    await fill(cache, "one", answer)
    cache.series_changed(1, 2)
    assert cache.get(key("one")) is None
    await answer.body.compress("gzip")
    assert cache.size == 0
    await fill(cache, "one", answer)
    cache.anything_changed()
    await answer.body.compress("br")
    assert cache.size == 0


async def test_forged_series_ids_are_bounded(cache: ResponseCache) -> None:
    """Their memory is bounded."""
    await fill(cache, "one", encoded(1))
    for number in range(2, 200_010):
        cache.series_changed(number, 1)
    assert cache.get(key("one")) is None, "so many changes are one of everything"
    await fill(cache, "one", encoded(1))
    assert cache.get(key("one")) is not None
    cache.series_changed(1, 1)
    assert cache.get(key("one")) is None


async def test_capacity_0_disables_the_cache(listener: Listener) -> None:
    assert not ResponseCache(0, listener).usable
