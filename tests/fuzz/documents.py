"""GraphQL documents of the schema: valid ones by hypothesis-graphql, and variations of them."""

from collections.abc import Callable
from random import Random
from typing import Any

import graphql
from graphql.language import ast
from hypothesis import strategies as st
from hypothesis_graphql import mutations, nodes, queries

from schema import build_schema
from tests.fuzz.literals import literal
from tests.fuzz.values import FLOATS, INTEGERS, KNOWN, TEXTS, TIMES, cut, value

SDL = build_schema().as_str()
_SCHEMA = graphql.build_schema(SDL)
assert _SCHEMA.query_type
_SMALL = [each for each in INTEGERS if abs(each) < 2**31]
_STRANGE = [
    *(
        b"{",
        b"}" * 3,
        b"[" * 500,
        b"{a" * 300,
        b"(",
        b'"',
        b'"""',
        b"\\u{110000}",
        b"\\ud800",
        b"\0",
    ),
    *(
        b"...",
        b"... on Query",
        b"...F",
        b"@skip",
        b"@include(if: $x)",
        b"$",
        b"#",
        b"&",
        b"!",
        b"|",
    ),
    *(
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"1" * 6000,
        b"1e999",
        b"-",
        b"null",
        b"query Q {",
    ),
    *(
        b"fragment F on Query { ...F }",
        b"subscription { priceUpdates { kind } }",
        b"type A { a: A }",
    ),
    *(
        b" __schema { types { name } } ",
        b' __type(name: "Coin") { name } ',
        b" __typename ",
        b"," * 999,
    ),
]


def _sampled(known: list[Any], strange: list[Any], node: Callable[[Any], Any]) -> Any:
    return st.one_of(st.sampled_from(known), st.sampled_from(strange)).map(node)


SCALARS = {
    "ID": _sampled(KNOWN, TEXTS, nodes.String),
    "Int": _sampled([1, 2, 3, 24], _SMALL, nodes.Int),
    "Float": _sampled([4.0], FLOATS, nodes.Float),
    "DateTime": _sampled(TIMES[:4], TIMES, nodes.String),
    "BigInt": _sampled([0, 1, 2], _SMALL, nodes.Int),
}
_QUERIES = queries(SDL, custom_scalars=SCALARS)
DOCUMENTS = st.one_of(
    _QUERIES,
    *(queries(SDL, custom_scalars=SCALARS, fields=[name]) for name in _SCHEMA.query_type.fields),
    mutations(SDL, custom_scalars=SCALARS),
)


def variation(document: str, random: Random) -> dict[str, Any]:
    """Make a request from a valid document: an equivalent one, or a damaged one."""
    request: dict[str, Any] = {}
    tree = graphql.parse(document)
    for change in random.sample(_CHANGES, random.choice([0, 1, 1, 2, 3])):
        tree = change(tree, random, request)
    text = graphql.print_ast(tree)
    if random.random() < 0.25:
        text = cut(random, text.encode(), _STRANGE).decode(errors="surrogateescape")
    request["query"] = text
    if random.random() < 0.1:
        request[random.choice(["operationName", "variables", "extensions", "query"])] = value(
            random
        )
    return request


class _Visitor(graphql.Visitor):
    """Changes a document; `info` has the types at the current node."""

    def __init__(self, random: Random, request: dict[str, Any]) -> None:
        super().__init__()
        self.random = random
        self.request = request
        self.info = graphql.TypeInfo(_SCHEMA)
        self.more: list[ast.DefinitionNode] = []
        self.variables: list[ast.VariableDefinitionNode] = []

    @classmethod
    def change(
        cls, tree: ast.DocumentNode, random: Random, request: dict[str, Any]
    ) -> ast.DocumentNode:
        visitor = cls(random, request)
        tree = graphql.visit(tree, graphql.TypeInfoVisitor(visitor.info, visitor))
        return ast.DocumentNode(definitions=(*tree.definitions, *visitor.more))


class _Aliases(_Visitor):
    def leave_field(self, node: ast.FieldNode, *_: Any) -> Any:
        names = ["a", "b", "__typename", "points", "é", "A" * 200]
        weights = [10, 10, 1, 5, 1, 1]
        if self.random.random() < 0.5:
            (name,) = self.random.choices(names, weights)
            return _copy(node, alias=ast.NameNode(value=name))
        return None


