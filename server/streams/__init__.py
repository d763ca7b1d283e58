"""Operations over long-lived connections: WebSocket and Server-Sent Events.

docs/decisions/0013-streams.md explains why Strawberry's implementations are not used.
"""
