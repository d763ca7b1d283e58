"""Check that `make test` and `make test-endurance` together run every test exactly once.

Usage: python -m tests.tiers FAST MAIN ENDURANCE, each an expression of markers as for pytest's -m.
"""

import contextlib
import io
import sys

import pytest

_MARKERS = ("processes", "slow", "endurance")


class Collected:
    """Records the markers of all tests that pytest finds."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[str, bool]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            present = {mark.name for mark in item.iter_markers()}
            self.tests[item.nodeid] = {name: name in present for name in _MARKERS}


def main() -> None:
    collected = Collected()
    listing = io.StringIO()
    with contextlib.redirect_stdout(listing):
        status = pytest.main(["--collect-only", "-q"], plugins=[collected])
    if status != pytest.ExitCode.OK:
        sys.exit(listing.getvalue())
    tiers = [
        {test for test, markers in collected.tests.items() if eval(text, {}, markers)}  # noqa: S307 - the Makefile's
        for text in sys.argv[1:]
    ]
    fast, ordinary, endurance = tiers
    print(f"{len(fast)} fast of {len(ordinary)}, {len(endurance)} endurance")  # noqa: T201 - its result
    lost = collected.tests.keys() - ordinary - endurance
    if lost or ordinary & endurance or not fast < ordinary or not endurance:
        sys.exit(f"in no tier: {sorted(lost)}; in two: {sorted(ordinary & endurance)}")


if __name__ == "__main__":
    main()
