"""Other servers for the same data, each written as its libraries' documentation recommends."""
