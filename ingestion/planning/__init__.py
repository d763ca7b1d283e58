"""Which calls a refresh makes. Pure, but for `plan`, which reads what is known."""
