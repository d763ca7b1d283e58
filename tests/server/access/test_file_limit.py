"""The limit of open files, and the connections that it allows."""

import resource
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from server.access import file_limit

SHELLS = 256  # what a shell gives on macOS


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_is_raised() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SHELLS, hard))
    with capture_logs() as logged:
        file_limit.raise_limit(SHELLS)
    soft, unchanged = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft > SHELLS
    assert unchanged == hard
    assert not logged


@pytest.mark.parametrize("per_address", [0, 10**9])
def test_a_limit_that_one_address_can_exhaust_is_logged(per_address: int) -> None:
    with capture_logs() as logged:
        file_limit.raise_limit(per_address)
    (line,) = logged
    assert line["log_level"] == "warning"
    assert line["connections"] == per_address
    assert line["files"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
