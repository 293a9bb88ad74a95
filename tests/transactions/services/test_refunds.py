"""Refunds and the purchases that they give back."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from analytics.services.rollups import refresh_rollups, verify_rollups
from tests.factories import make_company, make_merchant, make_user
from transactions.models import Transaction, UnmatchedRefund, User
from transactions.selectors.transaction_pages import newest_transactions
from transactions.services.ingest import create_transaction
from transactions.services.processing import batch, process_pending
from transactions.services.processing.refunds import match_refunds

pytestmark = pytest.mark.django_db
DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def user() -> User:
    make_company("SBUX", "95.00")
    make_merchant("STARBUCKS", "SBUX")
    return make_user()


def buy(user: User, amount: str = "4.50", day: int = 0, merchant: str = "STARBUCKS") -> int:
    date = DAY + timedelta(days=day)
    return create_transaction(user=user, amount=Decimal(amount), merchant=merchant, date=date).transaction_id


def related(transaction_id: int) -> int | None:
    return Transaction.objects.values_list("related_id", flat=True).get(pk=transaction_id)


def unmatched() -> set[int]:
    return set(UnmatchedRefund.objects.values_list("transaction_id", flat=True))


def test_a_refund_and_its_purchase_refer_to_each_other(user: User) -> None:
    purchase, refund = buy(user), buy(user, "-4.50", 3)
    process_pending()
    row = Transaction.objects.get(pk=refund)
    assert (row.status, row.investable, row.related_id) == ("refunded", 0, purchase)
    bought = Transaction.objects.get(pk=purchase)
    assert (bought.status, bought.investable, bought.related_id) == ("completed", Decimal("1.00"), refund)
    assert unmatched() == set()


@pytest.mark.parametrize(
    ("amount", "day", "merchant", "matches"),
    [
        ("4.50", 0, "STARBUCKS", True),
        ("4.50", -120, "STARBUCKS", True),
        ("4.50", -121, "STARBUCKS", False),
        ("4.50", 1, "STARBUCKS", False),
        ("4.49", 0, "STARBUCKS", False),  # a partial refund
        ("4.50", 0, "TARGET", False),
    ],
)
def test_a_purchase_matches_by_merchant_amount_and_day(
    user: User, amount: str, day: int, merchant: str, matches: bool
) -> None:
    purchase, refund = buy(user, amount, day, merchant), buy(user, "-4.50")
    process_pending()
    assert related(refund) == (purchase if matches else None)
    assert unmatched() == (set() if matches else {refund})


def test_a_purchase_later_on_the_same_day_matches(user: User) -> None:
    refund = create_transaction(user=user, amount=Decimal("-4.50"), merchant="STARBUCKS", date=DAY).transaction_id
    purchase = create_transaction(
        user=user, amount=Decimal("4.50"), merchant="STARBUCKS", date=DAY + timedelta(hours=5)
    ).transaction_id
    process_pending()
    assert related(refund) == purchase


def test_each_purchase_is_refunded_once_and_the_latest_first(user: User) -> None:
    first, second = buy(user, day=0), buy(user, day=5)
    early, late, third = buy(user, "-4.50", 6), buy(user, "-4.50", 7), buy(user, "-4.50", 8)
    process_pending()
    assert [related(row) for row in (early, late, third)] == [second, first, None]
    assert unmatched() == {third}


def test_another_customers_purchase_does_not_match(user: User) -> None:
    buy(make_user())
    refund = buy(user, "-4.50")
    process_pending()
    assert related(refund) is None


def test_a_purchase_from_another_bank_account_does_not_match(user: User) -> None:
    purchases, refund = [buy(user, day=day) for day in range(3)], buy(user, "-4.50", 5)
    for account, pk in enumerate((*purchases, refund)):
        Transaction.objects.filter(pk=pk).update(bank_account_id=account % 3 + 1)
    process_pending()
    assert related(refund) == purchases[0]


def test_a_purchase_that_comes_later_is_found(user: User) -> None:
    refund = buy(user, "-4.50", 3)
    process_pending()
    assert unmatched() == {refund}
    purchase = buy(user)
    process_pending()
    assert (related(refund), related(purchase)) == (purchase, refund)
    assert unmatched() == set()


def test_a_match_that_a_killed_worker_left_open_is_made_later(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    purchase, refund = buy(user), buy(user, "-4.50", 1)
    with monkeypatch.context() as patch:
        patch.setattr(batch, "match_refunds", lambda: 0)
        process_pending()
    assert related(refund) is None
    assert match_refunds() == 1
    assert related(refund) == purchase
    assert match_refunds() == 0


def test_an_excluded_row_is_no_purchase(user: User) -> None:
    purchase, refund = buy(user), buy(user, "-4.50", 1)
    Transaction.objects.filter(pk=purchase).update(status="excluded", row_class="transfer")
    process_pending()
    assert related(refund) is None


def test_the_api_shows_the_purchase_of_a_refund_or_that_there_is_none(user: User) -> None:
    purchase, refund, partial = buy(user), buy(user, "-4.50", 1), buy(user, "-1.00", 2)
    process_pending()
    rows = {row["id"]: row for row in newest_transactions(user)}
    shown = {pk: (row["type"], row["related_id"], row["failure_reason"]) for pk, row in rows.items()}
    assert shown == {
        purchase: ("purchase", refund, ""),
        refund: ("refund", purchase, ""),
        partial: ("refund", None, "No matching purchase."),
    }


def test_links_are_counted_writes(user: User) -> None:
    refresh_rollups()
    buy(user), buy(user, "-4.50", 3)
    process_pending()
    assert refresh_rollups().recounted == []
    assert [str(difference) for difference in verify_rollups()] == []


def _greedy(rows: list[tuple[int, int, int]]) -> dict[int, int]:
    """Match (day, sign, id) one refund after the other, by the latest purchase that is left."""
    pairs: dict[int, int] = {}
    for day, _, refund in sorted(row for row in rows if row[1] < 0):
        free = [row for row in rows if row[1] > 0 and row[2] not in pairs.values() and day - 120 <= row[0] <= day]
        if free:
            pairs[refund] = max(free)[2]
    return pairs


@pytest.mark.parametrize("seed", range(5))
def test_many_equal_rows_are_matched_like_one_after_the_other(user: User, seed: int) -> None:
    random: Any = Random(seed)
    rows = []
    for _ in range(40):
        day, sign = random.randrange(300), random.choice((1, 1, -1))
        rows.append((day, sign, buy(user, f"{sign * 4}.50", day - 300)))
    process_pending()
    linked = Transaction.objects.filter(amount__lt=0, related_id__isnull=False).values_list("pk", "related_id")
    assert dict(linked) == _greedy(rows)
