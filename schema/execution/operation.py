"""Prepared operations: everything about an operation that does not depend on its request."""

from dataclasses import dataclass

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
)
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError

from resolvers.errors import BadInputError
from schema.cost import CostPlan


@dataclass(frozen=True, slots=True)
class PreparedOperation:
    """An operation of a valid document, and the cost plan of that document.

    `text` is the document's. `name` is None if the operation has none.
    """

    text: str
    document: DocumentNode
    name: str | None
    kind: OperationType
    costs: CostPlan

    @property
    def tokens(self) -> int:
        """The number of tokens in the document; its memory grows with them."""
        return self.document.token_count or 0


class PreparedDocument:
    """The operations of a valid document, prepared once for all its requests."""

    __slots__ = ("_operations",)

    def __init__(self, schema: GraphQLSchema, text: str, document: DocumentNode) -> None:
        costs = CostPlan(schema, document)
        costs.plan()
        self._operations = {
            name: PreparedOperation(text, document, name, node.operation, costs)
            for node in document.definitions
            if isinstance(node, OperationDefinitionNode)
            for name in [node.name.value if node.name else None]
        }

    def select(self, name: str | None) -> PreparedOperation:
        """Return the operation with this name, without a name the only one.

        Raises BadInputError. https://spec.graphql.org/October2021/#GetOperation()
        """
        if name is None and len(self._operations) == 1:
            return next(iter(self._operations.values()))
        if name is not None and name in self._operations:
            return self._operations[name]
        if name is not None:
            raise BadInputError(f'Unknown operation named "{name}".')
        if self._operations:
            raise BadInputError(
                "The document has several operations: select one with `operationName`."
            )
        raise BadInputError("The document has no operation, only fragments.")


class OperationRefusedError(Exception):
    """An operation is rejected before its execution begins. `result` has errors and no data."""

    def __init__(self, result: ExecutionResult) -> None:
        super().__init__(result.errors)
        self.result = result


def refused(*errors: Exception) -> OperationRefusedError:
    """Make the error for an operation that is not executed, because of errors of any kind."""
    shaped = [
        error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)
        for error in errors
    ]
    return OperationRefusedError(PreExecutionError(data=None, errors=shaped))
