"""How answers are computed: plain async functions, no GraphQL."""
