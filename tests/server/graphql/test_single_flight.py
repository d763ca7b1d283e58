"""Concurrent equal queries share one computation, and none receives stale data."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest

from server.graphql.response import EncodedResponse
from server.graphql.response_cache import HIT, MISS, ResponseCache
from server.http.compression import ResponseBody
from tests.server.cache_entries import Gate, ask, encoded, key, start


@pytest.mark.parametrize("ok", [True, False])
async def test_concurrent_queries_share_one_computation(cache: ResponseCache, ok: bool) -> None:
    gate = Gate(encoded(1, ok=ok))
    tasks = [ask(cache, gate) for _ in range(5)]
    await start(*tasks)
    gate.open.set()
    answers = await asyncio.gather(*tasks)
    assert gate.begun == 1
    assert sorted(how for _, how in answers) == [HIT] * 4 + [MISS]
    assert all(answer is gate.answer for answer, _ in answers)
    assert len(cache) == ok, "all waiters receive a failure, and it is not cached"


async def test_a_query_after_a_change_starts_its_own_computation(cache: ResponseCache) -> None:
    before, after = Gate(encoded(1)), Gate(encoded(1))
    first = ask(cache, before)
    await start(first)
    cache.series_changed(1, 2)
    second = ask(cache, after)
    await start(second)
    before.open.set()
    after.open.set()
    assert (await first)[0] is before.answer
    assert (await second)[0] is after.answer
    assert cache.get(key("one")) is after.answer


async def test_a_change_starts_one_new_computation_for_the_waiters(cache: ResponseCache) -> None:
    """The change may be older than the waiters' queries, so they share one new computation."""
    gate, own = Gate(encoded(1)), Gate(encoded(1))
    first = ask(cache, gate)
    others = [ask(cache, own) for _ in range(10)]
    await start(first, *others)
    assert own.begun == 0
    cache.series_changed(1, 2)
    gate.open.set()
    assert (await first)[0] is gate.answer
    await start(*others)
    assert own.begun == 1
    cache.series_changed(1, 3)  # without an end: what began after they asked is theirs
    own.open.set()
    answers = await asyncio.gather(*others)
    assert {id(answer) for answer, _ in answers} == {id(own.answer)}
    assert sorted(how for _, how in answers) == [HIT] * 9 + [MISS]
    assert (own.begun, len(cache)) == (1, 0)


async def test_changes_of_other_series_do_not_matter(cache: ResponseCache) -> None:
    gate = Gate(encoded(1))
    tasks = []
    for _ in range(5):
        tasks += [ask(cache, gate) for _ in range(3)]
        await start(*tasks)
        cache.series_changed(7, 2)
        cache.catalogue_changed()
    gate.open.set()
    answers = await asyncio.gather(*tasks)
    assert sorted(how for _, how in answers) == [HIT] * 14 + [MISS]
    assert gate.begun == 1


async def test_a_failure_is_not_shared_after_a_change(cache: ResponseCache) -> None:
    gate, own = Gate(encoded(1, ok=False)), Gate(encoded(1, 7))
    own.open.set()
    first, second = ask(cache, gate), ask(cache, own)
    await start(first, second)
    cache.series_changed(7, 2)
    gate.open.set()
    assert (await second)[0] is own.answer


async def test_a_change_during_the_second_computation(cache: ResponseCache) -> None:
    first, second, third = (Gate(encoded(1)) for _ in range(3))
    leader, waiting = ask(cache, first), ask(cache, second)
    await start(leader, waiting)
    cache.series_changed(1, 2)
    first.open.set()
    await start(leader, waiting)
    cache.series_changed(1, 3)
    late = ask(cache, third)
    await start(late)
    second.open.set()
    third.open.set()
    assert (await waiting)[0] is second.answer
    assert (await late)[0] is third.answer


@pytest.mark.parametrize("dependencies", ["relative", "until"])
async def test_a_query_after_the_expiry_of_a_response(
    cache: ResponseCache, dependencies: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    over = {"relative": True} if dependencies == "relative" else {"until": soon}
    gate, own = Gate(encoded(1, **over)), Gate(encoded(1))
    own.open.set()
    tasks = []
    for left in (1, 0.1, 0):
        clock = gate.answer.cacheable_until - left
        monkeypatch.setattr("server.graphql.response_cache.time", lambda clock=clock: clock)
        tasks.append(ask(cache, gate if left else own))
        await start(*tasks)
    gate.open.set()
    answers = [answer for answer, _ in await asyncio.gather(*tasks)]
    assert answers == [gate.answer, gate.answer, own.answer]
    assert (gate.begun, own.begun) == (1, 1)


@pytest.mark.parametrize("seed", range(20))
async def test_no_caller_receives_data_older_than_its_query(
    cache: ResponseCache, seed: int
) -> None:
    """Random changes and cancellations, in random order."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    stored, computed = 0, 0

    async def compute() -> EncodedResponse:
        nonlocal computed
        computed, read = computed + 1, stored
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        if chance.random() < 0.1:
            raise ZeroDivisionError
        answer = encoded(1)
        answer.body = ResponseBody(b"%d" % read)
        return answer

    async def look() -> None:
        known = stored
        answer = cache.get(key("one")) or (await cache.compute(key("one"), compute))[0]
        assert int(answer.body.identity) >= known

    tasks = []
    for _ in range(300):
        tasks += [asyncio.create_task(look()) for _ in range(chance.randrange(4))]
        await asyncio.sleep(0)
        if chance.random() < 0.3:
            stored += 1
            cache.series_changed(1, stored)
        cache.series_changed(2, 1)
        if chance.random() < 0.1:
            chance.choice(tasks).cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    unexpected = (ZeroDivisionError, asyncio.CancelledError, type(None))
    assert [each for each in results if not isinstance(each, unexpected)] == []
    assert computed < len(tasks) / 2


async def test_uncacheable_responses_are_not_shared(cache: ResponseCache) -> None:
    gate = Gate(encoded(uncacheable=True))
    tasks = [ask(cache, gate) for _ in range(3)]
    await start(*tasks)
    gate.open.set()
    answers = await asyncio.gather(*tasks)
    assert gate.begun == 3
    assert {how for _, how in answers} == {MISS}


async def test_a_cancelled_leader_does_not_cancel_the_waiters(cache: ResponseCache) -> None:
    gate, own = Gate(encoded(1)), Gate(encoded(1))
    first, second = ask(cache, gate), ask(cache, gate)
    others = [ask(cache, own) for _ in range(8)]
    await start(first, second, *others)
    others[0].cancel()
    first.cancel()
    await start(second, *others)
    assert (gate.begun, own.begun) == (2, 0), "the next one leads, and the others wait for it"
    second.cancel()
    await start(second, *others)
    assert own.begun == 1
    own.open.set()
    assert {id((await other)[0]) for other in others[1:]} == {id(own.answer)}
    assert own.begun == 1
    gone = await asyncio.gather(first, second, others[0], return_exceptions=True)
    assert {type(each) for each in gone} == {asyncio.CancelledError}


async def test_an_unexpected_error_leaves_no_state(cache: ResponseCache) -> None:
    async def fail() -> EncodedResponse:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    own = Gate(encoded(1))
    own.open.set()
    first = asyncio.create_task(cache.compute(key("one"), fail))
    others = [ask(cache, own) for _ in range(5)]
    with pytest.raises(ZeroDivisionError):
        await first
    assert {id((await other)[0]) for other in others} == {id(own.answer)}
    assert own.begun == 1
    assert cache.get(key("one")) is own.answer
