"""A response cache by itself."""

import pytest

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
