"""`make bench`: compares coingraph with other servers on one database. See README.md."""
