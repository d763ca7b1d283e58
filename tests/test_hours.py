"""The repetition of tests that fail while an hour ends."""

import pytest

from tests import hours

_TESTS = """
import pytest

runs = []

@pytest.fixture
def given():
    runs.append("set up")
    yield
    runs.append("torn down")

def test_it(given):
    runs.append("run")
    assert len([each for each in runs if each == "run"]) > FAILURES

def test_what_was_done():
    assert runs == ["set up", "run", "torn down"] * TIMES
"""


@pytest.mark.parametrize(
    ("failures", "readings", "times", "passed"),
    [
        (0, [7, 7], 1, 2),
        (0, [7, 8], 1, 2),  # a test that passes is not run again
        (1, [7, 7], 1, 1),  # one that fails within an hour has failed
        (1, [7, 8], 2, 2),
        (2, [7, 8], 2, 1),  # and one that fails twice has failed too
    ],
)
def test_a_failure_at_an_hours_end_is_tried_once_more(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    failures: int,
    readings: list[int],
    times: int,
    passed: int,
) -> None:
    left = [*readings, 9, 9]  # before and after each of the two tests
    monkeypatch.setattr(hours, "hour", lambda: left.pop(0))
    pytester.makepyfile(_TESTS.replace("FAILURES", str(failures)).replace("TIMES", str(times)))
    result = pytester.runpytest_inprocess("-p", "tests.hours", "-p", "no:asyncio", "-p", "no:xdist")
    result.assert_outcomes(passed=passed, failed=2 - passed)
