"""Access control: tokens, and limits on rates, connections and memory for each caller."""
