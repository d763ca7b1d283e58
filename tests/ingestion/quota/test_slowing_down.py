"""The outgoing rate of an upstream that says it is too fast."""

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.quota.throttle import Throttle
from tests.ingestion.jumping import departures, now, run


def test_retry_after_pauses_all_calls_and_the_pace_halves() -> None:
    async def main() -> None:
        throttle = Throttle(30)
        await departures(throttle, 2)
        waiting = asyncio.create_task(departures(throttle, 3))
        await asyncio.sleep(0.5)
        refused_at = now()
        assert await throttle.rate_limited(119.0) == pytest.approx(119.0)
        assert throttle.pause_left == pytest.approx(119.0)
        assert throttle.paused_until == pytest.approx(refused_at + 119.0)
        assert throttle.interval == 2 * throttle.base_interval
        first, second, third = await waiting
        assert first >= refused_at + 119.0
        assert first <= refused_at + 119.0 + throttle.base_interval
        assert second - first == pytest.approx(4.08, abs=0.01)
        assert third - second == pytest.approx(4.08, abs=0.01)

    run(main())


def test_calls_refused_together_are_one_slowdown() -> None:
    async def main() -> None:
        throttle = Throttle(60, first_pause=30)
        added = []

        async def call(latency: float) -> None:
            async with throttle.slot() as slowdown:
                await asyncio.sleep(latency)
                added.append(await throttle.rate_limited(None, slowdown=slowdown))

        # The last one's refusal arrives long after the pause is over.
        await asyncio.gather(*(call(latency) for latency in (5, 5, 5, 100)))
        assert throttle.interval == 2 * throttle.base_interval
        assert 30 <= added[0] <= 37.5
        assert added[1:] == [0, 0, 0]

    run(main())


def test_without_a_departure_refusals_during_a_pause_count_once() -> None:
    async def main() -> None:
        throttle = Throttle(60)
        await throttle.rate_limited(10.0)
        await throttle.rate_limited(None)
        assert await throttle.rate_limited(25.0) == pytest.approx(15.0)
        assert throttle.interval == 2 * throttle.base_interval

    run(main())


def test_an_answer_to_a_call_from_before_the_slowdown_does_not_end_it() -> None:
    async def main() -> None:
        throttle = Throttle(60)
        async with throttle.slot() as early:
            await throttle.rate_limited(1.0)
            throttle.succeeded(slowdown=early)
            assert throttle.interval == 2 * throttle.base_interval
        async with throttle.slot() as late:
            throttle.succeeded(slowdown=late)
        assert throttle.interval == pytest.approx(1.8 * throttle.base_interval)
        for _ in range(30):
            throttle.succeeded()
        assert throttle.interval == throttle.base_interval

    run(main())


def test_it_adapts_to_an_upstream_slower_than_configured() -> None:
    async def main() -> tuple[int, int]:
        throttle, arrivals, refused, done = Throttle(30), [], 0, 0

        async def call() -> None:
            nonlocal refused, done
            while True:
                async with throttle.slot() as slowdown:
                    await asyncio.sleep(0.2)
                    arrivals.append(now())
                    if sum(time > now() - 60 for time in arrivals) <= 12:
                        throttle.succeeded(slowdown=slowdown)
                        done += 1
                        return
                    refused += 1
                    await throttle.rate_limited(None, slowdown=slowdown)

        await asyncio.gather(*(call() for _ in range(60)))
        return done, refused

    done, refused = run(main())
    assert done == 60
    assert refused <= 12


def test_sleep_and_clock_make_waiting_free() -> None:
    async def main() -> None:
        moment = 1000.0

        async def skip(seconds: float) -> None:
            nonlocal moment
            moment += seconds

        throttle = Throttle(600, sleep=skip, clock=lambda: moment)
        await throttle.rate_limited(300.0)
        assert throttle.paused_until == 1300.0
        await departures(throttle, 2)
        assert moment == pytest.approx(1300.0 + 2 * 0.102)
        assert now() < 1

    run(main())


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from(["ok", None, 0.0, 9.0]))))
@settings(deadline=None, max_examples=60)
def test_calls_are_never_closer_than_the_base_interval(
    answers: list[tuple[float, str | float | None]],
) -> None:
    async def main() -> list[float]:
        throttle, times = Throttle(20), []

        async def call(latency: float, answer: str | float | None) -> None:
            async with throttle.slot() as slowdown:
                times.append(now())
                await asyncio.sleep(latency)
                if isinstance(answer, str):
                    throttle.succeeded(slowdown=slowdown)
                else:
                    await throttle.rate_limited(answer, slowdown=slowdown)

        await asyncio.gather(*(call(*answer) for answer in answers))
        return times

    times = run(main())
    assert all(later - time >= 3.0599 for time, later in itertools.pairwise(times))
