"""The rollups during the legacy migration: correct after each step, and nothing is counted twice."""

import sqlite3
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from analytics.models import LlmAnalyticsSummary, TransactionDay
from analytics.services.rollups import refresh_rollups, verify_rollups
from llm_center.models import LlmMapping
from transactions.legacy.cutover import cutover
from transactions.legacy.source.change_log import install_change_log
from transactions.legacy.sync.change_sync import sync_changes
from transactions.models import MigrationRun, Transaction

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


def differences() -> list[str]:
    return [str(difference) for difference in verify_rollups()]


def write(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as source, source:
        for statement in statements:
            source.execute(statement)


def run_command(*arguments: str) -> str:
    out = StringIO()
    call_command("migrate_from_sqlite", *arguments, stdout=out)
    return out.getvalue()


def test_the_rollups_are_correct_from_the_copy_to_the_cutover(target: None, legacy: Path) -> None:
    install_change_log(legacy)
    assert "the rollups are up to date" in run_command("copy", str(legacy))
    assert differences() == []
    assert sum(day.rows for day in TransactionDay.objects.all()) == Transaction.objects.count()
    assert sum(row.count for row in LlmAnalyticsSummary.objects.all()) == LlmMapping.objects.count() > 0

    write(
        legacy,
        "UPDATE transactions SET amount = amount + 1 WHERE id IN (1, 2)",
        "UPDATE llm_mappings SET confidence = 0.5, status = 'rejected' WHERE id = 1",
        "DELETE FROM transactions WHERE id = 3",
        "INSERT INTO transactions (user_id, date, merchant, amount, total_debit, status, created_at) "
        "VALUES (1, '2025-02-03 12:00:00', 'SHOP', 5, 0, 'completed', '2025-02-03 12:00:00')",
        "INSERT INTO llm_mappings (merchant_name, ticker, status, user_id, created_at) "
        "VALUES ('SHOP', 'SBUX', 'approved', '1', '2025-02-03 12:00:00')",
    )
    sync_changes(legacy, MigrationRun.objects.create(command="sync"))
    assert differences() == []  # counted as they were written
    refresh_rollups()
    assert differences() == []

    write(legacy, "UPDATE transactions SET status = 'needs-recognition' WHERE id = 1")
    run_command("validate", str(legacy))
    cutover(MigrationRun.objects.create(command="cutover"), percent=100)
    assert Transaction.objects.get(pk=1).status == "pending"
    assert differences() == []
