"""Errors for operations that exceed the limits."""

from collections.abc import Mapping
from typing import Any

from graphql import GraphQLError

from resolvers.errors import TooComplexError
from schema.limits.bounds import Limits
from schema.limits.measures import Measures
from schema.limits.values import measure_json

_SHORTER = "send it as several operations"
_FEWER_VALUES = "send fewer at a time"
_TEXTS = {  # the problem, and the advice
    "max_document": ("The document has {} characters", _SHORTER),
    "max_tokens": ("The document has more than {} tokens", _SHORTER),
    "max_depth": ("The operation nests fields {} deep", "nest less, or use two operations"),
    "max_fields": ("The operation selects {} fields, fragments included", _SHORTER),
    "max_aliases": ("The operation has {} aliases, fragments included", _SHORTER),
    "max_root_fields": ("The operation has {} fields at its root", _SHORTER),
    "max_directives": ("The operation has {} directives, fragments included", _SHORTER),
    "max_directives_each": ("There are {} directives in one place", "one `@skip` is enough"),
    "max_operations": ("The document has {} operations", "remove those that are not used"),
    "max_fragments": ("The document has {} fragments", "merge some, or " + _SHORTER),
    "max_variables": ("An operation has {} variables", "use lists or input objects"),
    "max_list": ("A list has {} entries", _FEWER_VALUES),
    "max_input_depth": ("A value is nested {} deep", "no argument takes such a value"),
    "max_input_values": ("The operation comes with {} values", _FEWER_VALUES),
}


def check_document(text: str, limits: Limits) -> None:
    """Raise TooComplexError if the document is too long."""
    _check("max_document", len(text), limits)


def check_measures(found: Measures, limits: Limits) -> list[GraphQLError]:
    """Return an error for each limit that a document exceeds."""
    size, values = found.size, found.values
    return _errors(
        {
            "max_depth": size.depth,
            "max_fields": size.fields,
            "max_aliases": size.aliases,
            "max_root_fields": size.top,
            "max_directives": size.directives,
            "max_directives_each": values.directives,
            "max_operations": found.operations,
            "max_fragments": found.fragments,
            "max_variables": found.variables,
            "max_list": values.longest,
            "max_input_depth": values.depth,
            "max_input_values": values.count,
        },
        limits,
    )


def check_variables(variables: Mapping[str, Any], limits: Limits) -> list[GraphQLError]:
    """Return an error for each limit that the variables exceed, declared or not."""
    found = measure_json(variables, limits.max_input_values)
    return _errors(
        {
            "max_variables": len(variables),
            "max_list": found.longest,
            "max_input_depth": found.depth,
            "max_input_values": found.count,
        },
        limits,
    )


def too_many_tokens(limits: Limits) -> TooComplexError:
    """Return the error for a document with too many tokens."""
    return _refusal("max_tokens", limits.max_tokens, limits)


def too_many_overlaps(limits: Limits) -> TooComplexError:
    """Return the error for a document whose fields take too many comparisons."""
    return TooComplexError(
        "Comparing the fields that share a response name takes more than "
        f"{limits.max_overlaps:,} steps (MAX_OVERLAPS): select each field once, or give aliases.",
        "MAX_OVERLAPS",
    )


def _errors(found: dict[str, int], limits: Limits) -> list[GraphQLError]:
    errors: list[GraphQLError] = []
    for name, count in found.items():
        try:
            _check(name, count, limits)
        except TooComplexError as error:
            errors.append(GraphQLError(str(error), original_error=error))
    return errors


def _check(name: str, found: int, limits: Limits) -> None:
    if found > getattr(limits, name):
        raise _refusal(name, found, limits)


def _refusal(name: str, found: int, limits: Limits) -> TooComplexError:
    what, advice = _TEXTS[name]
    return TooComplexError(
        f"{what.format(f'{found:,}')}; {name.upper()} allows {getattr(limits, name):,}: {advice}.",
        name.upper(),
    )
