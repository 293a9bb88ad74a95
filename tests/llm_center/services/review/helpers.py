"""Steps of the review tests."""

from llm_center.services.review.decisions import Action, DecisionResult, decide_merchant
from transactions.models import Merchant, User
from transactions.services.processing import process_pending
from transactions.tasks import release_merchants


def decide(actor: User, action: Action = Action.APPROVE, ticker: str = "", key: str = "STARBUKS") -> DecisionResult:
    """Decide, release and process, as the workers do."""
    merchant = Merchant.objects.get(merchant_key=key)
    decided = decide_merchant(
        merchant_id=merchant.pk,
        action=action,
        actor=actor,
        expected_updated_at=merchant.updated_at,
        ticker=ticker,
        reason="seen on a map",
    )
    if decided.task:
        release_merchants(str(decided.task.pk))
    process_pending()
    return decided
