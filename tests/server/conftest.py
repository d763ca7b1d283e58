"""A response cache by itself, and something to log to."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from models.database import Database
from models.notifications import Listener
from server.cache import AnswerCache
from tests.server.keeping import ROOM


@pytest.fixture
def listener() -> Listener:
    """As if it listened."""
    listener = Listener(Database("postgresql://nobody@localhost/nothing"))
    listener.listening = True
    return listener


@pytest.fixture
def cache(listener: Listener) -> AnswerCache:
    cache = AnswerCache(ROOM, listener)
    listener.join(cache)
    return cache


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """To log to; afterwards logging is put back as it was."""
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