class _Directives(_Visitor):
    def leave_field(self, node: ast.FieldNode, *_: Any) -> Any:
        if self.random.random() < 0.6:
            return None
        text = self.random.choice(
            [
                *(
                    "@skip(if: false)",
                    "@include(if: true)",
                    "@skip(if: true)",
                    "@include(if: false)",
                ),
                *("@skip(if: false) @include(if: true)", "@skip", "@nope", "@include(if: null)"),
                *(
                    "@deprecated",
                    "@skip(if: false) @skip(if: false)",
                    '@include(if: "x")',
                    "@a" * 30,
                ),
            ]
        )
        made = graphql.parse(f"{{ a {text} }}").definitions[0]
        assert isinstance(made, ast.OperationDefinitionNode)
        return _copy(node, directives=made.selection_set.selections[0].directives)


class _Fragments(_Visitor):
    """Moves selections into fragments: named, inline, nested, sometimes in cycles."""

    def leave_selection_set(self, node: ast.SelectionSetNode, *_: Any) -> Any:
        kind = self.info.get_parent_type()
        if kind is None or self.random.random() < 0.4:
            return None
        on = ast.NamedTypeNode(name=ast.NameNode(value=kind.name))
        if self.random.random() < 0.3:
            inline = ast.InlineFragmentNode(
                type_condition=on if self.random.random() < 0.5 else None,
                directives=(),
                selection_set=node,
            )
            return ast.SelectionSetNode(selections=(inline,) * self.random.choice([1, 2]))
        name = ast.NameNode(value=f"F{len(self.more)}")
        spread = ast.FragmentSpreadNode(name=name, directives=())
        if self.random.random() < 0.05:
            node = ast.SelectionSetNode(selections=(*node.selections, spread))
        self.more.append(
            ast.FragmentDefinitionNode(
                name=name, type_condition=on, directives=(), selection_set=node
            )
        )
        return ast.SelectionSetNode(selections=(spread,) * self.random.choice([1, 1, 1, 2, 8]))


class _Variables(_Visitor):
    """Moves arguments into variables, with valid and invalid values."""

    def leave_argument(self, node: ast.ArgumentNode, *_: Any) -> Any:
        kind = self.info.get_input_type()
        if kind is None or self.random.random() < 0.2:
            return None
        name = f"v{len(self.variables)}"
        if self.random.random() < 0.3:
            given = value(self.random)
        else:
            given = graphql.value_from_ast_untyped(node.value)
        if self.random.random() < 0.9:
            values = self.request.setdefault("variables", {})
            if isinstance(values, dict):
                values[name] = given
        named = ast.NameNode(value=name)
        self.variables.append(
            ast.VariableDefinitionNode(
                variable=ast.VariableNode(name=named),
                type=graphql.parse_type(str(kind)),
                directives=(),
            )
        )
        return _copy(node, value=ast.VariableNode(name=named))

    def leave_operation_definition(self, node: ast.OperationDefinitionNode, *_: Any) -> Any:
        return _copy(node, variable_definitions=tuple(self.variables))


class _Values(_Visitor):
    def leave_argument(self, node: ast.ArgumentNode, *_: Any) -> Any:
        if self.random.random() < 0.6:
            return None
        return _copy(node, value=literal(value(self.random)))


class _Operations(_Visitor):
    """Adds operations, with or without `operationName`."""

    def leave_document(self, node: ast.DocumentNode, *_: Any) -> Any:
        first = node.definitions[0]
        assert isinstance(first, ast.OperationDefinitionNode)
        names = self.random.choice([("A", "B"), ("A", "A"), ("A", None), ("A", "B", "C" * 99)])
        made = [
            _copy(first, name=None if name is None else ast.NameNode(value=name)) for name in names
        ]
        self.request["operationName"] = self.random.choice(["A", "B", "", None, "Z"])
        return ast.DocumentNode(definitions=(*made, *node.definitions[1:]))


def _copy(node: Any, **changed: Any) -> Any:
    kept = {name: getattr(node, name) for name in node.keys if name != "loc"}
    return type(node)(**{**kept, **changed})


_CHANGES = [
    each.change for each in (_Aliases, _Directives, _Fragments, _Variables, _Values, _Operations)
]
