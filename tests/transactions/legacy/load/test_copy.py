"""`copy` and `validate`: every rule is applied, nothing is lost or duplicated, no secret is stored."""

import hashlib
import json
import sqlite3
from contextlib import closing
from decimal import Decimal

import pytest
from django.contrib.auth import authenticate
from django.db import connection
from django.utils import timezone

from llm_center.models import LlmMapping
from tests.database import owner_cursor
from tests.legacy_db import PLAIN, SHA256, insert, make_legacy
from tests.transactions.legacy.conftest import run_copy
from transactions.legacy.load.migration_lock import LegacyCopyError
from transactions.legacy.plan import make_plan
from transactions.legacy.status import status_lines
from transactions.legacy.validate.validation import validate
from transactions.models import (
    Holding,
    LedgerTransfer,
    Merchant,
    MigrationReject,
    MigrationRun,
    Notification,
    Setting,
    Transaction,
    User,
)
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


def rejects() -> dict[tuple[str, str], str]:
    return {(row.table_name, row.legacy_id): row.reason for row in MigrationReject.objects.all()}


def kept(table: str, legacy_id: str, kind: str = "row") -> dict:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT data FROM legacy_rows WHERE source_table = %s AND legacy_id = %s AND kind = %s",
            [table, legacy_id, kind],
        )
        found = cursor.fetchone()
    return json.loads(found[0]) if found else {}


def test_both_sides_agree_and_the_ledger_is_correct(copied, legacy):
    result = validate(legacy, samples=2)
    assert [str(d) for table in result.tables for d in table.differences] == []
    assert result.clean
    assert all(table.source == table.migrated + table.rejected for table in result.tables)
    assert {table.name for table in result.tables} >= {"users", "transactions", "odd table", "blog_posts"}
    assert list(find_ledger_problems()) == []
    assert any("2025-03" in line for line in result.lines())


def test_rows_are_rejected_with_a_reason(copied):
    assert rejects() == {
        ("users", "4"): "no e-mail",
        ("transactions", "10"): "no readable date",
        ("transactions", "11"): "user gone",
        ("transactions", "13"): "no readable amount",
        ("llm_mappings", "22"): "no merchant",
        ("llm_mappings", "23"): "no readable date",
        ("portfolios", "4"): "user gone",
        ("portfolios", "5"): "not a holding",
        ("notifications", "2"): "user gone",
        ("journal_entries", "JE-2"): "unbalanced",
    }


def test_times_in_every_format_are_converted_to_utc(copied):
    dates = {row.pk: row.date.isoformat() for row in Transaction.objects.filter(pk__lte=9)}
    moment = "2025-03-04T05:06:07"
    assert dates[1] == f"{moment}+00:00"
    assert dates[3] == f"{moment}.123456+00:00"
    assert dates[4] == f"{moment}+00:00"
    assert dates[5] == "2025-03-04T03:06:07+00:00"
    assert dates[6] == dates[7] == "2025-03-04T00:00:00+00:00"
    assert dates[8] == "2025-03-04T05:06:07+00:00"
    assert dates[9] == "2025-05-05T05:05:05+00:00"


def test_money_is_rounded_half_even_to_cents(copied):
    rows = Transaction.objects.in_bulk()
    assert rows[12].amount == Decimal("12.50")
    assert rows[14].amount == rows[14].total_debit == Decimal("0.30")
    assert (rows[18].fee, rows[18].total_debit) == (Decimal("1.02"), Decimal("12.16"))
    assert (rows[15].amount, rows[15].status) == (Decimal(20), "completed")
    assert (rows[16].amount, rows[16].status) == (Decimal(-20), "refunded")
    assert rows[21].investable == 0
    assert (rows[21].shares, rows[21].price_per_share) == (Decimal("0.12345678"), Decimal("91.5000"))


def test_simulated_purchases_are_history_without_postings(copied):
    row = Transaction.objects.get(pk=2)
    assert (row.status, row.source, row.shares, row.price_per_share) == ("completed", "legacy", None, None)
    assert not LedgerTransfer.objects.filter(transaction_id__isnull=False).exists()


def test_statuses_are_mapped_and_open_purchases_stay_open(copied):
    rows = {row.pk: (row.status, row.source) for row in Transaction.objects.all()}
    assert rows[1] == ("pending", "legacy_open")
    assert rows[17] == ("not_listed", "legacy")
    assert rows[18] == ("failed", "legacy")
    assert rows[22] == ("needs_review", "legacy_open")
    assert rows[23] == ("failed", "legacy")
    assert Transaction.objects.get(pk=18).failure_reason == "unknown legacy status: weird"
    assert Transaction.objects.get(pk=22).total_debit == Decimal("6.50")  # what the parts say
    assert kept("transactions", "22", "rest")["total_debit"] == 99
    waiting = Merchant.objects.get(merchant_key="MYSTERY SHOP")
    assert (waiting.waiting_count, waiting.waiting_amount) == (1, Decimal(2))


