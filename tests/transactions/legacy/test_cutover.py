"""Cut-over, rollback and finish."""

import threading
from decimal import Decimal

import psycopg2
import pytest

from kamioi_site.db.locks import connection_string
from tests.legacy_db import insert
from tests.transactions.legacy.conftest import a_run, run_copy, run_validate, writing
from transactions.legacy.cutover import CutoverError, cutover, finish, move_profiles, rollback
from transactions.legacy.source.change_log import CHANGE_LOG, SyncError, install_change_log
from transactions.legacy.status import status_lines
from transactions.legacy.sync.change_sync import sync_changes
from transactions.legacy.sync.outbox import SEND_LOCK, get_outbox_status
from transactions.migration_phase import get_migration_state, reads_from_kamioi
from transactions.models import Goal, Transaction, User, UserSetting
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


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
    assert "5%" in cutover(a_run(), percent=5)
    assert get_migration_state().phase == "legacy"


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
    assert "no longer depends" in status_lines()[-1]
