"""A cache of documents that were parsed and validated."""

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
LONGEST_DOCUMENT = 10_000  # characters; a longer one is parsed for each request
MOST_CHARACTERS = 50_000  # of all documents; each costs the garbage collector about 0.5 objects

_MOST_TOKENS = 2_000  # of a document that is only inspected


@dataclass(frozen=True, slots=True)
class ValidDocument:
    """A document that can be executed, and its cost plan."""

    node: DocumentNode
    costs: CostPlan

    @property
    def operations(self) -> int:
        """The number of operations in the document."""
        return sum(isinstance(part, OperationDefinitionNode) for part in self.node.definitions)


class DocumentCache:
    """A least-recently-used cache of documents, by their text.

    At most MOST_DOCUMENTS documents and MOST_CHARACTERS characters.
    """

    def __init__(self) -> None:
        self._documents: OrderedDict[str, ValidDocument] = OrderedDict()
        self._characters = 0

    def get(self, text: str) -> ValidDocument | None:
        """Return the cached document; None if there is none."""
        document = self._documents.get(text)
        if document is not None:
            self._documents.move_to_end(text)
        return document

    def put(self, text: str, document: ValidDocument) -> None:
        """Cache a document unless it is longer than LONGEST_DOCUMENT."""
        if len(text) > LONGEST_DOCUMENT or text in self._documents:
            return
        self._documents[text] = document
        self._characters += len(text)
        while len(self._documents) > MOST_DOCUMENTS or self._characters > MOST_CHARACTERS:
            dropped, _ = self._documents.popitem(last=False)
            self._characters -= len(dropped)


def is_mutation(text: str, name: str | None) -> bool:
    """Return True if the named operation is a mutation. False for unreadable documents."""
    try:
        document = parse(text, no_location=True, max_tokens=_MOST_TOKENS)
        operation = get_operation_ast(document, name)
    except (GraphQLError, RecursionError):
        return False
    return operation is not None and operation.operation is OperationType.MUTATION
