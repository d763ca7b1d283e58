"""Fixtures: a response cache, a log stream, databases and threads."""

import io
import logging
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog

from models.postgres.database import Database
from models.postgres.notifications import Listener
from server.graphql.response_cache import ResponseCache
from tests.conftest import new_database
from tests.server.cache_entries import ROOM
from tests.server.postgres_processes import make_data_dir


@pytest.fixture
def listener() -> Listener:
    """A listener in the state of listening."""
    listener = Listener(Database("postgresql://nobody@localhost/nothing"))
    listener.listening = True
    return listener


@pytest.fixture
def cache(listener: Listener) -> ResponseCache:
    cache = ResponseCache(ROOM, listener)
    listener.subscribe(cache)
    return cache


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """A stream to log to; logging is restored afterwards."""
    configure = structlog.configure
    monkeypatch.setattr(  # a logger that remembers its configuration would keep it after this test
        structlog,
        "configure",
        lambda **given: configure(**{**given, "cache_logger_on_first_use": False}),
    )
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(logging, "raiseExceptions", logging.raiseExceptions)
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory to copy, made once: initdb is slow."""
    return make_data_dir(tmp_path_factory.mktemp("made"))


@pytest.fixture
def data_dir(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "data"))


@pytest.fixture
def url(postgres_url: str) -> Iterator[str]:
    """The URL of an empty database for one test."""
    with new_database(postgres_url) as url:
        yield url


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads
