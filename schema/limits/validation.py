"""Validation of a document: our limits first, in linear time, then GraphQL's rules."""

import re
from typing import Any

from graphql import (
    ASTValidationRule,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    OverlappingFieldsCanBeMergedRule,
    SelectionSetNode,
    ValidationContext,
    specified_rules,
    validate,
)
from graphql.validation.validate import ValidationAbortedError
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from schema.limits.bounds import MOST_ERRORS, Limits
from schema.limits.checks import check_measures, too_many_overlaps
from schema.limits.measures import measure

_SUGGESTION = re.compile(r" Did you mean '\w+ \{ \.\.\. \}'\?$")


class _TooManyOverlapsError(ValidationAbortedError):
    """Ends the validation, which reports this error as its last one."""


def validate_document(
    schema: GraphQLSchema, document: DocumentNode, limits: Limits
) -> list[GraphQLError]:
    """Return at most MOST_ERRORS errors. The document is valid if there are none."""
    errors = check_measures(measure(document), limits)
    if not errors:
        rules = rules_within(limits)
        errors = validate(
            schema,
            document,
            rules,
            max_errors=MOST_ERRORS - 1,  # graphql-core adds one that reports the limit
            hide_suggestions=not limits.introspection,
        )
        if not limits.introspection:
            for error in errors:  # one of the rules ignores `hide_suggestions`
                error.message = _SUGGESTION.sub("", error.message)
    return errors[:MOST_ERRORS]


def rules_within(limits: Limits) -> list[type[ASTValidationRule]]:
    """Return GraphQL's rules, with a budget for the one that is not linear."""

    class Overlapping(OverlappingFieldsCanBeMergedRule):
        """Compares pairs of fields and of fragments, up to the limit."""

        def __init__(self, context: ValidationContext) -> None:
            super().__init__(context)
            self.rule_context.remaining_complexity_budget = limits.max_overlaps

        def enter_selection_set(
            self,
            selection_set: SelectionSetNode,
            *more: Any,  # noqa: ANN401 - graphql-core's own
        ) -> None:
            try:
                super().enter_selection_set(selection_set, *more)
            except ValidationAbortedError:
                if self.rule_context.remaining_complexity_budget >= 0:
                    raise  # the limit of errors is reached
                cause = too_many_overlaps(limits)
                raise _TooManyOverlapsError(str(cause), original_error=cause) from None

    rules = [
        Overlapping if rule is OverlappingFieldsCanBeMergedRule else rule
        for rule in specified_rules
    ]
    rules += [MaybeNullValidationRule, OneOfInputValidationRule]
    if not limits.introspection:
        rules.append(NoSchemaIntrospectionCustomRule)
    return rules
