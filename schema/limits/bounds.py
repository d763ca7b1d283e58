"""How large an operation may be. The settings of the same names are the place to change it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds. Together they keep all that happens before execution under 100 ms.

    Counts of selections are of what remains when fragments are spread out; they are computed from
    each fragment once, not by spreading it out.
    """

    max_document: int = 100_000  # characters; reading as many takes 10 to 25 ms
    max_tokens: int = 2_000  # reading and validating one takes some 13 µs
    max_depth: int = 16  # GraphiQL's own question about the schema is 15 deep
    max_fields: int = 2_000
    max_aliases: int = 200
    max_root_fields: int = 100
    max_directives: int = 100
    max_directives_each: int = 4
    max_overlaps: int = 6_000  # 3 to 7 µs a comparison, of which each counts as two
    max_operations: int = 20
    max_fragments: int = 100
    max_variables: int = 100
    max_list: int = 1_000
    max_input_depth: int = 10
    max_input_values: int = 5_000  # a few µs each
    max_cost: int = 1_500_000
    operation_seconds: float = 10.0
    introspection: bool = True


MOST_ERRORS = 10  # an operation; who has more mends these first
