"""The filters of a customer's list of transactions, as the query string has them."""

from typing import Final

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from transactions.api import serializers as shapes
from transactions.models import Transaction
from transactions.selectors.transaction_pages import TransactionFilter

FILTERS = [
    OpenApiParameter("start_date", OpenApiTypes.STR, description="From this day or moment on (ISO 8601, UTC)."),
    OpenApiParameter("end_date", OpenApiTypes.STR, description="To this day, included, or moment."),
    OpenApiParameter("status", OpenApiTypes.STR, enum=Transaction.Status.values),
    OpenApiParameter("ticker", OpenApiTypes.STR),
    OpenApiParameter("merchant", OpenApiTypes.STR, description="Part of the merchant's name."),
]

NAMES = ("start_date", "end_date", "status", "ticker", "merchant")


_input: Final = shapes.TransactionFilterInput()


def transaction_filter(request: Request) -> TransactionFilter:
    """What the query string asks for; what is left empty asks for everything."""
    given = {name: value for name in NAMES if (value := request.query_params.get(name))}
    if not given:
        return TransactionFilter()
    # One for all requests: it keeps nothing of a call, and making its fields anew takes longer than all else here.
    wanted = _input.run_validation(given)
    return TransactionFilter(**wanted | {"ticker": wanted.get("ticker", "").upper()})
