"""A GraphQL request from its bytes to its response, whatever transport brings it."""
