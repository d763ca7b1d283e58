"""A test that fails while an hour ends is run once more.

What a test compares may then be of two hours. Tests about the change of hours and days have clocks
of their own, and no hour ends under them twice.

See docs/decisions/0022-tests-at-the-end-of-an-hour.md.
"""

import time

import pytest
from _pytest.runner import runtestprotocol  # pytest has no public way to run a test again

_HOUR = 3600


def hour() -> int:
    """The number of the current hour since 1970, in UTC."""
    return int(time.time() // _HOUR)


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run one test with its fixtures, and again if it failed and the hour is another one."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    began = hour()
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    if hour() != began and any(report.failed for report in reports):
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
