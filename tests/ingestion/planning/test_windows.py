"""Windows cover what is missing, with as few calls as can be."""

import math
from datetime import datetime

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingestion.planning.gaps import find_gaps
from ingestion.planning.windows import windows_over
from models.history import floor_hour
from tests.ingestion.planning.series_to_plan import (
    DAY,
    HOUR,
    MIDNIGHTS,
    assert_askable,
    assert_covered,
    moments,
    plan,
    state,
)

_HOURS = 6500


@given(moments, st.integers(1, 4000 * 24))
@example(MIDNIGHTS[0], 89 * 24)
@example(MIDNIGHTS[0], 89 * 24 + 1)
@example(MIDNIGHTS[0], 48)
def test_windows_cover_what_is_asked_with_few_calls(end: datetime, hours: int) -> None:
    start = floor_hour(end - hours * HOUR)
    windows = windows_over([(start, end)], end)
    assert_askable(windows, end)
    assert_covered(windows, start, end)
    assert len(windows) <= math.ceil((end - start) / (89 * DAY - HOUR))
    # no more than a window's least length is asked for in vain
    assert min(window.start for window in windows) >= start - 2 * DAY


def fewest(missing: set[datetime]) -> int:
    """Count windows of 89 days by taking the oldest missing hour and all in reach of it."""
    count = 0
    while missing:
        reach = min(missing) + 89 * DAY
        missing = {hour for hour in missing if hour + HOUR > reach}
        count += 1
    return count


@pytest.mark.slow
@given(moments, st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 1500)), max_size=8))
@example(MIDNIGHTS[1], [(100 * 24, 1), (30 * 24, 1)])
def test_gaps_are_covered_with_the_fewest_calls(
    now: datetime, drawn: list[tuple[int, int]]
) -> None:
    top = floor_hour(now)
    missing = {
        top - hour * HOUR for start, length in drawn for hour in range(start, start + length)
    }
    answered = [
        top - hour * HOUR for hour in range(1, _HOURS + 1) if top - hour * HOUR not in missing
    ]
    times = np.array([at.replace(tzinfo=None) for at in reversed(answered)], "datetime64[us]")
    gaps = find_gaps(times, top - _HOURS * HOUR, now)
    assert {
        start + number * HOUR for start, end in gaps for number in range((end - start) // HOUR)
    } == missing
    made = plan(state(top - _HOURS * HOUR, top, missing_hours=gaps), now=now)
    assert_askable(made.windows, now)
    assert made.windows[0].end == now
    for hour in missing:
        assert any(w.start <= hour and hour + HOUR <= w.end for w in made.windows)
    # the newest window reaches to now and takes what is in its reach
    beyond = {hour for hour in missing if hour < made.windows[0].start}
    assert len(made.windows) == 1 + fewest(beyond)
