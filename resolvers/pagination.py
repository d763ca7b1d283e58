"""Keyset pages: how many, and from where on."""

import base64
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
    rows: Sequence[Row], first: int, after: str | None, cursor: Callable[[Row], str]
) -> Page[Row]:
    """Cut a page out of `first` + 1 rows."""
    kept = list(rows[:first])
    cursors = [cursor(row) for row in kept]
    return Page(kept, cursors, has_next=len(rows) > first, has_previous=after is not None)


def check_first(first: int, largest: int = LARGEST_PAGE) -> int:
    if not 1 <= first <= largest:
        raise BadInputError(f"`first` must be between 1 and {largest:,}, not {first:,}.")
    return first


def encode_cursor(kind: str, key: str) -> str:
    """Make a cursor of the kind of list it is for, and the key of the row it points to."""
    return base64.urlsafe_b64encode(f"{kind}:{key}".encode()).decode().rstrip("=")


def decode_cursor(kind: str, cursor: str) -> str:
    """Read the key back. Raises BadInputError for anything that is no cursor of this kind."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except ValueError:  # binascii.Error is one
        raise invalid_cursor() from None
    made_for, _, key = text.partition(":")
    if made_for != kind or not key or "\x00" in key:
        raise invalid_cursor()
    return key


def invalid_cursor() -> BadInputError:
    return BadInputError("`after` is not a cursor of this list: use `pageInfo.endCursor`.")


def check_between(argument: str, value: int, least: int, most: int) -> int:
    """Give `value` back. Raises BadInputError where it lies outside of [least, most]."""
    if not least <= value <= most:
        raise BadInputError(f"`{argument}` must be between {least:,} and {most:,}, not {value:,}.")
    return value
