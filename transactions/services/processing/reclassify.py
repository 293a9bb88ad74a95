"""A person overrules what the words of a bank file said about a row."""

from collections.abc import Sequence

from django.db import transaction

from kamioi_site.admin.audit_log import audit_log
from transactions.models import USER_BUCKETS, Transaction, TransactionKey, User
from transactions.services.processing.buckets import move_to_pending


def reclassify_transactions(
    *, transaction_ids: Sequence[int], row_class: str, actor: User, possible_duplicates_of: User | None = None
) -> int:
    """Give the transactions this class and return how many changed.

    An excluded row that is a purchase after all is processed, and so is a possible duplicate; a row that is none is
    excluded while nothing was bought for it. Rows that await review or were bought stay: their merchant's decision has
    to be made or undone.

    Args:
        possible_duplicates_of: changes only rows of this customer that are held as possible duplicates.
    """
    label = Transaction.RowClass(row_class).label
    keys = TransactionKey.objects.filter(pk__in=transaction_ids).values_list("user_id", "date")
    buckets, dates = {user % USER_BUCKETS for user, _ in keys}, [date for _, date in keys]
    with transaction.atomic():
        changed, *_ = move_to_pending(
            "reclassify",
            {
                "ids": list(transaction_ids),
                "dates": dates,
                "row_class": row_class,
                "duplicate": Transaction.HoldReason.DUPLICATE,
                "owner": possible_duplicates_of.pk if possible_duplicates_of else None,
            },
            buckets=sorted(buckets),
        )
        if changed:
            numbers = ", ".join(map(str, transaction_ids))
            audit_log(actor, f"class {label}: {changed} of the transactions {numbers}", target="transactions")
    return changed
