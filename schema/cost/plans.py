"""From a document to what it costs: a plan is made once of each, and then takes variables.

A plan holds what does not depend on variables, summed up, and the parts that do. Fragments are
planned once and reckoned once, in whatever fields they are spread: their amounts tell the cost for
any length of a series.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
)

from resolvers.data_extent import DataExtent
from schema.cost.amounts import NOTHING, Amount
from schema.cost.arguments import Arguments, read_arguments, read_value
from schema.cost.introspection import introspection_field, introspection_widths
from schema.cost.weights import FIELD, LEAVES, LETTERS, OWN, SIZES, WIDTHS, Asked, Size


@dataclass(frozen=True, slots=True)
class Reckoning:
    """What plans are reckoned with. `known` keeps each fragment's amount."""

    variables: Mapping[str, Any]
    now: datetime
    extent: DataExtent
    known: dict[int, Amount] = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """`fixed`, and parts that depend on variables. `shared` by the spreads of a fragment."""

    fixed: Amount = NOTHING
    parts: list["_Part"] = field(default_factory=list)
    shared: bool = False

    def reckon(self, reckoning: Reckoning) -> Amount:
        if not self.parts:
            return self.fixed
        if self.shared and (known := reckoning.known.get(id(self))) is not None:
            return known
        amount = self.fixed
        for part in self.parts:
            amount = amount.plus(part.reckon(reckoning))
        if self.shared:
            reckoning.known[id(self)] = amount
        return amount

    def add(self, part: "_Part") -> None:
        if part.depends:
            self.parts.append(part)
        else:
            self.fixed = self.fixed.plus(part.width(part.below.fixed))


def _as_it_is(amount: Amount) -> Amount:
    return amount


@dataclass(frozen=True, slots=True)
class _Part:
    """Something selected: left out where a condition says so, sized by arguments, or a list."""

    below: Plan
    conditions: tuple[tuple[bool, str], ...] = ()
    size: Callable[[Asked], Size] | None = None
    arguments: Arguments = field(default_factory=Arguments)
    width: Callable[[Amount], Amount] = _as_it_is

    @property
    def depends(self) -> bool:
        return bool(self.conditions or self.size or self.below.parts)

    def reckon(self, reckoning: Reckoning) -> Amount:
        for wanted, name in self.conditions:
            if reckoning.variables.get(name) is (not wanted):
                return NOTHING
        below = self.below.reckon(reckoning)
        if self.size is None:
            return self.width(below)
        arguments = self.arguments.with_variables(reckoning.variables)
        size = self.size(Asked(arguments, reckoning.now, reckoning.extent))
        return size.own.plus(Amount(size.times * below.at(size.buckets, size.series)))


class Planner:
    """Plans the operations of one document, which is valid."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._widths = WIDTHS | introspection_widths(schema)
        self._nodes = {
            node.name.value: node
            for node in document.definitions
            if isinstance(node, FragmentDefinitionNode)
        }
        self._fragments: dict[str, Plan] = {}

    def plan(self, operation: OperationDefinitionNode) -> dict[str, Plan]:
        """Plan each field of the root by itself, under its response name."""
        root = self._schema.get_root_type(operation.operation)
        found: dict[str, Plan] = {}
        for node in operation.selection_set.selections:
            self._add(found.setdefault(_label(node), Plan()), node, root)
        return found

    def _selection(self, selection: SelectionSetNode, parent: GraphQLNamedType | None) -> Plan:
        plan = Plan()
        for node in selection.selections:
            self._add(plan, node, parent)
        return plan

    def _add(self, plan: Plan, node: SelectionNode, parent: GraphQLNamedType | None) -> None:
        conditions: list[tuple[bool, str]] = []
        for directive in node.directives or ():
            wanted = _condition(directive)
            if wanted is False:
                return
            if isinstance(wanted, tuple):
                conditions.append(wanted)
        plan.add(self._part(node, parent, tuple(conditions)))

    def _part(
        self,
        node: SelectionNode,
        parent: GraphQLNamedType | None,
        conditions: tuple[tuple[bool, str], ...],
    ) -> _Part:
        if isinstance(node, FragmentSpreadNode):
            return _Part(self._fragment(node.name.value), conditions)
        if isinstance(node, InlineFragmentNode):
            condition = node.type_condition
            inner = parent if condition is None else self._schema.get_type(condition.name.value)
            return _Part(self._selection(node.selection_set, inner), conditions)
        assert isinstance(node, FieldNode)  # noqa: S101 - there are three kinds
        return self._field(node, parent, conditions)

    def _fragment(self, name: str) -> Plan:
        plan = self._fragments.get(name)
        if plan is None:
            node = self._nodes[name]
            parent = self._schema.get_type(node.type_condition.name.value)
            plan = self._fragments[name] = self._selection(node.selection_set, parent)
            plan.shared = True
        return plan

    def _field(
        self,
        node: FieldNode,
        parent: GraphQLNamedType | None,
        conditions: tuple[tuple[bool, str], ...],
    ) -> _Part:
        name, owner = node.name.value, parent.name if parent else ""
        definition = self._definition(parent, name)
        below, own = Plan(), OWN.get((owner, name), LEAVES.get(owner, Amount(FIELD)))
        label = Amount(max(0, len(_label(node)) - LETTERS))
        if node.selection_set is not None and definition is not None:
            below = self._selection(node.selection_set, get_named_type(definition.type))
        size = SIZES.get((owner, name))
        if size is not None and definition is not None:
            arguments = read_arguments(definition, node)
            part = _Part(below, size=size, arguments=arguments)
            return _Part(Plan(label, [part]), conditions)
        widened = Plan(own.plus(label))
        widened.add(_Part(below, width=self._widths.get((owner, name), _as_it_is)))
        return _Part(widened, conditions)

    def _definition(self, parent: GraphQLNamedType | None, name: str) -> GraphQLField | None:
        found = parent.fields.get(name) if isinstance(parent, GraphQLObjectType) else None
        return found or introspection_field(name)


def _label(node: SelectionNode) -> str:
    if isinstance(node, FieldNode):
        return (node.alias or node.name).value
    return f"...{node.name.value}" if isinstance(node, FragmentSpreadNode) else "..."


def _condition(directive: DirectiveNode) -> bool | tuple[bool, str]:
    """Tell whether it lets its selection be, or upon which value of which variable."""
    name = directive.name.value
    if name not in {"include", "skip"} or not directive.arguments:
        return True
    wanted, value = name == "include", directive.arguments[0].value
    if isinstance(value, VariableNode):
        return wanted, value.name.value
    return bool(read_value(value, {})) is wanted
