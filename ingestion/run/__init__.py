"""One refresh run, from its start to its end."""
