"""The cost of an operation, computed from its arguments before it is executed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from graphql import DocumentNode, GraphQLSchema, OperationDefinitionNode

from resolvers.data_extent import DataExtent
from resolvers.errors import TooComplexError
from schema.cost.arguments import read_value
from schema.cost.plans import CostInputs, CostPlanner, PlannedCost

__all__ = ["Cost", "CostPlan", "check_cost"]


@dataclass(frozen=True, slots=True)
class Cost:
    """An upper bound of the work of an operation, in cost units (schema/cost/weights.py).

    `costliest` is the response name of the root field with the highest cost, `costliest_requested`.
    """

    requested: int
    costliest: str
    costliest_requested: int


@dataclass(frozen=True, slots=True)
class _Operation:
    fields: dict[str, PlannedCost]
    defaults: dict[str, Any]


class CostPlan:
    """The cost of a valid document for any values of its variables.

    Planned once for each document, then evaluated for each request.
    """

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._document = document
        self._planner: CostPlanner | None = None
        self._operations: dict[str | None, _Operation] = {}

    def plan(self) -> None:
        """Plan all operations of the document now instead of at their first use."""
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
        """Compute the cost of one operation; without a name, of the first."""
        operation = self._operation(operation_name)
        given = {**operation.defaults, **(variables or {})}
        inputs = CostInputs(given, now, extent)
        total, costliest, most = 0, "", -1
        for name, plan in operation.fields.items():
            requested = plan.evaluate(inputs).fixed
            total += requested
            if requested > most:
                costliest, most = name, requested
        return Cost(total, costliest, most)

    def _operation(self, name: str | None) -> _Operation:
        operation = self._operations.get(name)
        if operation is None:
            node = next(
                node
                for node in self._document.definitions
                if isinstance(node, OperationDefinitionNode)
                and (name is None or (node.name is not None and node.name.value == name))
            )
            self._planner = self._planner or CostPlanner(self._schema, self._document)
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
    """Raise TooComplexError if `cost` exceeds `most`."""
    if cost.requested <= most:
        return
    factor = cost.requested / most
    raise TooComplexError(
        f"The operation would cost {cost.requested:,}, {factor:.1f} times what MAX_COST allows "
        f"({most:,}). The most expensive field, `{cost.costliest[:60]}`, costs "
        f"{cost.costliest_requested:,}: request fewer points (`first`, or a shorter range), fewer "
        "fields or series, a longer `granularity`, or split the operation.",
        "MAX_COST",
    )
