"""Numbers that callers choose, and how large they may be."""

from resolvers.errors import BadInputError


def check_between(argument: str, value: int, least: int, most: int) -> int:
    """Give `value` back. Raises BadInputError where it lies outside of [least, most]."""
    if not least <= value <= most:
        raise BadInputError(f"`{argument}` must be between {least:,} and {most:,}, not {value:,}.")
    return value
