"""Equal queries at the same time: computed once, and none is given what was before it."""

import asyncio

import pytest

from server.cache import HIT, MISS, AnswerCache
from server.replies import Reply
from tests.server.keeping import Gate, ask, key, reply, start


@pytest.mark.parametrize("ok", [True, False])
async def test_equal_questions_are_computed_once(cache: AnswerCache, ok: bool) -> None:
    gate = Gate(reply(1, ok=ok))
    tasks = [ask(cache, gate) for _ in range(5)]
    await start(*tasks)
    gate.open.set()
    answers = await asyncio.gather(*tasks)
    assert gate.begun == 1
    assert sorted(how for _, how in answers) == [HIT] * 4 + [MISS]
    assert all(answer is gate.answer for answer, _ in answers)
    assert len(cache) == ok, "a failure is told to all who waited, and not kept"


async def test_who_asks_after_a_change_gets_an_answer_of_its_own(cache: AnswerCache) -> None:
    before, after = Gate(reply(1)), Gate(reply(1))
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


async def test_who_waits_when_a_change_comes_computes_anew(cache: AnswerCache) -> None:
    """The change may have been committed before the one who waits began to ask."""
    gate, own = Gate(reply(1)), Gate(reply(1))
    own.open.set()
    first, second = ask(cache, gate), ask(cache, own)
    await start(first, second)
    assert own.begun == 0
    cache.series_changed(7, 2)
    gate.open.set()
    assert (await first)[0] is gate.answer
    assert (await second)[0] is own.answer


async def test_what_changes_untold_is_shared_with_nobody(cache: AnswerCache) -> None:
    gate = Gate(reply(untold=True))
    tasks = [ask(cache, gate) for _ in range(3)]
    await start(*tasks)
    gate.open.set()
    answers = await asyncio.gather(*tasks)
    assert gate.begun == 3
    assert {how for _, how in answers} == {MISS}


async def test_a_client_that_goes_takes_no_other_answer_along(cache: AnswerCache) -> None:
    gate, own = Gate(reply(1)), Gate(reply(1))
    own.open.set()
    first, second, third = ask(cache, gate), ask(cache, own), ask(cache, own)
    await start(first, second, third)
    third.cancel()
    await start(third)
    first.cancel()
    assert (await second)[0] is own.answer
    assert first.cancelled() or await asyncio.wait([first])
    with pytest.raises(asyncio.CancelledError):
        await third


async def test_an_unexpected_error_leaves_nothing_behind(cache: AnswerCache) -> None:
    async def fail() -> Reply:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    own = Gate(reply(1))
    own.open.set()
    first, second = asyncio.create_task(cache.compute(key("one"), fail)), ask(cache, own)
    with pytest.raises(ZeroDivisionError):
        await first
    assert (await second)[0] is own.answer
    assert await cache.compute(key("one"), own.compute) == (own.answer, MISS)
    assert own.begun == 2
