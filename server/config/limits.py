"""The settings that limit GraphQL operations."""

from dataclasses import fields
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings

from schema.limits import Limits

_DEFAULT = Limits()
_MOST = 1_000_000_000
Bound = Annotated[int, Field(ge=1, le=_MOST)]


class LimitSettings(BaseSettings):
    """The limits of an operation. docs/security.md explains each."""

    max_document: Bound = _DEFAULT.max_document
    max_tokens: Bound = _DEFAULT.max_tokens
    max_depth: Bound = _DEFAULT.max_depth
    max_fields: Bound = _DEFAULT.max_fields
    max_aliases: Bound = _DEFAULT.max_aliases
    max_root_fields: Bound = _DEFAULT.max_root_fields
    max_directives: Bound = _DEFAULT.max_directives
    max_directives_each: Bound = _DEFAULT.max_directives_each
    max_overlaps: Bound = _DEFAULT.max_overlaps
    max_operations: Bound = _DEFAULT.max_operations
    max_fragments: Bound = _DEFAULT.max_fragments
    max_variables: Bound = _DEFAULT.max_variables
    max_list: Bound = _DEFAULT.max_list
    max_input_depth: Bound = _DEFAULT.max_input_depth
    max_input_values: Bound = _DEFAULT.max_input_values
    max_cost: Bound = _DEFAULT.max_cost
    introspection: bool = _DEFAULT.introspection

    def limits_of(self, *, operation_seconds: float) -> Limits:
        """Return the limits for the schema."""
        names = {each.name for each in fields(Limits)} - {"operation_seconds"}
        bounds = {name: getattr(self, name) for name in names}
        return Limits(operation_seconds=operation_seconds, **bounds)
