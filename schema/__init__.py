"""What clients see: Strawberry types and thin fields."""

from typing import Any

import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from schema.mutation import Mutation
from schema.query import Query
from schema.scalars import SCALARS


class _Schema(strawberry.Schema):
    def process_errors(
        self, errors: list[Any], execution_context: ExecutionContext | None = None
    ) -> None:
        """Leave the logging to schema.errors, which knows what was meant for the caller."""


def build_schema() -> strawberry.Schema:
    """Make the schema. It holds no state; what fields need comes with the context."""
    return _Schema(query=Query, mutation=Mutation, config=StrawberryConfig(scalar_map=SCALARS))
