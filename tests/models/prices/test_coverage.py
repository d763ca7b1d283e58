"""What is missing, against sets."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.prices.coverage import Coverage, measure
from models.prices.granularity import Granularity

BASE = datetime(2021, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def measured(present: set[int], start: int, end: int, begins: int | None, now: float) -> Coverage:
    times = [BASE.replace(tzinfo=None) + place * HOUR for place in sorted(present)]
    return measure(
        Granularity.HOUR,
        np.array(times, dtype="datetime64[us]"),
        start=BASE + start * HOUR,
        end=BASE + end * HOUR,
        begins=None if begins is None else BASE + begins * HOUR,
        now=BASE + now * HOUR,
    )


def gaps(found: Coverage) -> list[tuple[int, int, int]]:
    base = np.datetime64(BASE.replace(tzinfo=None))
    each = zip(found.starts - base, found.ends - base, found.lengths.tolist(), strict=True)
    hour = np.timedelta64(1, "h")
    return [(int(start / hour), int(end / hour), length) for start, end, length in each]


def runs(missing: list[int]) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    for place in missing:
        if found and found[-1][1] == place:
            found[-1] = (found[-1][0], place + 1, found[-1][2] + 1)
        else:
            found.append((place, place + 1, 1))
    return found


@pytest.mark.slow
@settings(max_examples=500)
@given(
    present=st.sets(st.integers(0, 40)),
    earlier=st.integers(0, 5),
    edges=st.tuples(st.integers(-10, 50), st.integers(-10, 50)).map(sorted),
    now=st.floats(-10, 60),
)
def test_any_series(present: set[int], earlier: int, edges: list[int], now: float) -> None:
    """`earlier`: True if the series began before its stored part."""
    start, end = edges
    begins = min(present) - earlier if present else None
    found = measured({p for p in present if start <= p < end}, start, end, begins, now)
    inside = [
        place
        for place in range(start, end)
        if begins is not None and place >= begins and (place + 1 <= now or place in present)
    ]
    if inside:  # the clock may lag behind the stored rows: nothing between is forgotten
        newest = max(present & set(inside), default=-99)
        inside = [p for p in range(start, end) if p >= begins and (p in inside or p < newest)]  # type: ignore[operator] # as above
    here = sorted(present & set(inside))
    assert (found.expected, found.present) == (len(inside), len(here))
    assert gaps(found) == runs([place for place in inside if place not in present])
    assert sum(found.lengths) == found.expected - found.present
    assert found.first == (BASE + here[0] * HOUR if here else None)
    assert found.last == (BASE + here[-1] * HOUR if here else None)


def test_the_hour_that_runs_is_no_gap_yet() -> None:
    assert gaps(measured({0, 1}, 0, 10, 0, now=2.9)) == []
    assert gaps(measured({0, 1}, 0, 10, 0, now=3)) == [(2, 3, 1)]
    assert measured({0, 1, 2}, 0, 10, 0, now=2.9).expected == 3


def test_months_are_counted_as_months() -> None:
    months = np.array(["2020-12-01", "2021-03-01"], dtype="datetime64[us]")
    found = measure(
        Granularity.MONTH,
        months,
        start=datetime(2020, 6, 1, tzinfo=UTC),
        end=datetime(2021, 6, 1, tzinfo=UTC),
        begins=datetime(2020, 12, 13, tzinfo=UTC),
        now=datetime(2021, 5, 20, tzinfo=UTC),
    )
    assert (found.expected, found.present) == (5, 2)
    assert found.lengths.tolist() == [2, 1]
    assert [str(at)[:10] for at in found.starts] == ["2021-01-01", "2021-04-01"]
    assert [str(at)[:10] for at in found.ends] == ["2021-03-01", "2021-05-01"]
