"""The GraphQL schema: Strawberry types and thin resolvers."""

from strawberry.schema.config import StrawberryConfig

from schema.execution.schema import LimitedSchema
from schema.limits import Limits
from schema.mutation import Mutation
from schema.query import Query
from schema.scalars import SCALARS
from schema.subscription import Subscription


def build_schema(limits: Limits | None = None) -> LimitedSchema:
    """Build the schema. It is stateless; the context provides what resolvers need."""
    return LimitedSchema(
        limits=limits or Limits(),
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        config=StrawberryConfig(scalar_map=SCALARS),
    )
