"""GraphQL types, a file for each subject."""
