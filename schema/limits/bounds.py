"""The limits on the size of operations. Those that are settings: server/config/limits.py."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits. Together they keep everything before execution below 100 ms of CPU.

    Counts of selections include the contents of spread fragments. They are computed once for each
    fragment, without expanding it.
    """

    max_document: int = 100_000  # characters; parsing them takes 10 to 25 ms
    max_tokens: int = 2_000  # parsing and validating one takes 13 to 25 µs
    max_depth: int = 16  # GraphiQL's introspection query has depth 15
    max_fields: int = 2_000
    max_aliases: int = 200
    max_root_fields: int = 100
    max_directives: int = 100
    max_directives_each: int = 4
    max_overlaps: int = 6_000  # a comparison counts as two and takes 3 to 7 µs
    max_operations: int = 20
    max_fragments: int = 100
    max_variables: int = 100
    max_list: int = 1_000
    max_input_depth: int = 10
    max_input_values: int = 5_000  # a few µs each
    max_cost: int = 1_500_000
    operation_seconds: float = 10.0
    introspection: bool = True


MOST_ERRORS = 10  # reported for one operation
