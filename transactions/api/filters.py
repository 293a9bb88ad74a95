"""The query parameters that filter a customer's transactions."""

from typing import Final

from rest_framework.request import Request

from transactions.api.serializers import TransactionFilterInput
from transactions.selectors.transaction_pages import TransactionFilter

# Shared by all requests: it has no state, and building its fields costs more than everything else here.
_input: Final = TransactionFilterInput()


def transaction_filter(request: Request) -> TransactionFilter:
    """Return the filter of the query string; absent and empty parameters do not filter."""
    values = {name: value for name in map(str, _input.fields) if (value := request.query_params.get(name))}
    if not values:
        return TransactionFilter()
    fields = _input.run_validation(values)
    return TransactionFilter(**fields)
