"""Validating a document within limits: ours first, in linear time, then GraphQL's."""

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
    """Ends the validation, which reports it as its last error."""


def validate_document(
    schema: GraphQLSchema, document: DocumentNode, limits: Limits
) -> list[GraphQLError]:
    """Give at most MOST_ERRORS errors; none where the document can be executed."""
    errors = check_measures(measure(document), limits)
    if not errors:
        rules = rules_within(limits)
        errors = validate(
            schema,
            document,
            rules,
            max_errors=MOST_ERRORS - 1,  # which is followed by one that says so
            hide_suggestions=not limits.introspection,
        )
        if not limits.introspection:
            for error in errors:  # one of the rules suggests all the same
                error.message = _SUGGESTION.sub("", error.message)
    return errors[:MOST_ERRORS]


def rules_within(limits: Limits) -> list[type[ASTValidationRule]]:
    """Give GraphQL's own rules, of which the one that is not linear has a budget."""

    class Overlapping(OverlappingFieldsCanBeMergedRule):
        """Compares pairs of fields and of fragments: so many of them as the limit allows."""

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
                    raise  # there are too many errors
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
