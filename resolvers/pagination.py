"""Keyset pagination: pages, opaque cursors, and checks of `first`."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from resolvers.errors import BadInputError

LARGEST_PAGE = 500

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """The rows of a page, the cursor of each, and whether other pages exist."""

    rows: list[Row]
    cursors: list[str]
    has_next: bool
    has_previous: bool


def make_page(
    rows: Sequence[Row], first: int, after: str | None, cursor: Callable[[Row], str]
) -> Page[Row]:
    """Build a page from up to `first` + 1 rows; the extra row shows that more follow."""
    page = list(rows[:first])
    cursors = [cursor(row) for row in page]
    return Page(page, cursors, has_next=len(rows) > first, has_previous=after is not None)


def check_first(first: int, largest: int = LARGEST_PAGE) -> int:
    """Return `first`. Raises BadInputError if it is outside of [1, `largest`]."""
    if not 1 <= first <= largest:
        raise BadInputError(f"`first` must be between 1 and {largest:,}, not {first:,}.")
    return first


def encode_cursor(kind: str, key: str) -> str:
    """Encode the kind of list and the key of a row as an opaque cursor."""
    return base64.urlsafe_b64encode(f"{kind}:{key}".encode()).decode().rstrip("=")


def decode_cursor(kind: str, cursor: str) -> str:
    """Return the key in a cursor. Raises BadInputError for other kinds and other text."""
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
    """Return the error for a cursor that is not one of this list."""
    return BadInputError("`after` is not a cursor of this list: use `pageInfo.endCursor`.")


def check_between(argument: str, value: int, least: int, most: int) -> int:
    """Return `value`. Raises BadInputError if it is outside of [`least`, `most`]."""
    if not least <= value <= most:
        raise BadInputError(f"`{argument}` must be between {least:,} and {most:,}, not {value:,}.")
    return value
