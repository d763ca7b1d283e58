"""The outgoing rate, on an event loop whose time jumps: hours pass in milliseconds."""

import asyncio
import itertools
import math
import random
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ingestion.errors import BadAnswer, RateLimited, ServerFault, Unreachable
from ingestion.throttle import Pace, Patience, Throttle

T = TypeVar("T")


class _JumpingSelector(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everybody waits for somebody else")
        self.now += 1e-6 if ready or not timeout else timeout
        return ready


class _JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jumping = _JumpingSelector()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now


def run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=_JumpingLoop) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


async def departures(
    throttle: Throttle, calls: int, latency: Callable[[], float] = lambda: 0.0
) -> list[float]:
    times = []

    async def call() -> None:
        async with throttle.slot():
            times.append(now())
            await asyncio.sleep(latency())

    await asyncio.gather(*(call() for _ in range(calls)))
    return times


def most_in_any_minute(times: list[float], window: float = 60.0) -> int:
    return max(sum(start <= time <= start + window for time in times) for start in times)


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


def test_who_asks_first_goes_first_even_through_a_pause() -> None:
    async def main() -> list[int]:
        throttle, order = Throttle(60, max_in_flight=3), []

        async def call(number: int) -> None:
            async with throttle.slot() as departed:
                order.append(number)
                await asyncio.sleep(random.uniform(0, 5))  # noqa: S311 - a test
                if number == 7:
                    throttle.rate_limited(20.0, departed=departed)

        await asyncio.gather(*(call(number) for number in range(40)))
        return order

    assert run(main()) == list(range(40))


def test_only_so_many_are_in_flight() -> None:
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


def test_retry_after_pauses_everybody_and_the_pace_halves() -> None:
    async def main() -> None:
        throttle = Throttle(30)
        await departures(throttle, 2)
        waiting = asyncio.create_task(departures(throttle, 3))
        await asyncio.sleep(0.5)
        refused_at = now()
        assert throttle.rate_limited(119.0) == pytest.approx(119.0)
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
            async with throttle.slot() as departed:
                await asyncio.sleep(latency)
                added.append(throttle.rate_limited(None, departed=departed))

        # The last one's refusal arrives long after the pause is over.
        await asyncio.gather(*(call(latency) for latency in (5, 5, 5, 100)))
        assert throttle.interval == 2 * throttle.base_interval
        assert 30 <= added[0] <= 37.5
        assert added[1:] == [0, 0, 0]

    run(main())


def test_without_a_departure_refusals_during_a_pause_count_once() -> None:
    async def main() -> None:
        throttle = Throttle(60)
        throttle.rate_limited(10.0)
        throttle.rate_limited(None)
        assert throttle.rate_limited(25.0) == pytest.approx(15.0)
        assert throttle.interval == 2 * throttle.base_interval

    run(main())


def test_an_answer_to_a_call_from_before_the_slowdown_does_not_end_it() -> None:
    async def main() -> None:
        throttle = Throttle(60)
        async with throttle.slot() as early:
            throttle.rate_limited(1.0)
            throttle.succeeded(departed=early)
            assert throttle.interval == 2 * throttle.base_interval
        async with throttle.slot() as late:
            throttle.succeeded(departed=late)
        assert throttle.interval == pytest.approx(1.8 * throttle.base_interval)
        for _ in range(30):
            throttle.succeeded()
        assert throttle.interval == throttle.base_interval

    run(main())


def test_pauses_grow_until_a_success() -> None:
    pace, moment, pauses = Pace(2.0), 0.0, []
    for _ in range(8):
        pauses.append(pace.rate_limited(moment, None, departed=pace.slowdowns, luck=0.0))
        moment = pace.paused_until
    assert pauses == [30, 60, 120, 240, 480, 600, 600, 600]
    assert pace.interval == 16.0
    pace.succeeded(departed=pace.slowdowns)
    assert pace.rate_limited(moment, None, departed=pace.slowdowns, luck=1.0) == 37.5


@pytest.mark.parametrize(
    ("told", "paused"), [(0.0, 0.0), (-5.0, 0.0), (7.5, 7.5), (86_400.0, 900.0), (math.inf, 900.0)]
)
def test_a_named_pause_is_kept_within_reason(told: float, paused: float) -> None:
    assert Pace(2.0).rate_limited(50.0, told, departed=0, luck=0.5) == paused


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


