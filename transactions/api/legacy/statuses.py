"""The status words of the legacy front end, in the lists that it reads. Everywhere else a status is exact."""

from typing import Annotated, Any, Final, cast

from django.db.models import TextChoices

from kamioi_site.api.legacy.views import NAMES
from transactions.models import Transaction
from transactions.selectors.transaction_pages import TransactionFields


class ListedStatus(TextChoices):
    """What the pages know. With some of these words they offer “Edit AI Mapping” and count a row as unrecognized."""

    PENDING = "pending"
    NEEDS_RECOGNITION = "needs-recognition"
    MAPPED = "mapped"
    STAGED = "staged"
    COMPLETED = "completed"
    NO_INVESTMENT = "no-investment"
    FAILED = "failed"
    # Words of the admin's filter that no row has here.
    PENDING_MAPPING = "pending-mapping"
    PROCESSING = "processing"


LISTED: Final = NAMES["words of statuses"]


class ListedTransaction(TransactionFields):
    """A transaction in a list of the legacy front end: `status` in its words, `booking_status` exact."""

    status: Annotated[str, ListedStatus]
    booking_status: Annotated[str, Transaction.Status]


def listed(row: Any) -> ListedTransaction:
    """Return a row of the API with both statuses."""
    return cast("ListedTransaction", row | {"status": LISTED[row["status"]], "booking_status": row["status"]})


def statuses_of(word: str) -> tuple[str, ...]:
    """Return the exact statuses that a word of a filter means; an exact status means itself."""
    return tuple(status for status, shown in LISTED.items() if shown == word) or (word,)