def test_text_is_decoded_and_cut(copied):
    row = Transaction.objects.get(pk=19)
    assert row.merchant == 'CAFÉ\t\n\\ "x" 🙂'
    assert len(row.description) == 500
    assert kept("transactions", "19", "rest")["description"] == "d" * 600
    assert Transaction.objects.get(pk=24).merchant == "CAFEÉ"
    assert User.objects.get(pk=5).name == "Eve"


def test_mappings_are_converted(copied):
    rows = LlmMapping.objects.in_bulk()
    assert [rows[n].confidence for n in (1, 2, 3, 4, 5)] == [
        Decimal(text) for text in ("0.9000", "0.9500", "0.9500", "0.8714", "0.0000")
    ]
    assert [rows[n].status for n in (6, 7, 8, 9, 10)] == ["approved", "rejected", "approved", "approved", "pending"]
    assert [rows[n].user_id for n in (11, 12, 13, 14, 15, 16)] == [2, None, None, None, None, None]
    assert kept("llm_mappings", "15", "rest") == {"user_id": "777"}
    assert [rows[n].source for n in (15, 16, 17)] == ["legacy", "bulk", "bulk"]
    assert kept("llm_mappings", "16", "rest")["transaction_id"] == "bulk_3_1700000000"
    assert [rows[n].transaction_id for n in (16, 18, 19)] == [None, None, 12]
    assert kept("llm_mappings", "19", "rest")["surprise"] == "!"
    assert rows[20].ticker is None
    assert rows[21].ticker is None


def test_the_directory_takes_the_majority_and_leaves_conflicts_to_review(copied):
    starbucks = Merchant.objects.get(merchant_key="STARBUCKS")
    assert (starbucks.ticker, starbucks.status, starbucks.source) == ("SBUX", "approved", "legacy")
    torn = Merchant.objects.get(merchant_key="TWO MINDS")
    assert (torn.ticker, torn.status) == ("AAPL", "proposed")
    assert [one["ticker"] for one in torn.alternatives] == ["SBUX"]
    assert "2 companies" in torn.reason
    delisted = Merchant.objects.get(merchant_key="OLD CHAIN")
    assert (delisted.ticker, delisted.status) == (None, "proposed")
    assert "RAD" in delisted.reason
    assert Merchant.objects.get(merchant_key="NEVER SO").rejected_tickers == ["AAPL"]


def test_users_can_log_in_with_their_legacy_passwords(copied):
    assert authenticate(username="ann@example.com", password="right-one").pk == 1
    assert User.objects.get(pk=1).password.startswith("md5$")  # upgraded at log-in to the preferred hasher
    second = User.objects.get(pk=2)
    assert second.email == "Bob+legacy2@Example.com"
    assert authenticate(username=second.email, password=PLAIN).pk == 2
    assert second.round_up_amount == 3
    assert authenticate(username="bob@example.com", password="old-secret").pk == 3
    assert authenticate(username="bob@example.com", password="wrong") is None
    assert not User.objects.get(pk=5).has_usable_password()
    assert User.objects.get(pk=5).round_up_amount == 100
    assert not User.objects.get(pk=1).round_up_enabled
    root = User.objects.get(email="root@example.com")
    assert (root.is_staff, root.is_superuser) == (True, True)
    assert User.objects.get(pk=1).is_staff  # an administrator with a customer's e-mail is that customer
    assert not User.objects.get(email="gone@example.com").is_active


def test_no_secret_is_stored_anywhere(copied):
    with connection.cursor() as cursor:
        for table in ("legacy_rows", "migration_rejects", "migration_runs", "users", "admin_settings"):
            cursor.execute(f"SELECT {table}::text FROM {table}")
            text = "\n".join(row[0] for row in cursor.fetchall())
            for secret in (PLAIN, SHA256, "gets-hashed-too", "sk-very-secret", "hush", "1234"):
                assert secret not in text or (table, secret) == ("legacy_rows", "1234"), (table, secret)


def test_holdings_settings_journal_and_other_tables(copied):
    assert {(h.user_id, h.ticker): (h.shares, h.cost_basis) for h in Holding.objects.all()} == {
        (1, "AAPL"): (Decimal(2), Decimal("195.02")),
        (2, "SBUX"): (Decimal(2), Decimal(160)),
    }
    assert Setting.objects.get(key="platform_fee").value == "0.30"
    assert Setting.objects.get(key="confidence_threshold").value != "high"
    moved = LedgerTransfer.objects.filter(kind="journal").values_list(
        "debit_account", "credit_account", "amount", "reference"
    )
    assert set(moved) == {("15200", "40999", Decimal("60.50"), "JE-1"), ("15200", "67010", Decimal("39.50"), "JE-1")}
    assert Notification.objects.get(pk=1).read
    assert kept("odd table", "1") == {"a column": "kept", "secret_token": "[hidden]"}
    assert kept("blog_posts", '["a", "en"]')["body"] == "words"
    assert kept("ai_responses", "1")["admin_correct_ticker"] == "SBUX"
    assert kept("password_reset_tokens", "1") == {}