def test_it_adapts_to_an_upstream_slower_than_configured() -> None:
    async def main() -> tuple[int, int]:
        throttle, arrivals, refused, done = Throttle(30), [], 0, 0

        async def call() -> None:
            nonlocal refused, done
            while True:
                async with throttle.slot() as departed:
                    await asyncio.sleep(0.2)
                    arrivals.append(now())
                    if sum(time > now() - 60 for time in arrivals) <= 12:
                        throttle.succeeded(departed=departed)
                        done += 1
                        return
                    refused += 1
                    throttle.rate_limited(None, departed=departed)

        await asyncio.gather(*(call() for _ in range(60)))
        return done, refused

    done, refused = run(main())
    assert done == 60
    assert refused <= 12


def test_sleep_and_clock_make_pauses_free() -> None:
    async def main() -> None:
        moment = 1000.0

        async def skip(seconds: float) -> None:
            nonlocal moment
            moment += seconds

        throttle = Throttle(600, sleep=skip, clock=lambda: moment)
        throttle.rate_limited(300.0)
        assert throttle.paused_until == 1300.0
        await departures(throttle, 2)
        assert moment == 1300.0
        assert now() < 1

    run(main())


@pytest.mark.parametrize("rate", [0, -1, math.nan])
def test_a_rate_must_be_positive(rate: float) -> None:
    with pytest.raises(ValueError, match="requests_per_minute"):
        Throttle(rate)


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from(["ok", None, 0.0, 9.0]))))
@settings(deadline=None, max_examples=60)
def test_however_answers_come_calls_never_get_closer_than_the_base(
    answers: list[tuple[float, str | float | None]],
) -> None:
    async def main() -> list[float]:
        throttle, times = Throttle(20), []

        async def call(latency: float, answer: str | float | None) -> None:
            async with throttle.slot() as departed:
                times.append(now())
                await asyncio.sleep(latency)
                if isinstance(answer, str):
                    throttle.succeeded(departed=departed)
                else:
                    throttle.rate_limited(answer, departed=departed)

        await asyncio.gather(*(call(*answer) for answer in answers))
        return times

    times = run(main())
    assert all(later - time >= 3.0599 for time, later in itertools.pairwise(times))


class PaceMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, the pace stays within its bounds."""

    @initialize()
    def start(self) -> None:
        self.pace = Pace(2.0)
        self.now = 0.0
        self.pause_end = 0.0
        self.added = 0.0

    @rule(seconds=st.floats(0, 2000))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        hint=st.none() | st.floats(allow_nan=False),
        age=st.none() | st.integers(0, 5),
        luck=st.floats(0, 1),
    )
    def refuse(self, hint: float | None, age: int | None, luck: float) -> None:
        departed = None if age is None else max(0, self.pace.slowdowns - age)
        slowdowns, interval = self.pace.slowdowns, self.pace.interval
        self.added = self.pace.rate_limited(self.now, hint, departed=departed, luck=luck)
        assert 0 <= self.added <= 900.001
        assert self.pace.slowdowns - slowdowns in {0, 1}
        if self.pace.slowdowns == slowdowns:
            assert self.pace.interval == interval

    @rule(age=st.none() | st.integers(0, 5))
    def answer(self, age: int | None) -> None:
        departed = None if age is None else self.pace.slowdowns - age
        interval = self.pace.interval
        self.pace.succeeded(departed=departed)
        assert self.pace.interval <= interval

    @invariant()
    def bounds(self) -> None:
        if hasattr(self, "pace"):
            assert 2.0 <= self.pace.interval <= 16.0
            assert (
                self.pause_end <= self.pace.paused_until <= max(self.pause_end, self.now + 900.001)
            )
            self.pause_end = self.pace.paused_until


TestPace = PaceMachine.TestCase
TestPace.settings = settings(max_examples=60, deadline=None)


def test_patience_is_longer_with_a_rate_limit_than_with_faults() -> None:
    patience = Patience(6)
    assert [patience(ServerFault("")) for _ in range(3)] == [True] * 3
    assert [patience(RateLimited("")) for _ in range(11)] == [0.0] * 10 + [False]
    assert [patience(Unreachable("")) for _ in range(3)] == [True, True, False]
    assert patience(BadAnswer("")) is False
    assert Patience(1)(RateLimited("")) is False
    assert Patience(1)(Unreachable("")) is False
