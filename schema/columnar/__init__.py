"""Lists of thousands of objects, encoded by column instead of one object at a time."""
