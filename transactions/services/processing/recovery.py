"""Recovery from lost messages and killed workers."""

from django.db.models import Exists, OuterRef, Q

from transactions.models import Company, Merchant, Transaction
from transactions.services.background_tasks import recover_stuck_tasks
from transactions.services.processing.release import release_waiting_transactions
from transactions.services.processing.wake import notify_workers


def recover_stuck() -> None:
    """Resume what a lost message or a killed worker left behind. Cheap when there is nothing to do."""
    if Transaction.objects.filter(status=Transaction.Status.PENDING).exists():
        notify_workers(priority=Transaction.Priority.BULK)
    recover_stuck_tasks()
    # Last, because it moves rows itself: an error here must not keep the messages above from being sent.
    # Purchases of a company that was delisted would come back at once; they rest until it is listed or mapped again.
    listed = Company.objects.filter(ticker=OuterRef("ticker"), is_listed=True)
    decided = Merchant.objects.filter(
        Q(status=Merchant.Status.NOT_LISTED) | Q(Exists(listed), status=Merchant.Status.APPROVED), waiting_count__gt=0
    )
    if keys := list(decided.values_list("merchant_key", flat=True)[:1000]):
        release_waiting_transactions(merchant_keys=keys)
