"""Who computes when: a fair queue, turns on the event loop, a worker thread."""
