"""What an operation will cost, told before it is executed, from its arguments."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from graphql import DocumentNode, GraphQLSchema, OperationDefinitionNode

from resolvers.data_extent import DataExtent
from resolvers.errors import TooComplexError
from schema.cost.arguments import read_value
from schema.cost.plans import Plan, Planner, Reckoning

__all__ = ["Cost", "CostPlan", "check_cost"]


@dataclass(frozen=True, slots=True)
class Cost:
    """An upper bound of the work, in values of a columnar list. `dearest` is a root field."""

    requested: int
    dearest: str
    dearest_requested: int


@dataclass(frozen=True, slots=True)
class _Operation:
    fields: dict[str, Plan]
    defaults: dict[str, Any]


class CostPlan:
    """What a valid document costs, whatever its variables are."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._document = document
        self._planner: Planner | None = None
        self._operations: dict[str | None, _Operation] = {}

    def plan(self) -> None:
        """Plan all operations, of which there are few, so that each need only be reckoned."""
        for node in self._document.definitions:
            if isinstance(node, OperationDefinitionNode):
                self._operation(node.name.value if node.name else None)

    def cost(
        self,
        operation_name: str | None,
        variables: Mapping[str, Any] | None,
        now: datetime,
        extent: DataExtent,
    ) -> Cost:
        """Reckon one operation; without a name, the first."""
        operation = self._operation(operation_name)
        given = {**operation.defaults, **(variables or {})}
        reckoning = Reckoning(given, now, extent)
        total, dearest, most = 0, "", -1
        for name, plan in operation.fields.items():
            requested = plan.reckon(reckoning).fixed
            total += requested
            if requested > most:
                dearest, most = name, requested
        return Cost(total, dearest, most)

    def _operation(self, name: str | None) -> _Operation:
        operation = self._operations.get(name)
        if operation is None:
            node = next(
                node
                for node in self._document.definitions
                if isinstance(node, OperationDefinitionNode)
                and (name is None or (node.name is not None and node.name.value == name))
            )
            self._planner = self._planner or Planner(self._schema, self._document)
            operation = self._operations[name] = _Operation(
                self._planner.plan(node),
                {
                    variable.variable.name.value: read_value(variable.default_value, {})
                    for variable in node.variable_definitions or ()
                    if variable.default_value is not None
                },
            )
        return operation


def check_cost(cost: Cost, most: int) -> None:
    """Raise TooComplexError where an operation costs too much."""
    if cost.requested <= most:
        return
    factor = cost.requested / most
    raise TooComplexError(
        f"The operation would cost {cost.requested:,}, {factor:.1f} times what MAX_COST allows "
        f"({most:,}). The dearest field, `{cost.dearest[:60]}`, costs {cost.dearest_requested:,}: "
        "ask for fewer points (`first`, or a shorter range), for fewer fields or series, for a "
        "longer `granularity`, or in several operations.",
        "MAX_COST",
    )
