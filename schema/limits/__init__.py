"""Limits on the size of operations, checked in linear time before anything else."""

from schema.limits.bounds import MOST_ERRORS, Limits
from schema.limits.checks import check_variables
from schema.limits.reading import read_document
from schema.limits.validation import validate_document

__all__ = ["MOST_ERRORS", "Limits", "check_variables", "read_document", "validate_document"]
