"""GraphiQL and its static files."""
