"""The database: its tables and all SQL."""

from models.postgres.client_files import pass_over_unreadable_homes

pass_over_unreadable_homes()  # before anything connects
