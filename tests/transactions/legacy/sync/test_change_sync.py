"""`sync`: every change of the legacy system is applied once."""

from decimal import Decimal

import pytest
from django.contrib.auth import authenticate
from django.db import connection

from llm_center.models import LlmMapping
from tests.legacy_db import insert
from tests.transactions.legacy.conftest import a_run, run_copy, run_validate, writing
from transactions.legacy.source.change_log import SyncError, install_change_log, sync_lag
from transactions.legacy.sync.change_sync import sync_all_rows, sync_changes
from transactions.models import Holding, Merchant, MigrationReject, Notification, Transaction, User
from transactions.services.ledger_verification import find_ledger_problems

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


def test_every_kind_of_change_is_applied(watched):
    with writing(watched) as source:
        new = insert(source, "users", email="new@example.com", name="New", account_type="individual")
        insert(source, "transactions", user_id=new, date="2025-08-01", merchant="NEW SHOP", amount=5, total_debit=5)
        insert(
            source,
            "llm_mappings",
            merchant_name="NEW SHOP",
            ticker="AAPL",
            status="approved",
            user_id=str(new),
            created_at="2025-08-01",
        )
        source.execute("UPDATE transactions SET amount = 9.99, status = 'completed' WHERE id = 1")
        source.execute("DELETE FROM transactions WHERE id = 12")
        source.execute(
            "UPDATE users SET name = 'Anna', email = 'anna@example.com', password = 'new-plain-1' WHERE id = 1"
        )
        source.execute("UPDATE llm_mappings SET status = 'rejected' WHERE id = 2")
        source.execute("DELETE FROM llm_mappings WHERE id = 3")
        source.execute("UPDATE portfolios SET shares = 7 WHERE id = 1")
        source.execute("DELETE FROM portfolios WHERE id = 3")
        source.execute("DELETE FROM notifications WHERE id = 1")
        source.execute("UPDATE user_settings SET setting_value = 'true'")
        source.execute("UPDATE journal_entry_lines SET debit = 5, credit = 0 WHERE journal_entry_id = 'JE-2'")
        insert(source, "journal_entry_lines", journal_entry_id="JE-2", account_code="67010", debit=0, credit=5)
        source.execute("UPDATE goals SET title = 'A boat'")
        source.execute("UPDATE blog_posts SET body = 'other' WHERE slug = 'a'")
        source.execute("DELETE FROM users WHERE id = 5")
    assert sync_lag(watched)[0] > 15
    sync_changes(watched, a_run())
    assert sync_lag(watched) == (0, 0.0)
    run_validate(watched)
    assert list(find_ledger_problems()) == []
    assert User.objects.get(pk=1).name == "Anna"
    assert User.objects.get(pk=1).round_up_enabled
    assert authenticate(username="anna@example.com", password="new-plain-1").pk == 1
    assert not User.objects.get(pk=5).is_active
    assert Transaction.objects.get(pk=1).amount == Decimal("9.99")
    assert LlmMapping.objects.get(pk=19).transaction_id is None  # its transaction, 12, is gone
    assert Holding.objects.get(user_id=1, ticker="AAPL").shares == Decimal("7.5")
    assert not Holding.objects.filter(user_id=2).exists()
    assert not Notification.objects.filter(pk=1).exists()
    assert Merchant.objects.get(merchant_key="NEW SHOP").ticker == "AAPL"
    assert not MigrationReject.objects.filter(table_name="journal_entries").exists()


def test_a_second_sync_changes_nothing(watched):
    with writing(watched) as source:
        source.execute("UPDATE transactions SET merchant = 'ELSEWHERE'")
    sync_changes(watched, a_run())
    assert sync_changes(watched, a_run()) == 0
    with connection.cursor() as cursor:  # as if the position had been lost
        cursor.execute("UPDATE legacy_source SET state = state || '{\"position\": 0}'")
    sync_changes(watched, a_run())
    run_validate(watched)
    assert list(find_ledger_problems()) == []


def test_a_new_customer_releases_rejected_rows(watched):
    assert MigrationReject.objects.filter(reason="user gone", table_name="transactions").exists()
    with writing(watched) as source:
        insert(source, "users", id=999, email="late@example.com", name="Late", account_type="individual")
    sync_changes(watched, a_run())
    assert not MigrationReject.objects.filter(reason="user gone").exists()
    assert Transaction.objects.filter(user_id=999).count() == 1
    run_validate(watched)


def test_without_a_change_log_only_a_full_comparison_is_possible(target, legacy):
    run_copy(legacy)
    with pytest.raises(SyncError, match="--install"):
        sync_changes(legacy, a_run())
    with writing(legacy) as source:
        source.execute("UPDATE transactions SET amount = 77, total_debit = 77 WHERE id = 12")
        source.execute("DELETE FROM llm_mappings WHERE id = 1")
    install_change_log(legacy)
    with pytest.raises(SyncError, match="--all"):
        sync_changes(legacy, a_run())
    done = sync_all_rows(legacy, a_run())
    assert (done.written, done.gone) == (1, 1)
    assert sync_changes(legacy, a_run()) == 0
    run_validate(legacy)