def test_the_source_is_never_changed(target, legacy):
    before = hashlib.sha256(legacy.read_bytes()).hexdigest()
    run_copy(legacy)
    validate(legacy)
    assert hashlib.sha256(legacy.read_bytes()).hexdigest() == before


def test_a_second_copy_adds_only_new_rows(copied, legacy):
    count = Transaction.objects.count()
    with closing(sqlite3.connect(legacy)) as source:
        insert(source, "transactions", user_id=1, date="2025-07-07 07:07:07", merchant="X", amount=1, total_debit=1)
        source.commit()
    again = run_copy(legacy)
    assert again.source_changed
    assert Transaction.objects.count() == count + 1
    assert validate(legacy).clean
    assert list(find_ledger_problems()) == []


def test_validate_finds_changed_missing_and_added_rows(copied, legacy):
    Transaction.objects.filter(pk=1).update(amount=Decimal("4.51"), total_debit=Decimal("4.51"))
    Transaction.objects.filter(pk=3).delete()
    LlmMapping.objects.filter(pk=1).update(ticker="AAPL")
    LlmMapping.objects.create(
        pk=900_000, merchant_name="X", merchant_key="X", status="pending", source="legacy", created_at=timezone.now()
    )
    Holding.objects.filter(user_id=1).update(shares=3)
    with owner_cursor() as cursor:
        cursor.execute("UPDATE ledger_transfers SET shares = 3 WHERE reference = 'portfolio 1'")
    User.objects.filter(pk=1).update(name="Not Ann")
    result = validate(legacy, samples=0)
    found = {(d.table, d.legacy_id, d.column) for table in result.tables for d in table.differences}
    assert found == {
        ("transactions", "1", "amount"),
        ("transactions", "1", "total_debit"),
        ("transactions", "3", ""),
        ("llm_mappings", "1", "ticker"),
        ("llm_mappings", "900000", ""),
        ("portfolios", "1", "shares"),
        ("users", "1", "name"),
    }
    assert not result.clean
    assert "The two sides differ." in list(result.lines())


def test_nothing_is_processed_while_the_legacy_system_is_in_charge(copied):
    assert Transaction.objects.filter(status="pending").exists()
    assert process_pending().total == 0


def test_a_second_file_is_refused(copied, tmp_path):
    other = make_legacy(tmp_path / "other.db")
    with pytest.raises(LegacyCopyError, match="being filled from"):
        run_copy(other)


def test_copy_refuses_a_target_with_conflicting_ids(target, legacy):
    user = User.objects.create_user("here@example.com", "a password of mine")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO notifications (id, user_id, title, message, type, read, created_at) "
            "VALUES (1, %s, '', '', '', false, now())",
            [user.pk],
        )
    with pytest.raises(LegacyCopyError):
        run_copy(legacy)


def test_an_existing_account_is_linked_and_not_changed(target, legacy):
    here = User.objects.create_user("ANN@example.com", "a password of mine", name="Here before")
    run_copy(legacy)
    here.refresh_from_db()
    assert here.name == "Here before"
    assert Transaction.objects.get(pk=1).user_id == here.pk
    assert validate(legacy).clean


def test_plan_reports_and_writes_nothing(target, legacy):
    found = make_plan(legacy)
    becomes = {table.name: table.becomes for table in found.tables}
    assert "unknown" in becomes["odd table"]
    assert becomes["password_reset_tokens"].startswith("nothing")
    unknown = {table.name: table.unknown for table in found.tables}
    assert unknown["llm_mappings"] == ("surprise",)
    assert "mx_data" in unknown["users"]
    kinds = {name for name, _, _ in found.repairs}
    assert {"transactions: timestamp", "transactions: money", "llm_mappings: bulk", "llm_mappings: approval"} <= kinds
    assert dict(found.rejects)["transactions: user gone"] == 1
    assert not Transaction.objects.exists()
    assert not MigrationRun.objects.exists()
    assert "Nothing is copied yet" in status_lines()[-1]


def test_a_file_without_known_tables_is_copied_as_json(target, tmp_path):
    path = tmp_path / "bare.db"
    with closing(sqlite3.connect(path)) as source:
        source.execute("CREATE TABLE things (a)")
        source.execute("INSERT INTO things VALUES (x'ff00')")
        source.commit()
    run_copy(path)
    assert kept("things", "1") == {"a": {"base64": "/wA="}}
    assert validate(path).clean
