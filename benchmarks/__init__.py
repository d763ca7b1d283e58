"""`make bench`: coingraph and its peers on one database. README.md states what is measured."""
