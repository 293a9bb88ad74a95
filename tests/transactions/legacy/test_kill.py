"""A legacy system that keeps writing, and kill -9 at ten random points: nothing is lost or duplicated."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.db import connection

from tests.legacy_db import make_legacy
from tests.workers import ROOT, process_environment
from transactions.legacy.source.change_log import install_change_log
from transactions.legacy.validate.validation import validate
from transactions.migration_phase import get_migration_state
from transactions.models import MigrationRun, Transaction
from transactions.services.ledger_verification import find_ledger_problems

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

# The legacy system: inserts, updates and deletes in small transactions until the file `stop` exists.
WRITER = """
import pathlib, random, sqlite3, sys, time
path, stop, rng = sys.argv[1], pathlib.Path(sys.argv[2]), random.Random(7)
source = sqlite3.connect(path, timeout=30)
n = 0
while not stop.exists():
    n += 1
    day = f"2025-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d} 12:00:00"
    source.execute("INSERT INTO transactions (user_id, date, merchant, amount, total_debit, status, created_at) "
                   "VALUES (?, ?, ?, ?, 0, 'completed', ?)",
                   [rng.choice([1, 2, 3, 777]), day, f"SHOP {n % 9}", n % 50 + 1, day])
    source.execute("INSERT INTO llm_mappings (merchant_name, ticker, status, user_id, created_at) "
                   "VALUES (?, 'SBUX', 'approved', '1', ?)", [f"SHOP {n % 9}", day])
    last = source.execute("SELECT max(id) FROM transactions").fetchone()[0]
    source.execute("UPDATE transactions SET amount = amount + 1 WHERE id = ?", [rng.randint(1, last)])
    source.execute("DELETE FROM transactions WHERE id = ?", [rng.randint(1, last)])
    source.execute("UPDATE portfolios SET shares = shares + 1 WHERE id = 1")
    source.execute("UPDATE users SET name = ? WHERE id = 1", [f"Ann {n}"])
    source.commit()
    time.sleep(0.01)
"""


def start(*arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "manage.py", "migrate_from_sqlite", *arguments],
        cwd=ROOT,
        env=process_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def kill(process: "subprocess.Popen[bytes]", after: float) -> bool:
    """Kill -9 after this many seconds; return whether it was still running."""
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    finally:
        if process.stdout:
            process.stdout.close()
    return False


def run(*arguments: str) -> str:
    process = start(*arguments)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output.decode()
    return output.decode()


def wait_for_work(command: str) -> None:
    """Wait until a new run of the command has started."""
    deadline = time.monotonic() + 60
    newest = MigrationRun.objects.filter(command=command).count()
    while MigrationRun.objects.filter(command=command).count() == newest:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_kills_lose_and_duplicate_nothing(target, tmp_path: Path):
    rng = random.Random()
    path = make_legacy(tmp_path / "kamioi.db", rows=8000)
    install_change_log(path)
    stop = tmp_path / "stop"
    killed = 0
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(stop)]) as writer:
        try:
            for _ in range(5):
                process = start("copy", str(path))
                wait_for_work("copy")
                killed += kill(process, rng.uniform(0, 1.5))
            run("copy", str(path))
            for _ in range(3):
                process = start("sync", str(path), "--follow")
                wait_for_work("sync")
                killed += kill(process, rng.uniform(0, 2))
            run("sync", str(path))
        finally:
            stop.touch()
        assert writer.wait(timeout=30) == 0
    run("sync", str(path))
    assert "Both sides agree." in run("validate", str(path), "--samples", "0")
    for _ in range(2):
        process = start("cutover")
        wait_for_work("cutover")
        killed += kill(process, rng.uniform(0, 2.2))
        if get_migration_state().phase == "kamioi":
            break
    if get_migration_state().phase != "kamioi":
        run("cutover")
    assert killed >= 5  # a kill may come too late on a fast machine; most must hit
    assert list(find_ledger_problems()) == []
    result = validate(path, samples=0, ignore_pending=False)
    # The only difference is what the cut-over itself does: open purchases became Kamioi's to process.
    assert {difference.column for table in result.tables for difference in table.differences} <= {
        "status",
        "updated_at",
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT id) FROM transactions")
        total, distinct = cursor.fetchone()
        cursor.execute("SELECT to_regclass('legacy_load_transactions')")
        assert cursor.fetchone() == (None,)
    assert total == distinct == Transaction.objects.count()
