"""Turns a GraphQL request of any transport into a response."""
