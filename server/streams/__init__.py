"""Operations over connections that stay open: WebSocket and Server-Sent Events.

docs/decisions/0013-streams.md says why these are our own.
"""
