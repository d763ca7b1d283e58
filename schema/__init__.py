"""What clients see: Strawberry types and thin fields."""

from strawberry.schema.config import StrawberryConfig

from schema.execution.schema import LimitedSchema
from schema.limits import Limits
from schema.mutation import Mutation
from schema.query import Query
from schema.scalars import SCALARS
from schema.subscription import Subscription


def build_schema(limits: Limits | None = None) -> LimitedSchema:
    """Make the schema. It holds no state; what fields need comes with the context."""
    return LimitedSchema(
        limits=limits or Limits(),
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        config=StrawberryConfig(scalar_map=SCALARS),
    )
