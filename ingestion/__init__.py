"""How prices get in."""
