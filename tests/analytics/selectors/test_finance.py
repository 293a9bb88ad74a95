"""Accounts and ledger days."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from analytics.selectors import finance, queries
from analytics.selectors.periods import Period
from analytics.services.ledger_days import update_ledger_days
from tests.analytics.rows import NOW, settle_ledger
from tests.factories import make_company, make_merchant, make_price, make_transaction, make_user
from transactions.models import LedgerTransfer
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db


def test_ledger_days_match_the_ledger():
    make_company("SBUX")
    make_merchant("STARBUCKS", "SBUX")
    user = make_user(round_up_amount=2)
    for days_ago in range(3):
        make_transaction(user)
        make_price("SBUX", "95.00", age=timedelta(days=days_ago, seconds=1))
        process_pending(now=datetime.now(UTC) - timedelta(days=days_ago))
    update_ledger_days(settle=NOW)  # sets the mark
    settle_ledger()
    update_ledger_days(settle=NOW)
    rows = {account.number: account for account in finance.account_movements(Period.of_days(7))}
    assert (rows["11100"].debit, rows["11100"].balance) == (Decimal("6.75"), Decimal("6.75"))
    assert (rows["40100"].credit, rows["40100"].balance) == (Decimal("0.75"), Decimal("0.75"))
    assert (rows["22100"].balance, rows["20100"].balance) == (Decimal("6.00"), Decimal(0))
    assert sum(day.bookings for day in finance.ledger_by_day(Period.of_days(7))) == LedgerTransfer.objects.count()
    assert queries.ledger_counted_at() is not None
    assert finance.account_movements(Period.of_days(1).previous)[2].debit == Decimal("2.25")
