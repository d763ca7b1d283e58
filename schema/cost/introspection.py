"""How long the lists are that the schema tells of itself."""

from collections.abc import Callable
from functools import partial

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    SchemaMetaFieldDef,
    TypeMetaFieldDef,
)

from schema.cost.amounts import Amount

_META = {"__schema": SchemaMetaFieldDef, "__type": TypeMetaFieldDef}


def introspection_field(name: str) -> GraphQLField | None:
    return _META.get(name)


def introspection_widths(
    schema: GraphQLSchema,
) -> dict[tuple[str, str], Callable[[Amount], Amount]]:
    """Multiply what is below lists by their mean length: mostly all types are asked about.

    Who names one may name the widest.
    """
    types = list(schema.type_map.values())
    objects = [each for each in types if isinstance(each, GraphQLObjectType)]
    fields = [each for kind in objects for each in kind.fields.values()]
    inputs = [each for each in types if isinstance(each, GraphQLInputObjectType)]
    enums = [each for each in types if isinstance(each, GraphQLEnumType)]
    counts = {
        ("__Schema", "types"): len(types),
        ("__Schema", "directives"): len(schema.directives),
        ("__Type", "fields"): _mean([len(each.fields) for each in objects], len(types)),
        ("__Type", "inputFields"): _mean([len(each.fields) for each in inputs], len(types)),
        ("__Type", "enumValues"): _mean([len(each.values) for each in enums], len(types)),
        ("__Field", "args"): _mean([len(each.args) for each in fields], len(fields)),
        ("__Directive", "args"): 2,
    }
    counts["Query", "__type"] = _times_the_mean(objects, counts["__Type", "fields"])
    widths = {place: partial(_times, count) for place, count in counts.items()}
    return {**widths, ("__Type", "ofType"): _half}


def _times(count: int, amount: Amount) -> Amount:
    return amount.times(count)


def _times_the_mean(objects: list[GraphQLObjectType], mean: int) -> int:
    """Tell how much wider than the mean the type is that a hostile caller names."""
    return -(-max(len(each.fields) for each in objects) // mean)


def _half(amount: Amount) -> Amount:
    """About half of all types are wrapped in another, and as many of those again."""
    return Amount(*(-(-part // 2) for part in amount))


def _mean(lengths: list[int], among: int) -> int:
    """Give the mean length, rounded up."""
    return -(-sum(lengths) // max(1, among))
