"""The query parameters that filter a customer's transactions."""

from collections.abc import Mapping
from typing import Final

from transactions.api.serializers import TransactionFilterInput
from transactions.selectors.transaction_pages import TransactionFilter

# Shared by all requests: it has no state, and building its fields costs more than everything else here.
_input: Final = TransactionFilterInput()


def transaction_filter(query: Mapping[str, str]) -> TransactionFilter:
    """Return the filter of these query parameters; absent and empty ones do not filter."""
    values = {name: value for name in map(str, _input.fields) if (value := query.get(name))}
    if not values:
        return TransactionFilter()
    fields = _input.run_validation(values)
    return TransactionFilter(**fields)
