"""Connections, in Relay's shape, with `nodes` for those who need no cursors."""

from typing import Any, Generic, TypeVar

import strawberry

from resolvers.pagination import Page

Node = TypeVar("Node")


@strawberry.type(description="Where a page lies in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether more follow behind `endCursor`.")
    has_previous_page: bool = strawberry.field(description="Whether `after` was given.")
    start_cursor: str | None = strawberry.field(description="The cursor of the first node.")
    end_cursor: str | None = strawberry.field(
        description="The cursor of the last node: give it as `after` for the next page."
    )


@strawberry.type(description="A node with its cursor.")
class Edge(Generic[Node]):
    cursor: str = strawberry.field(description="Give it as `after` to go on behind this node.")
    node: Node = strawberry.field(description="The node itself.")


@strawberry.type(description="One page of a list.")
class Connection(Generic[Node]):
    nodes: list[Node] = strawberry.field(description="The nodes of this page.")
    page: strawberry.Private[Page[Any]]

    @strawberry.field(description="The same nodes with their cursors.")
    def edges(self) -> list[Edge[Node]]:
        pairs = zip(self.page.cursors, self.nodes, strict=True)
        return [Edge(cursor=cursor, node=node) for cursor, node in pairs]

    @strawberry.field(description="Where this page lies in the list.")
    def page_info(self) -> PageInfo:
        page = self.page
        return PageInfo(
            has_next_page=page.has_next,
            has_previous_page=page.has_previous,
            start_cursor=page.cursors[0] if page.cursors else None,
            end_cursor=page.cursors[-1] if page.cursors else None,
        )
