"""How the data of responses is read and computed: plain async functions without GraphQL."""
