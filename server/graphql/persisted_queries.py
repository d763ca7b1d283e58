"""Automatic persisted queries: a client sends the hash of a query instead of its text.

https://www.apollographql.com/docs/apollo-server/performance/apq
"""

import hashlib
import re
from typing import Any

from models.least_recently_used import LeastRecentlyUsed

MOST_QUERIES = 1_000
LONGEST_QUERY = 20_000  # characters
MOST_CHARACTERS = 1_000_000  # of all cached queries
_LEAST = MOST_CHARACTERS // MOST_QUERIES  # characters that a shorter query counts as

_HASH = re.compile(r"[0-9a-fA-F]{64}")


class BadHashError(ValueError):
    """The extension `persistedQuery` is malformed or its hash is wrong; the text is public."""


class PersistedQueries:
    """An LRU cache of query texts by their SHA-256 in hexadecimal. Holds valid documents only."""

    def __init__(self) -> None:
        self._texts = LeastRecentlyUsed[str, str](MOST_CHARACTERS)

    def get(self, sha256: str) -> str | None:
        """Return the text with this hash, None if it is not cached."""
        return self._texts.get(sha256)

    def put(self, sha256: str, text: str) -> None:
        """Cache a text, unless it is longer than LONGEST_QUERY."""
        if len(text) <= LONGEST_QUERY and sha256 not in self._texts:
            self._texts.put(sha256, text, max(len(text), _LEAST))


def hash_in(extensions: dict[str, Any] | None) -> str | None:
    """Return the hash in a request's extensions, None without one. Raises BadHashError."""
    asked = (extensions or {}).get("persistedQuery")
    if asked is None:
        return None
    if not isinstance(asked, dict) or asked.get("version") != 1:
        raise BadHashError("`persistedQuery` must be an object with `version: 1`.")
    sha256 = asked.get("sha256Hash")
    if not isinstance(sha256, str) or not _HASH.fullmatch(sha256):
        raise BadHashError("`sha256Hash` must be a SHA-256 in 64 hexadecimal digits.")
    return sha256.lower()


def check_hash(sha256: str, text: str) -> None:
    """Raise BadHashError unless `sha256` is the hash of `text`."""
    if hashlib.sha256(text.encode()).hexdigest() != sha256:
        raise BadHashError("`sha256Hash` is not the SHA-256 of `query` in UTF-8.")
