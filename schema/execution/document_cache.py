"""Documents that were parsed and found valid, kept so that the next time costs nothing."""

from collections import OrderedDict
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
    parse,
)

from schema.cost import CostPlan

MOST_DOCUMENTS = 500
LONGEST_DOCUMENT = 10_000  # characters; a longer one is parsed anew each time
MOST_CHARACTERS = 50_000  # of all together: each is some 0.5 objects to the garbage collector

_MOST_TOKENS = 2_000  # of one that is only looked at


@dataclass(frozen=True, slots=True)
class ValidDocument:
    """A document that can be executed, and how to reckon what it costs."""

    node: DocumentNode
    costs: CostPlan

    @property
    def operations(self) -> int:
        return sum(isinstance(part, OperationDefinitionNode) for part in self.node.definitions)


class DocumentCache:
    """The documents used last, by their text. A flood of others costs a fixed amount of memory."""

    def __init__(self) -> None:
        self._documents: OrderedDict[str, ValidDocument] = OrderedDict()
        self._characters = 0

    def get(self, text: str) -> ValidDocument | None:
        document = self._documents.get(text)
        if document is not None:
            self._documents.move_to_end(text)
        return document

    def put(self, text: str, document: ValidDocument) -> None:
        if len(text) > LONGEST_DOCUMENT or text in self._documents:
            return
        self._documents[text] = document
        self._characters += len(text)
        while len(self._documents) > MOST_DOCUMENTS or self._characters > MOST_CHARACTERS:
            dropped, _ = self._documents.popitem(last=False)
            self._characters -= len(dropped)


def is_mutation(text: str, name: str | None) -> bool:
    """Whether this operation of a document is a mutation. False where it cannot be read."""
    try:
        document = parse(text, no_location=True, max_tokens=_MOST_TOKENS)
        operation = get_operation_ast(document, name)
    except (GraphQLError, RecursionError):
        return False
    return operation is not None and operation.operation is OperationType.MUTATION
