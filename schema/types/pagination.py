"""Relay-style connections, with `nodes` as a shortcut for clients without cursors."""

from typing import Any, Generic, TypeVar

import strawberry

from resolvers.pagination import Page

Node = TypeVar("Node")


@strawberry.type(
    description="The position of a page in its list, as in the Relay cursor connections "
    "specification."
)
class PageInfo:
    """The position of a page in its list."""

    has_next_page: bool = strawberry.field(
        description="True if more items follow after `endCursor`."
    )
    has_previous_page: bool = strawberry.field(
        description="True if `after` was given. Pages can only be read forward."
    )
    start_cursor: str | None = strawberry.field(
        description="The cursor of the first item. Null on an empty page."
    )
    end_cursor: str | None = strawberry.field(
        description="The cursor of the last item: pass it as `after` to read the next page. Null "
        "on an empty page."
    )


@strawberry.type(description="An item of a page and its cursor.")
class Edge(Generic[Node]):
    """An item and its cursor."""

    cursor: str = strawberry.field(
        description="The item's cursor: pass it as `after` to read the items that follow. An "
        "opaque string."
    )
    node: Node = strawberry.field(description="The item.")


@strawberry.type(description="One page of a list.")
class Connection(Generic[Node]):
    """One page of a list of `Node` objects."""

    nodes: list[Node] = strawberry.field(description="The items of this page, without cursors.")
    page: strawberry.Private[Page[Any]]

    @strawberry.field(description="The items of this page, each with its cursor.")
    def edges(self) -> list[Edge[Node]]:
        pairs = zip(self.page.cursors, self.nodes, strict=True)
        return [Edge(cursor=cursor, node=node) for cursor, node in pairs]

    @strawberry.field(description="The position of this page in the list.")
    def page_info(self) -> PageInfo:
        page = self.page
        return PageInfo(
            has_next_page=page.has_next,
            has_previous_page=page.has_previous,
            start_cursor=page.cursors[0] if page.cursors else None,
            end_cursor=page.cursors[-1] if page.cursors else None,
        )
