"""The books, checked: holdings, ledger and transactions must say the same, to the cent and to the share."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import connection, transaction

from transactions.models import BackgroundTask, User
from transactions.services.background_tasks import get_or_create_task, heartbeat_thread, run_task
from transactions.sql import load_sql

_FETCH = 1000
LEDGER_CHECK = "verify_ledger"
# One statement that may take hours.
_SIGN = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class LedgerProblem:
    """One disagreement: which check, whose, about what, what was found and what was expected."""

    problem: str
    user_id: int
    subject: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.problem}: user {self.user_id}, {self.subject}: found {self.found}; expected {self.expected}"


def find_ledger_problems() -> Iterator[LedgerProblem]:
    """Every disagreement, from one consistent snapshot of the database; nothing when the books are right.

    The sums are made in PostgreSQL, and only the disagreements travel: memory is flat however large the ledger is.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # One statement is one snapshot, whatever the isolation level.
        cursor.execute("SET LOCAL work_mem = '64MB'")
        cursor.execute(load_sql("verify_ledger"), {})
        while rows := cursor.fetchmany(_FETCH):
            for row in rows:
                yield LedgerProblem(*row)


# Disagreements that a report keeps; the count is of all.
REPORTED = 100


def request_ledger_check(*, actor: User | None) -> BackgroundTask:
    """Check the books in the background; a check that waits or runs already is the one."""
    return get_or_create_task(name=LEDGER_CHECK, actor=actor)


def run_ledger_check(*, task_id: UUID | str) -> None:
    """Check the books as a background task; its result is the report."""
    with run_task(task_id=task_id) as task:
        if task is None:
            return
        started, count, shown = time.monotonic(), 0, list[str]()
        with heartbeat_thread(task=task, every=_SIGN):
            for problem in find_ledger_problems():
                count += 1
                if len(shown) < REPORTED:
                    shown.append(str(problem))
        task.progress = task.total = count
        task.result = {
            "is_consistent": count == 0,
            "problems": count,
            "examples": shown,
            "seconds": round(time.monotonic() - started, 3),
        }


def last_ledger_check() -> BackgroundTask | None:
    """The last check that ended."""
    ended = [BackgroundTask.Status.COMPLETED, BackgroundTask.Status.FAILED]
    return BackgroundTask.objects.filter(name=LEDGER_CHECK, status__in=ended).order_by("-created_at").first()
