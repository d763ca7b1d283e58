"""Automatic persisted queries: a client sends the hash of a query instead of its text.

https://www.apollographql.com/docs/apollo-server/performance/apq
"""

import hashlib
import re
from collections import OrderedDict
from typing import Any

MOST_QUERIES = 1_000
LONGEST_QUERY = 20_000  # characters
MOST_CHARACTERS = 1_000_000  # of all cached queries

_HASH = re.compile(r"[0-9a-fA-F]{64}")


class BadHashError(ValueError):
    """The extension `persistedQuery` is malformed or its hash is wrong; the text is public."""


class PersistedQueries:
    """An LRU cache of query texts by their SHA-256 in hexadecimal. Holds valid documents only."""

    def __init__(self) -> None:
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._characters = 0

    def get(self, sha256: str) -> str | None:
        """Return the text with this hash, None if it is not cached."""
        text = self._texts.get(sha256)
        if text is not None:
            self._texts.move_to_end(sha256)
        return text

    def put(self, sha256: str, text: str) -> None:
        """Cache a text, unless it is longer than LONGEST_QUERY."""
        if sha256 in self._texts or len(text) > LONGEST_QUERY:
            return
        self._texts[sha256] = text
        self._characters += len(text)
        while len(self._texts) > MOST_QUERIES or self._characters > MOST_CHARACTERS:
            _, dropped = self._texts.popitem(last=False)
            self._characters -= len(dropped)


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
