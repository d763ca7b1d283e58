"""Pauses double from the first to the longest one."""

import pytest

from models.backoff import pause_after


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0.5), (1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 5.0), (6, 5.0), (10**9, 5.0)],
)
def test_pauses_double(failures: int, seconds: float) -> None:
    assert pause_after(failures, first=0.5, longest=5.0) == seconds
