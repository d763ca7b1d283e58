"""Lists of thousands of objects, encoded by column instead of by object."""
