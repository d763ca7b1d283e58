"""One simulator whose time stands still, and a plain client for it."""

from collections.abc import Iterator

import httpx
import pytest

from simulator import Simulator, run_simulator
from tests.simulator.asking import OPTIONS


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with run_simulator(OPTIONS) as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator) -> Iterator[Simulator]:
    yield running
    running.clear_faults()


@pytest.fixture
def http(simulator: Simulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=simulator.base_url) as client:
        yield client
