"""Hours that did not come: how often they were asked for, whatever was asked and came."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from models.gaps import GAP_ROW, SETTLED, Asked, count_asked, hours_in
from models.hours import Rows, micros
from tests.models.storing import HOUR, NOON

NOTHING = np.empty(0, GAP_ROW)
_SPAN = 40
_edges = st.integers(0, _SPAN * 60)  # minutes after NOON
_ranges = st.lists(st.tuples(_edges, _edges, st.integers(1, SETTLED)), max_size=4)
_steps = st.tuples(_ranges, st.sets(st.integers(0, _SPAN), max_size=15))


def as_asked(ranges: Sequence[tuple[int, int, int]]) -> list[Asked]:
    """Make ranges that begin on the hour and end wherever they do."""
    return [
        Asked(NOON + (min(a, b) // 60) * HOUR, NOON + max(a, b) * timedelta(minutes=1), times)
        for a, b, times in ranges
    ]


def after_noon(at: int) -> int:
    """Count the hours from NOON to this moment."""
    return (at - micros(NOON)) // 3_600_000_000


def by_hour(gaps: Rows) -> dict[int, int]:
    """Give how often each missing hour was asked for, in hours after NOON."""
    found = {}
    for starts, ends, asked in gaps.tolist():
        for hour in range(
            (starts - micros(NOON)) // 3_600_000_000, (ends - micros(NOON)) // 3_600_000_000
        ):
            assert hour not in found
            found[hour] = asked
    return found


@given(st.lists(_steps, min_size=1, max_size=5))
@example([([(0, 600, 1)], {2, 3}), ([(0, 600, 3)], set()), ([(30 * 60, 2400, 1)], {35})])
def test_each_missing_hour_is_counted(
    steps: list[tuple[list[tuple[int, int, int]], set[int]]],
) -> None:
    gaps, expected, stored = NOTHING, dict[int, int](), set[int]()
    for ranges, came in steps:
        asked = as_asked(ranges)
        covered = [
            (hour, each.times)
            for each in asked
            for hour in range(_SPAN + 1)
            if each.start <= NOON + hour * HOUR and NOON + (hour + 1) * HOUR <= each.end
        ]
        stored |= came
        for hour, times in covered:
            expected[hour] = expected.get(hour, 0) + times
        expected = {h: min(n, SETTLED) for h, n in expected.items() if h not in stored}
        present = np.array([micros(NOON + hour * HOUR) for hour in sorted(stored)], np.int64)
        gaps = count_asked(gaps, asked, present)
        assert by_hour(gaps) == expected
        # neighbours differ, or they would be one
        runs = gaps.tolist()
        for (_, ends, n), (starts, _, m) in pairwise(runs):
            assert ends < starts or (ends == starts and n != m)
        hours = [after_noon(at) for at in hours_in(gaps).tolist()]
        assert hours == sorted(expected)


def test_nothing_asked_is_nothing_missing() -> None:
    assert len(count_asked(NOTHING, [], np.empty(0, np.int64))) == 0
    assert len(hours_in(NOTHING)) == 0
