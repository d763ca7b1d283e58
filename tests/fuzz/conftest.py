"""One server for all fuzz tests."""

from collections.abc import Iterator

import pytest

from simulator import Simulator
from tests.conftest import new_database
from tests.fuzz.budget import SECONDS, SEED
from tests.fuzz.target import Target
from tests.fuzz.target import target as started


@pytest.fixture(scope="session")
def _shared_target(
    postgres_url: str, shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("target")
    base_url = shared_simulator.base_url
    with (
        new_database(postgres_url) as url,
        started(folder, DATABASE_URL=url, COINGECKO_BASE_URL=base_url) as server,
    ):
        server.settle()
        yield server


@pytest.fixture
def target(_shared_target: Target) -> Iterator[Target]:
    """The server, which must be healthy after each test."""
    print(f"FUZZ_SECONDS={SECONDS:g} FUZZ_SEED={SEED}")
    _shared_target.assert_well()
    yield _shared_target
    _shared_target.assert_well()
