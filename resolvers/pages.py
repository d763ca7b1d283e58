"""Keyset pages: how many, and from where on."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from resolvers.errors import BadInputError

LARGEST_PAGE = 500

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Rows, the cursor of each, and whether more follow."""

    rows: list[Row]
    cursors: list[str]
    has_next: bool
    has_previous: bool


def make_page(
    rows: Sequence[Row], first: int, key: Callable[[Row], str], after: str | None
) -> Page[Row]:
    """Cut a page out of `first` + 1 rows."""
    kept = list(rows[:first])
    cursors = [encode_cursor(key(row)) for row in kept]
    return Page(kept, cursors, has_next=len(rows) > first, has_previous=after is not None)


def check_first(first: int, largest: int = LARGEST_PAGE) -> int:
    if not 1 <= first <= largest:
        raise BadInputError(f"`first` must be between 1 and {largest:,}, not {first:,}.")
    return first


def encode_cursor(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """Read a cursor back. Raises BadInputError for anything this server did not make."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        key = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        key = ""
    if not key or "\x00" in key or encode_cursor(key) != cursor:
        raise BadInputError("`after` is not a cursor of this list: use `pageInfo.endCursor`.")
    return key
