"""The query parameters that filter a customer's transactions."""

from typing import Final

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from transactions.api.serializers import TransactionFilterInput
from transactions.models import Transaction
from transactions.selectors.transaction_pages import TransactionFilter

FILTERS: Final = [
    OpenApiParameter("start_date", OpenApiTypes.STR, description="First day or time (ISO 8601, UTC)."),
    OpenApiParameter("end_date", OpenApiTypes.STR, description="Last day or time, inclusive."),
    OpenApiParameter("status", OpenApiTypes.STR, enum=Transaction.Status.values),
    OpenApiParameter("ticker", OpenApiTypes.STR),
    OpenApiParameter("merchant", OpenApiTypes.STR, description="Part of the merchant's name."),
]
_NAMES: Final = [parameter.name for parameter in FILTERS]
# Shared by all requests: it has no state, and building its fields costs more than everything else here.
_input: Final = TransactionFilterInput()


def transaction_filter(request: Request) -> TransactionFilter:
    """Return the filter of the query string; absent and empty parameters do not filter."""
    values = {name: value for name in _NAMES if (value := request.query_params.get(name))}
    if not values:
        return TransactionFilter()
    fields = _input.run_validation(values)
    return TransactionFilter(**fields | {"ticker": fields.get("ticker", "").upper()})
