"""Dual-write: what Kamioi writes reaches the legacy file."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tests.transactions.legacy.conftest import writing
from transactions.legacy.source.sqlite_file import LegacySourceError
from transactions.legacy.status import status_lines
from transactions.legacy.sync.outbox import disable_dual_write, enable_dual_write, get_outbox_status, send_outbox
from transactions.models import Holding, Notification, Transaction, User
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


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


def test_dual_write_can_be_switched_manually(watched):
    enable_dual_write()
    User.objects.filter(pk=1).update(name="Noted")
    disable_dual_write()
    User.objects.filter(pk=1).update(name="Not noted")
    assert get_outbox_status().pending == 1
