"""`make bench`: coingraph beside others on one database. README.md says what is measured."""
