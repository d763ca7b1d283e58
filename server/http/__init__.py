"""HTTP without GraphQL: negotiation, compression, cross-origin rules, headers, back-pressure."""
