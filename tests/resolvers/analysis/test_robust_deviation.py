"""Medians and deviations of windows, compared with the standard library."""

import math
from statistics import fmean, median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers.analysis.robust_deviation import trailing
from tests.resolvers.price_answers import numbers_of

VALUES = st.floats(-1, 1) | st.sampled_from([0.0, 0.0, 0.01, -0.01]) | st.none()


@pytest.mark.slow
@given(st.lists(VALUES, min_size=20, max_size=40), st.integers(3, 20))
def test_any_values(values: list[float | None], window: int) -> None:
    places = np.arange(window, len(values))
    found = trailing(numbers_of(values), window, places)
    for number, place in enumerate(places.tolist()):
        known = [value for value in values[place - window : place] if value is not None]
        result = (found.center[number], found.deviation[number], found.still[number])
        if 2 * len(known) < window:
            assert (math.isnan(result[0]), math.isnan(result[1]), result[2]) == (True, True, False)
            continue
        middle = median(known)
        distances = [abs(value - middle) for value in known]
        spread = 1.4826 * median(distances) or 1.2533 * fmean(distances)
        assert result[0] == middle
        assert result[1] == pytest.approx(max(spread, 1e-6), rel=1e-12)
        assert result[2] == (set(known) == {0.0})


def test_only_the_requested_places() -> None:
    values = numbers_of([float(number * number) for number in range(30)])
    every, few = (trailing(values, 5, np.array(at)) for at in (range(5, 30), [7, 29]))
    assert few.center.tolist() == [every.center[2], every.center[24]] == [16.0, 26.0**2]
    assert few.deviation.tolist() == [every.deviation[2], every.deviation[24]]


def test_no_places() -> None:
    assert len(trailing(numbers_of([1.0] * 9), 5, np.array([], dtype=np.intp)).center) == 0
