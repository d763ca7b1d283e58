"""Operations over long-lived connections: WebSocket and Server-Sent Events.

docs/decisions/0013-subscription-transports.md explains why Strawberry's implementations are not
used.
"""
