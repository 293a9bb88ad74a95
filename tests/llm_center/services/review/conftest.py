"""Fixtures of the review tests."""

from decimal import Decimal

import pytest

from tests.factories import make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import Merchant, User
from transactions.services.processing import process_pending


@pytest.fixture
def reviewer() -> User:
    return make_staff(name="Ruth")


@pytest.fixture
def customers() -> list[User]:
    """Three customers with two purchases each at an unknown merchant and one at a known merchant."""
    make_company("SBUX", "95.00", name="Starbucks")
    make_company("DNUT", "7.00", name="Krispy Kreme")
    make_merchant("KNOWN", "SBUX")
    users = [make_user(), make_user(round_up_amount=3), make_user(round_up_rule="next_dollar")]
    for user in users:
        make_transaction(user, "STARBUKS", "4.50")
        make_transaction(user, "STARBUKS", "11.25")
        make_transaction(user, "KNOWN", "5.10")
    process_pending()
    return users


@pytest.fixture
def queue() -> User:
    """Thirty waiting merchants with a transaction each, ten of them with a doubtful proposal."""
    user = make_user()
    make_company("SBUX", "95.00")
    for number in range(30):
        make_transaction(user, f"SHOP {number:02d}" if number < 20 else f"STAR {number}", "4.50")
    process_pending()
    Merchant.objects.filter(merchant_key__startswith="STAR").update(
        ticker="SBUX", confidence=Decimal("0.8"), source="matcher"
    )
    return user
