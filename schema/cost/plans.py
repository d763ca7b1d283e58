"""The cost plan of a document: planned once, then evaluated with the variables of each request.

A plan holds the sum of everything that does not depend on variables, and a list of the parts that
do. Each fragment is planned and evaluated once, however many fields spread it: an Amount gives the
cost for any length of a series.
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
from schema.cost.weights import (
    FIELD,
    LEAVES,
    LETTERS,
    OWN,
    SIZES,
    WIDTHS,
    FieldArguments,
    FieldCost,
)


@dataclass(frozen=True, slots=True)
class CostInputs:
    """The inputs of one evaluation: variables, time and data extent.

    `known` caches the amount of each fragment.
    """

    variables: Mapping[str, Any]
    now: datetime
    extent: DataExtent
    known: dict[int, Amount] = field(default_factory=dict)


@dataclass(slots=True)
class PlannedCost:
    """The cost of a selection: `fixed`, plus parts that depend on variables.

    `shared` is True for a fragment, whose amount is cached during an evaluation.
    """

    fixed: Amount = NOTHING
    parts: list["_Part"] = field(default_factory=list)
    shared: bool = False

    def evaluate(self, inputs: CostInputs) -> Amount:
        """Compute the cost with these inputs."""
        if not self.parts:
            return self.fixed
        if self.shared and (known := inputs.known.get(id(self))) is not None:
            return known
        amount = self.fixed
        for part in self.parts:
            amount = amount.plus(part.evaluate(inputs))
        if self.shared:
            inputs.known[id(self)] = amount
        return amount

    def add(self, part: "_Part") -> None:
        """Add a part, to `fixed` if it does not depend on variables."""
        if part.depends:
            self.parts.append(part)
        else:
            self.fixed = self.fixed.plus(part.width(part.below.fixed))


def _as_it_is(amount: Amount) -> Amount:
    return amount


@dataclass(frozen=True, slots=True)
class _Part:
    """A selected field or fragment.

    It counts only if its `conditions` (`@skip` and `@include` with variables) hold. `size` computes
    its length from its arguments; `width` multiplies what is selected below a list.
    """

    below: PlannedCost
    conditions: tuple[tuple[bool, str], ...] = ()
    size: Callable[[FieldArguments], FieldCost] | None = None
    arguments: Arguments = field(default_factory=Arguments)
    width: Callable[[Amount], Amount] = _as_it_is

    @property
    def depends(self) -> bool:
        return bool(self.conditions or self.size or self.below.parts)

    def evaluate(self, inputs: CostInputs) -> Amount:
        for wanted, name in self.conditions:
            if inputs.variables.get(name) is (not wanted):
                return NOTHING
        below = self.below.evaluate(inputs)
        if self.size is None:
            return self.width(below)
        arguments = self.arguments.with_variables(inputs.variables)
        size = self.size(FieldArguments(arguments, inputs.now, inputs.extent))
        return size.own.plus(Amount(size.times * below.at(size.buckets, size.series)))


class CostPlanner:
    """Plans the operations of one valid document."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._widths = WIDTHS | introspection_widths(schema)
        self._nodes = {
            node.name.value: node
            for node in document.definitions
            if isinstance(node, FragmentDefinitionNode)
        }
        self._fragments: dict[str, PlannedCost] = {}

    def plan(self, operation: OperationDefinitionNode) -> dict[str, PlannedCost]:
        """Plan each root field of the operation, by response name."""
        root = self._schema.get_root_type(operation.operation)
        found: dict[str, PlannedCost] = {}
        for node in operation.selection_set.selections:
            self._add(found.setdefault(_label(node), PlannedCost()), node, root)
        return found

    def _selection(
        self, selection: SelectionSetNode, parent: GraphQLNamedType | None
    ) -> PlannedCost:
        plan = PlannedCost()
        for node in selection.selections:
            self._add(plan, node, parent)
        return plan

    def _add(self, plan: PlannedCost, node: SelectionNode, parent: GraphQLNamedType | None) -> None:
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

    def _fragment(self, name: str) -> PlannedCost:
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
        below, own = PlannedCost(), OWN.get((owner, name), LEAVES.get(owner, Amount(FIELD)))
        label = Amount(max(0, len(_label(node)) - LETTERS))
        if node.selection_set is not None and definition is not None:
            below = self._selection(node.selection_set, get_named_type(definition.type))
        size = SIZES.get((owner, name))
        if size is not None and definition is not None:
            arguments = read_arguments(definition, node)
            part = _Part(below, size=size, arguments=arguments)
            return _Part(PlannedCost(label, [part]), conditions)
        widened = PlannedCost(own.plus(label))
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
    """Return whether the directive keeps its selection.

    If that depends on a variable, return the required value and the variable's name.
    """
    name = directive.name.value
    if name not in {"include", "skip"} or not directive.arguments:
        return True
    wanted, value = name == "include", directive.arguments[0].value
    if isinstance(value, VariableNode):
        return wanted, value.name.value
    return bool(read_value(value, {})) is wanted
