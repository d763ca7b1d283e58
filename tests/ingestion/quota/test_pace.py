"""When calls may leave, as pure state."""

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ingestion.quota.pace import Pace


def test_pauses_grow_until_a_success() -> None:
    pace, moment, pauses = Pace(2.0), 0.0, []
    for _ in range(8):
        pauses.append(pace.rate_limited(moment, None, slowdown=pace.slowdowns, luck=0.0))
        moment = pace.paused_until
    assert pauses == [30, 60, 120, 240, 480, 600, 600, 600]
    assert pace.interval == 16.0
    pace.succeeded(slowdown=pace.slowdowns)
    assert pace.rate_limited(moment, None, slowdown=pace.slowdowns, luck=1.0) == 37.5


@pytest.mark.parametrize(
    ("named", "paused"), [(0.0, 0.0), (-5.0, 0.0), (7.5, 7.5), (86_400.0, 900.0), (math.inf, 900.0)]
)
def test_a_named_pause_is_kept_within_reason(named: float, paused: float) -> None:
    assert Pace(2.0).rate_limited(50.0, named, slowdown=0, luck=0.5) == paused


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
        slowdown = None if age is None else max(0, self.pace.slowdowns - age)
        slowdowns, interval = self.pace.slowdowns, self.pace.interval
        self.added = self.pace.rate_limited(self.now, hint, slowdown=slowdown, luck=luck)
        assert 0 <= self.added <= 900.001
        assert self.pace.slowdowns - slowdowns in {0, 1}
        if self.pace.slowdowns == slowdowns:
            assert self.pace.interval == interval

    @rule(age=st.none() | st.integers(0, 5))
    def answer(self, age: int | None) -> None:
        slowdown = None if age is None else self.pace.slowdowns - age
        interval = self.pace.interval
        self.pace.succeeded(slowdown=slowdown)
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
