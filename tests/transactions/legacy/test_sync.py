"""`sync`, dual-write, cut-over, rollback and finish: every change arrives once, on both sides."""

import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path

import psycopg2
import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import make_password
from django.core.management import CommandError, call_command
from django.db import connection
from django.urls import reverse

from llm_center.models import LlmMapping
from tests.factories import api_client, make_staff
from tests.legacy_db import insert
from tests.transactions.legacy.conftest import run_copy
from transactions.legacy.convert.passwords import legacy_password
from transactions.legacy.cutover import CutoverError, cutover, finish, move_profiles, rollback, set_read_percentage
from transactions.legacy.load.migration_lock import connection_string
from transactions.legacy.source.change_log import CHANGE_LOG, SyncError, install_change_log, remove_change_log, sync_lag
from transactions.legacy.source.sqlite_file import LegacySourceError
from transactions.legacy.status import status_lines
from transactions.legacy.sync.change_sync import sync_all_rows, sync_changes
from transactions.legacy.sync.outbox import (
    SEND_LOCK,
    disable_dual_write,
    enable_dual_write,
    get_outbox_status,
    send_outbox,
)
from transactions.legacy.validate.validation import validate
from transactions.migration_phase import get_migration_state, reads_from_kamioi
from transactions.models import (
    Goal,
    Holding,
    Merchant,
    MigrationReject,
    MigrationRun,
    Notification,
    Transaction,
    User,
    UserSetting,
)
from transactions.password_hashers import WerkzeugPasswordHasher
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Write to the file as the legacy system does."""
    with closing(sqlite3.connect(path, timeout=10)) as source:
        yield source
        source.commit()


def a_run(command: str = "sync") -> MigrationRun:
    return MigrationRun.objects.create(command=command)


def run_validate(path: Path) -> None:
    run = MigrationRun.objects.create(command="validate")
    result = validate(path, samples=0)
    assert result.clean, list(result.lines())
    run.status = "done"
    run.save()


@pytest.fixture
def watched(target: None, legacy: Path) -> Path:
    """Return a copied legacy file with a change log."""
    install_change_log(legacy)
    run_copy(legacy)
    return legacy


@pytest.fixture
def over(watched: Path) -> Path:
    """Return a legacy file after the cut-over."""
    run_validate(watched)
    cutover(a_run("cutover"), percent=100)
    send_outbox()
    return watched


# --- sync -------------------------------------------------------------------------------------------------------------


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


def test_the_change_log_is_installed_and_removed(legacy):
    install_change_log(legacy)
    install_change_log(legacy)  # again is harmless
    with writing(legacy) as source:
        source.execute("UPDATE goals SET title = 'x'")
        assert source.execute(f"SELECT table_name, row_key FROM {CHANGE_LOG}").fetchall()[-1] == ("goals", "1")
    remove_change_log(legacy)
    with writing(legacy) as source:
        assert source.execute("SELECT name FROM sqlite_master WHERE name LIKE 'kamioi%'").fetchall() == []


# --- reads move -----------------------------------------------------------------------------------------------------


def test_reads_move_by_customer_and_stay(watched):
    users = [User(pk=n) for n in range(1, 2001)]
    set_read_percentage(percent=10)
    first = {user.pk for user in users if reads_from_kamioi(user)}
    assert 120 < len(first) < 280
    set_read_percentage(percent=50)
    second = {user.pk for user in users if reads_from_kamioi(user)}
    assert first < second
    set_read_percentage(percent=100)
    assert all(reads_from_kamioi(user) for user in users)


def test_customers_who_have_not_moved_read_the_legacy_file(watched):
    client = api_client(User.objects.get(pk=1))
    with writing(watched) as source:  # not synced yet
        insert(
            source,
            "transactions",
            user_id=1,
            date="2026-01-01 10:00:00",
            merchant="ONLY THERE",
            amount="$3.50",
            total_debit=3.5,
        )
        insert(source, "notifications", user_id=1, title="Only there", message="x")
        source.execute("UPDATE portfolios SET shares = 10 WHERE id = 1")

    def seen() -> tuple[str, str, Decimal]:
        rows = client.get("/api/user/transactions").json()["data"]["transactions"]
        messages = client.get("/api/user/notifications").json()["data"]
        owned = client.get("/api/user/portfolio").json()["data"]["holdings"]
        return rows[0]["merchant"], messages[0]["title"], Decimal(str(owned[0]["shares"]))

    set_read_percentage(percent=0)
    assert seen() == ("ONLY THERE", "Only there", Decimal("10.5"))
    set_read_percentage(percent=100)
    assert seen()[1:] == ("Hello", Decimal("2"))
    set_read_percentage(percent=0)
    watched.rename(watched.with_suffix(".away"))
    assert seen()[1:] == ("Hello", Decimal("2"))  # Kamioi's own copy answers


def test_cutover_refuses_until_it_is_safe(target, legacy):
    with pytest.raises(CutoverError, match="copy"):
        cutover(a_run(), percent=100)
    install_change_log(legacy)
    run_copy(legacy)
    with pytest.raises(CutoverError, match="validat"):
        cutover(a_run(), percent=5)
    run_validate(legacy)
    with writing(legacy) as source:
        source.execute("UPDATE goals SET title = 'x'")
        source.execute(f"UPDATE {CHANGE_LOG} SET at = at - 100")
    with pytest.raises(CutoverError, match="behind"):
        cutover(a_run(), percent=5)
    sync_changes(legacy, a_run())
    assert "5 %" in cutover(a_run(), percent=5)
    assert get_migration_state().phase == "legacy"


# --- Kamioi in charge -------------------------------------------------------------------------------------------------


def test_open_purchases_are_processed_after_the_cutover(watched):
    run_validate(watched)
    with writing(watched) as source:
        source.execute("UPDATE transactions SET status = 'needs-recognition' WHERE id = 1")
    cutover(a_run(), percent=100)
    assert Transaction.objects.get(pk=1).status == "pending"  # its merchant is known by now
    done = process_pending()
    assert done.statuses["completed"] >= 1
    assert list(find_ledger_problems()) == []
    with pytest.raises(SyncError, match="in charge"):
        sync_changes(watched, a_run())


def test_the_cutover_moves_profiles_goals_and_preferences_once(target, legacy):
    with writing(legacy) as source:
        for column in ("first_name TEXT", "address TEXT", "risk_tolerance TEXT", "terms_agreed BOOLEAN"):
            source.execute(f"ALTER TABLE users ADD COLUMN {column}")
        source.execute(
            "UPDATE users SET first_name = ' Ann ', address = '1 Road', risk_tolerance = 'Aggressive', "
            "terms_agreed = 1 WHERE id = 1"
        )
        insert(source, "goals", user_id=1, title="Broken", target_amount="much")
        insert(source, "goals", user_id=99, title="Of no user", target_amount=5)
        insert(source, "user_settings", user_id=1, setting_key="theme", setting_value="dark")
        insert(source, "user_settings", user_id=1, setting_key="not a key!", setting_value="x")
    install_change_log(legacy)
    run_copy(legacy)
    assert not Goal.objects.exists()
    run_validate(legacy)
    cutover(a_run(), percent=100)
    user = User.objects.get(pk=1)
    assert (user.first_name, user.address, user.risk_tolerance, user.name) == ("Ann", "1 Road", "aggressive", "Ann")
    assert user.terms_agreed_at == user.created_at
    goal = Goal.objects.get()
    assert (goal.user_id, goal.title, goal.target_amount, goal.goal_type) == (
        1,
        "A house",
        Decimal("1000.50"),
        "personal",
    )
    assert [(row.setting_key, row.setting_value) for row in UserSetting.objects.all()] == [("theme", "dark")]
    assert User.objects.get(pk=2).risk_tolerance == "moderate"
    move_profiles()
    assert (Goal.objects.count(), UserSetting.objects.count()) == (1, 1)


def test_dual_write_updates_the_legacy_file(over):
    User.objects.filter(pk=1).update(round_up_enabled=True)
    process_pending()
    user = User.objects.get(pk=1)
    user.name, user.round_up_enabled = "Ann Elsewhere", True
    user.set_password("something new 1")
    user.save()
    new = User.objects.create_user("fresh@example.com", "fresh password 1", name="Fresh")
    Transaction.objects.create(
        user=new,
        merchant="TOKEN",
        merchant_key="TOKEN",
        amount=Decimal("12.34"),
        total_debit=Decimal("12.34"),
        date=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )
    Notification.objects.filter(pk=1).delete()
    while send_outbox():
        pass
    with writing(over) as source:
        rows = dict(source.execute("SELECT id, status FROM transactions"))
        assert rows[1] == "completed"
        assert source.execute("SELECT shares FROM transactions WHERE id = 1").fetchone()[0] == pytest.approx(
            1 / 95, abs=1e-8
        )
        assert source.execute("SELECT name FROM users WHERE id = 1").fetchone() == ("Ann Elsewhere",)
        assert source.execute("SELECT setting_value FROM user_settings WHERE user_id = 1").fetchone()[0] == "true"
        assert source.execute("SELECT email FROM users WHERE id = ?", [new.pk]).fetchone() == ("fresh@example.com",)
        assert source.execute("SELECT amount, date FROM transactions WHERE user_id = ?", [new.pk]).fetchone() == (
            12.34,
            "2026-01-02 03:04:05",
        )
        assert source.execute("SELECT count(*) FROM notifications WHERE id = 1").fetchone() == (0,)
        assert source.execute(
            "SELECT sum(shares), count(*) FROM portfolios WHERE user_id = 1 AND ticker = 'SBUX' AND shares > 0"
        ).fetchone()[0] == pytest.approx(float(Holding.objects.get(user_id=1, ticker="SBUX").shares))


def test_a_missing_file_loses_nothing(over):
    away = over.with_suffix(".away")
    over.rename(away)
    User.objects.filter(pk=1).update(name="Meanwhile")
    with pytest.raises(LegacySourceError):
        send_outbox()
    found = get_outbox_status()
    assert (found.on, found.pending) == (True, 1)
    assert "no such file" in found.error
    assert any("no such file" in line for line in status_lines())
    away.rename(over)
    assert send_outbox() == 1
    assert get_outbox_status().error == ""
    with writing(over) as source:
        assert source.execute("SELECT name FROM users WHERE id = 1").fetchone() == ("Meanwhile",)


def test_a_locked_file_does_not_delay_writes(over, monkeypatch):
    monkeypatch.setattr("transactions.legacy.source.sqlite_file.BUSY_SECONDS", 0.2)
    with closing(sqlite3.connect(over, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        User.objects.filter(pk=1).update(name="Soon")
        with pytest.raises(LegacySourceError, match="locked"):
            send_outbox()
        other.execute("ROLLBACK")
    assert send_outbox() == 1


def test_rollback_waits_for_another_process_that_writes_to_the_file(over):
    User.objects.filter(pk=1).update(name="Written in Kamioi")
    other = psycopg2.connect(connection_string())
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SEND_LOCK])
    timer = threading.Timer(0.5, other.rollback)
    timer.start()
    try:
        rollback()
    finally:
        timer.join()
        other.close()
    assert get_outbox_status().pending == 0


def test_rollback_writes_everything_back(over):
    User.objects.filter(pk=1).update(name="Written in Kamioi")
    assert "in charge again" in rollback()
    with writing(over) as source:
        assert source.execute("SELECT name FROM users WHERE id = 1").fetchone() == ("Written in Kamioi",)
    assert get_migration_state().phase == "rolled back"
    assert not reads_from_kamioi(User.objects.get(pk=1))
    assert process_pending().total == 0
    User.objects.filter(pk=1).update(name="Too late")
    assert get_outbox_status().pending == 0
    with pytest.raises(CutoverError, match="already"):
        rollback()
    with pytest.raises(CutoverError):
        cutover(a_run(), percent=100)


def test_rollback_before_the_cutover_only_moves_readers(watched):
    run_validate(watched)
    cutover(a_run(), percent=50)
    rollback()
    assert get_migration_state().phase == "legacy"
    sync_changes(watched, a_run())


def test_finish_prevents_a_rollback(over):
    finish()
    assert get_migration_state().phase == "finished"
    User.objects.filter(pk=1).update(name="Only here")
    assert get_outbox_status().pending == 0
    with writing(over) as source:
        assert source.execute("SELECT name FROM sqlite_master WHERE name LIKE 'kamioi%'").fetchall() == []
    with pytest.raises(CutoverError, match="closed"):
        rollback()
    assert "stands alone" in status_lines()[-1]


def test_dual_write_can_be_switched_manually(watched):
    enable_dual_write()
    User.objects.filter(pk=1).update(name="Noted")
    disable_dual_write()
    User.objects.filter(pk=1).update(name="Not noted")
    assert get_outbox_status().pending == 1


@pytest.mark.parametrize("hasher", ["scrypt", "pbkdf2_sha256"])
def test_a_kamioi_password_works_in_the_legacy_system(hasher):
    stored = legacy_password(make_password("the same one", hasher=hasher))
    assert stored is not None
    assert WerkzeugPasswordHasher().verify("the same one", f"werkzeug${stored}")
    assert not WerkzeugPasswordHasher().verify("another one", f"werkzeug${stored}")
    if hasher == "scrypt":  # what werkzeug itself computes
        _, n, r, p = stored.split("$")[0].split(":")
        salt, digest = stored.split("$")[1:]
        assert (
            hashlib.scrypt(b"the same one", salt=salt.encode(), n=int(n), r=int(r), p=int(p), maxmem=2**28).hex()
            == digest
        )


# --- retried rejects --------------------------------------------------------------------------------------------------


def test_a_rejected_row_is_corrected_in_the_admin(copied, legacy, client):
    client.force_login(make_staff("chief@kamioi.test"))
    reject = MigrationReject.objects.get(table_name="transactions", legacy_id="13")
    address = reverse("admin:transactions_migrationreject_change", args=[reject.pk])
    page = client.get(address)
    assert b"twelve" in page.content
    wrong = client.post(
        address, {"row": '{"user_id": 1, "date": "2025-03-04", "merchant": "M", "amount": "thirteen"}'}, follow=True
    )
    assert b"Still rejected: no readable amount" in wrong.content
    assert not Transaction.objects.filter(pk=13).exists()
    good = (
        '{"user_id": 1, "date": "2025-03-04", "merchant": "M", "amount": "12.00", "total_debit": 12, '
        '"status": "completed"}'
    )
    done = client.post(address, {"row": good}, follow=True)
    assert b"was migrated" in done.content
    assert Transaction.objects.get(pk=13).amount == 12
    reject.refresh_from_db()
    assert reject.resolved_by.email == "chief@kamioi.test"
    assert validate(legacy, samples=0).clean


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_runs_every_step(target, legacy, tmp_path):
    def run_step(*arguments: str) -> str:
        out = StringIO()
        call_command("migrate_from_sqlite", *arguments, stdout=out)
        return out.getvalue()

    file = str(legacy)
    assert "rejected" in run_step("plan", file)
    assert "Nothing was written" in run_step("backup", file, "--to", str(tmp_path / "b"), "--dry-run")
    assert "SHA-256" in run_step("backup", file, "--to", str(tmp_path / "b"))
    assert {path.suffix for path in (tmp_path / "b").iterdir()} == {".db", ".sha256", ".dump"}
    assert "tables are logged" in run_step("sync", file, "--install")
    assert "Nothing was written" in run_step("copy", file, "--dry-run")
    assert "rows were rejected" in run_step("copy", file)
    assert "Next: `validate FILE`" in run_step("status")
    assert "Both sides agree." in run_step("validate", file)
    assert "The cut-over is possible" in run_step("cutover", "--dry-run")
    assert "0 changes applied" in run_step("sync", file)
    assert "10 %" in run_step("cutover", "--percent", "10")
    assert "in charge" in run_step("cutover")
    assert "dual-write is on" in run_step("dual-write", "status")
    run_step("dual-write", "send")
    assert "in charge" in run_step("status")
    run_step("finish", "--dry-run")
    assert "stands alone" in run_step("finish", "--yes")
    runs = dict(MigrationRun.objects.values_list("command", "status"))
    assert set(runs.values()) == {"done"}
    assert {"backup", "copy", "validate", "sync", "cutover", "finish"} <= set(runs)
    with pytest.raises(CommandError):
        run_step("rollback", "--yes")


def test_validate_exits_with_2_when_the_sides_differ(copied, legacy):
    Transaction.objects.filter(pk=3).delete()
    with pytest.raises(SystemExit) as ended:
        call_command("migrate_from_sqlite", "validate", str(legacy), stdout=StringIO())
    assert ended.value.code == 2
    assert MigrationRun.objects.get(command="validate").status == "differs"
