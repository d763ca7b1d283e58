"""Decides which calls a refresh makes. Pure, except `plan`, which reads the database."""
