"""Automatic persisted queries, by the Apollo protocol: a query's hash stands for its text.

https://www.apollographql.com/docs/apollo-server/performance/apq
"""

import hashlib
import re
from collections import OrderedDict
from typing import Any

MOST_QUERIES = 1_000
LONGEST_QUERY = 20_000  # characters
MOST_CHARACTERS = 1_000_000  # of all together

_HASH = re.compile(r"[0-9a-fA-F]{64}")


class BadHashError(ValueError):
    """An extension `persistedQuery` that cannot be worked with; the text is for the caller."""


class PersistedQueries:
    """The texts used last, by their SHA-256 in hexadecimal. Only valid documents belong here."""

    def __init__(self) -> None:
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._characters = 0

    def get(self, sha256: str) -> str | None:
        text = self._texts.get(sha256)
        if text is not None:
            self._texts.move_to_end(sha256)
        return text

    def put(self, sha256: str, text: str) -> None:
        if sha256 in self._texts or len(text) > LONGEST_QUERY:
            return
        self._texts[sha256] = text
        self._characters += len(text)
        while len(self._texts) > MOST_QUERIES or self._characters > MOST_CHARACTERS:
            _, dropped = self._texts.popitem(last=False)
            self._characters -= len(dropped)


def hash_in(extensions: dict[str, Any] | None) -> str | None:
    """Give the hash that a request names, None without one. Raises BadHashError."""
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
    """Raise BadHashError unless this is the text's hash."""
    if hashlib.sha256(text.encode()).hexdigest() != sha256:
        raise BadHashError("`sha256Hash` is not the SHA-256 of `query`, taken as UTF-8.")
