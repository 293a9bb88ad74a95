"""Query parameters of lists: `limit`, `cursor`, `page` and amounts."""

from decimal import Decimal
from typing import Final, TypedDict

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from kamioi_site.numbers import parse_decimal
from kamioi_site.pagination import NUMBERED_ROWS_MAX

PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 500
_DOLLARS_MAX: Final = 10**12 - 1
PAGE: Final = OpenApiParameter(
    "page",
    {"type": "integer", "minimum": 1, "maximum": NUMBERED_ROWS_MAX},
    description=f"From 1, up to row {NUMBERED_ROWS_MAX:,}.",
)
_ROWS: Final = {"type": "integer", "minimum": 1, "maximum": PAGE_SIZE_MAX, "default": PAGE_SIZE}
LIMIT: Final = OpenApiParameter("limit", _ROWS, description="Rows per page.")
# For lists of the legacy front end, which asks for more.
_CLAMPED_ROWS: Final = {"type": "integer", "minimum": 1, "default": PAGE_SIZE}
CLAMPED_LIMIT: Final = OpenApiParameter(
    "limit", _CLAMPED_ROWS, description=f"Rows per page, at most {PAGE_SIZE_MAX}; more are not refused."
)
PER_PAGE: Final = OpenApiParameter("per_page", _CLAMPED_ROWS, description="An alias of `limit`.")
CURSOR: Final = OpenApiParameter("cursor", OpenApiTypes.STR, description="`next_cursor` of the previous page.")


class Pagination(TypedDict):
    """The position of a numbered page. Totals are counted up to 10,000 rows; beyond that `total_is_capped` is true."""

    page: int
    limit: int
    total: int
    total_pages: int
    totalPages: int  # the front ends read either spelling
    has_next: bool
    has_prev: bool
    total_is_capped: bool


def page_limit(request: Request, *, parameter: str = "limit", clamp: bool = False) -> int:
    """Return `?limit=`: 1 to 500, 100 when absent. With `clamp` more is 500."""
    text = request.query_params.get(parameter) or str(PAGE_SIZE)
    limit = int(text[:5]) if text.isascii() and text.isdigit() else 0
    if clamp:
        limit = min(limit, PAGE_SIZE_MAX)
    if not 1 <= limit <= PAGE_SIZE_MAX:
        raise ValidationError({parameter: [f"Must be a whole number from 1 to {PAGE_SIZE_MAX}."]})
    return limit


def page_number(request: Request, limit: int) -> int:
    """Return `?page=`, 1 when absent. Pages after row 10,000 are refused."""
    text = request.query_params.get("page") or "1"
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if number < 1 or number * limit > NUMBERED_ROWS_MAX:
        raise ValidationError({"page": [f"Pages go from 1 to row {NUMBERED_ROWS_MAX:,}."]})
    return number


def pagination(*, page: int, limit: int, total: int, capped: bool) -> Pagination:
    """Return the position of the page in a list of `total` rows."""
    pages = max(1, -(-total // limit))
    return {
        "page": page,
        "limit": limit,
        "total": total,
        "total_pages": pages,
        "totalPages": pages,
        "has_next": page < pages,
        "has_prev": page > 1,
        "total_is_capped": capped,
    }


def dollars_parameter(name: str) -> OpenApiParameter:
    """Return a query parameter for `dollars`."""
    return OpenApiParameter(name, {"type": "number", "minimum": -_DOLLARS_MAX, "maximum": _DOLLARS_MAX})


def dollars(request: Request, name: str) -> Decimal | None:
    """Return an amount of dollars from the query string, None when absent."""
    text = (request.query_params.get(name) or "").strip()
    if not text:
        return None
    try:
        amount = parse_decimal(text)
    except ValueError:
        amount = None
    if amount is None or abs(amount) > _DOLLARS_MAX:
        raise ValidationError({name: ["Must be an amount in dollars."]})
    return amount
