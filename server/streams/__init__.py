"""Operations over connections that stay open: WebSocket and Server-Sent Events.

docs/decisions/0013-subscription-transports.md says why these are our own.
"""
