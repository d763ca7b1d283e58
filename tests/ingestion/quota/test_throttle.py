"""The outgoing rate, on an event loop whose time jumps."""

import asyncio
import math
import random

import pytest

from ingestion.quota.throttle import Throttle
from tests.ingestion.jumping import departures, most_in_any_minute, run


@pytest.mark.parametrize("per_minute", [5, 30, 500])
def test_never_more_than_the_limit_in_any_minute_and_no_slower_than_that(per_minute: int) -> None:
    wander = random.Random(1)  # noqa: S311 - a test
    calls = 200 if per_minute < 100 else 1500
    times = run(
        departures(Throttle(per_minute, max_in_flight=9), calls, lambda: wander.uniform(0, 0.3))
    )
    assert len(times) == calls
    assert times[0] < 0.001
    assert most_in_any_minute(times) <= per_minute
    assert times[-1] <= 1.05 * calls * 60 / per_minute


def test_arrivals_that_jitter_by_half_a_second_stay_within_the_limit() -> None:
    wander = random.Random(2)  # noqa: S311 - a test
    times = run(departures(Throttle(30), 200))
    assert most_in_any_minute([time + wander.uniform(0, 0.5) for time in times]) <= 30


def test_idling_earns_no_burst() -> None:
    async def main() -> None:
        throttle = Throttle(30)
        await departures(throttle, 1)
        await asyncio.sleep(600)
        first, second = await departures(throttle, 2)
        assert first == pytest.approx(602.04 - 2.04, abs=0.01)
        assert second - first == pytest.approx(2.04, abs=0.01)

    run(main())


def test_calls_keep_their_order_through_a_pause() -> None:
    async def main() -> list[int]:
        throttle, order = Throttle(60, max_in_flight=3), []

        async def call(number: int) -> None:
            async with throttle.slot() as slowdown:
                order.append(number)
                await asyncio.sleep(random.uniform(0, 5))  # noqa: S311 - a test
                if number == 7:
                    await throttle.rate_limited(20.0, slowdown=slowdown)

        await asyncio.gather(*(call(number) for number in range(40)))
        return order

    assert run(main()) == list(range(40))


def test_the_number_of_calls_in_flight_is_limited() -> None:
    async def main() -> int:
        throttle, flying, most = Throttle(6000, max_in_flight=4), 0, 0

        async def call() -> None:
            nonlocal flying, most
            async with throttle.slot():
                flying += 1
                most = max(most, flying)
                await asyncio.sleep(5)
                flying -= 1

        await asyncio.gather(*(call() for _ in range(30)))
        return most

    assert run(main()) == 4


def test_a_cancelled_caller_leaves_no_gap() -> None:
    async def main() -> None:
        throttle = Throttle(60, max_in_flight=2)
        tasks = [asyncio.create_task(departures(throttle, 1)) for _ in range(6)]
        await asyncio.sleep(0.5)
        for task in tasks[1:4]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        times = [time for result in done if isinstance(result, list) for time in result]
        assert len(times) == 3
        assert times[-1] == pytest.approx(2 * 1.02, abs=0.01)

    run(main())


@pytest.mark.parametrize("rate", [0, -1, math.nan])
def test_a_rate_must_be_positive(rate: float) -> None:
    with pytest.raises(ValueError, match="requests_per_minute"):
        Throttle(rate)
