"""How operations are executed."""
