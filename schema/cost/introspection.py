"""Estimates of the lengths of the lists in introspection queries."""

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
    """Return the definition of `__schema` or `__type`; None for other names."""
    return _META.get(name)


def introspection_widths(
    schema: GraphQLSchema,
) -> dict[tuple[str, str], Callable[[Amount], Amount]]:
    """Return for each list field how to multiply the cost of its selection.

    The factor is the mean length of the list, because most queries select it for all types.
    `__type` may name the type with the longest list, so its factor is higher.
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
    """Return how many times longer than the mean the longest field list is, rounded up."""
    return -(-max(len(each.fields) for each in objects) // mean)


def _half(amount: Amount) -> Amount:
    """Halve the amount: about half of all types wrap another one."""
    return Amount(*(-(-part // 2) for part in amount))


def _mean(lengths: list[int], among: int) -> int:
    """Return the mean length, rounded up."""
    return -(-sum(lengths) // max(1, among))
