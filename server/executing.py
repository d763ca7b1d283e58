"""Operations that are answered at once: executed, or refused because of what kind they are."""

from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionResult
from strawberry.types.graphql import OperationType

from schema.context import Context
from schema.errors import failure
from schema.execution.schema import LimitedSchema
from server.exchange import Exchange
from server.requests import RequestRefusedError, refusal


async def execute(
    schema: LimitedSchema, exchange: Exchange, query: str, context: Context
) -> ExecutionResult:
    """Execute a query, or a mutation that was posted. Raises RequestRefusedError."""
    operation, method = exchange.operation, exchange.scope["method"]
    allowed = {OperationType.QUERY}
    if method == "POST":
        allowed.add(OperationType.MUTATION)
    try:
        return await schema.execute(
            query,
            variable_values=operation.variables,
            operation_name=operation.name,
            operation_extensions=operation.extensions,
            context_value=context,
            allowed_operation_types=allowed,
        )
    except CannotGetOperationTypeError as error:
        raise refusal(error.as_http_error_reason()) from None
    except InvalidOperationTypeError as error:
        raise _wrong_kind(error, method) from None


def _wrong_kind(error: InvalidOperationTypeError, method: str) -> RequestRefusedError:
    message = error.as_http_error_reason(method)
    if error.operation_type is OperationType.SUBSCRIPTION:
        message = (
            "A subscription is answered by a stream: send `Accept: text/event-stream`, "
            "or use a WebSocket with the subprotocol graphql-transport-ws."
        )
    if method == "POST":
        return refusal(message)
    return RequestRefusedError(failure("BAD_USER_INPUT", message, 405), Allow="POST")
