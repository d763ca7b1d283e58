"""Downsampling: which points must remain, and how many may."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers.analysis.downsampling import downsampled
from resolvers.errors import BadInputError
from tests.resolvers.price_answers import answer_of

PRICES = st.floats(min_value=0, max_value=1e300)


@pytest.mark.slow
@given(
    prices=st.lists(PRICES | st.none() | st.sampled_from([1.0, 2.0]), max_size=60),
    gaps=st.lists(st.integers(1, 500), min_size=60, max_size=60),
    most=st.integers(4, 70),
    descending=st.booleans(),
)
def test_any_series(
    prices: list[float | None], gaps: list[int], most: int, *, descending: bool
) -> None:
    places = np.cumsum(gaps)[: len(prices)].tolist()
    answer = answer_of(prices, places=places, descending=descending)
    fewer = downsampled(answer, most).columns
    whole = list(
        zip(answer.columns.timestamps.tolist(), answer.columns.prices.tolist(), strict=True)
    )
    real = [point for point in whole if not np.isnan(point[1])]
    kept = list(zip(fewer.timestamps.tolist(), fewer.prices.tolist(), strict=True))
    assert [point for point in real if point in kept] == kept, "real points in their order"
    assert len(kept) <= most
    if len(real) <= most:
        assert kept == real
        return
    assert (kept[0], kept[-1]) == (real[0], real[-1])
    values = [price for _, price in kept]
    assert min(values) == min(price for _, price in real)
    assert max(values) == max(price for _, price in real)
    assert len(kept) >= most - 2
    assert fewer.market_cap is not None
    assert fewer.market_cap.tolist() == [price / 2 for price in values], "all of a point stays"


@pytest.mark.parametrize("most", [4, 5, 10, 100, 2_000, 2_159])
def test_extremes_in_the_middle_of_a_bucket_stay(most: int) -> None:
    """Two peaks of one hour, where the triangles around them are the smallest."""
    rising = np.geomspace(1, 1e12, 2_160)
    rising[700], rising[701], rising[702] = 1e-9, 1e-12, 2e-9
    rising[1400], rising[1401], rising[1402] = 2e12, 3e12, 2e12
    kept = downsampled(answer_of(rising.tolist()), most).columns
    assert {1e-12, 3e12, rising[0], rising[-1]} <= set(kept.prices.tolist())
    assert most - 2 <= len(kept) <= most


def test_the_shape_stays() -> None:
    """A quarter of the points, connected by lines, stays close to a smooth curve."""
    hours = np.arange(2_000)
    curve = 100 + 10 * np.sin(hours / 50)
    kept = downsampled(answer_of(curve.tolist()), 200).columns
    assert kept.samples is not None
    drawn = np.interp(hours, kept.samples, kept.prices)
    assert np.abs(drawn - curve).max() < 0.5
    assert len(kept) == 200


@pytest.mark.parametrize("most", [3, 2, 0, -1, 10_001])
def test_invalid_numbers_are_rejected(most: int) -> None:
    with pytest.raises(BadInputError, match="`maxPoints` must be between 4 and 10,000, not"):
        downsampled(answer_of([1.0, 2.0]), most)
