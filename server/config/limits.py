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
    """The limits of an operation that a deployment may change. docs/security.md explains each.

    The other limits are constants: docs/decisions/0046-few-settings-for-limits.md
    """

    max_tokens: Bound = _DEFAULT.max_tokens
    max_depth: Bound = _DEFAULT.max_depth
    max_cost: Bound = _DEFAULT.max_cost
    introspection: bool = _DEFAULT.introspection

    def limits_of(self, *, operation_seconds: float) -> Limits:
        """Return the limits for the schema."""
        return Limits(
            max_tokens=self.max_tokens,
            max_depth=self.max_depth,
            max_cost=self.max_cost,
            introspection=self.introspection,
            operation_seconds=operation_seconds,
        )


FIXED_LIMITS = {
    each.name.upper()
    for each in fields(Limits)
    if each.name not in LimitSettings.model_fields and each.name != "operation_seconds"
}
"""The names of the limits that no setting changes; earlier versions had settings of these names."""
