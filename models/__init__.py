"""The tables, and every line of SQL."""

from models.postgres.client_files import pass_over_unreadable_homes

pass_over_unreadable_homes()  # for whatever connects
