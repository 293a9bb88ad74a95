"""Verification of the books: holdings, ledger and transactions must agree to the cent and to the share."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.db import connection, transaction

from transactions.models import BackgroundTask, User
from transactions.services.background_tasks import claim_first, get_or_create_task, heartbeat_thread
from transactions.sql import load_sql

_FETCH = 1000
LEDGER_CHECK = "verify_ledger"
# The verification is one statement that may take hours.
_HEARTBEAT = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class LedgerProblem:
    """One disagreement: the check, the user, the subject, and the found and expected values."""

    problem: str
    user_id: int
    subject: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.problem}: user {self.user_id}, {self.subject}: found {self.found}; expected {self.expected}"


def find_ledger_problems() -> Iterator[LedgerProblem]:
    """Yield every disagreement, from one consistent snapshot of the database.

    PostgreSQL computes the sums, and only disagreements are transferred: memory is flat however large the ledger is.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # One statement is one snapshot, whatever the isolation level.
        cursor.execute("SET LOCAL work_mem = '64MB'")
        cursor.execute(load_sql("verify_ledger"), {})
        while rows := cursor.fetchmany(_FETCH):
            for row in rows:
                yield LedgerProblem(*row)


# Disagreements that the result of a task lists; it counts all.
MAX_EXAMPLES = 100


def request_ledger_check(*, actor: User | None) -> BackgroundTask:
    """Verify the books in the background; returns the open task if there is one."""
    return get_or_create_task(name=LEDGER_CHECK, actor=actor)


@claim_first
def run_ledger_check(task: BackgroundTask) -> None:
    """Verify the books as this background task and store the outcome in its result."""
    started, count, examples = time.monotonic(), 0, list[str]()
    with heartbeat_thread(task=task, every=_HEARTBEAT):
        for problem in find_ledger_problems():
            count += 1
            if len(examples) < MAX_EXAMPLES:
                examples.append(str(problem))
    task.progress = task.total = count
    task.result = {
        "is_consistent": count == 0,
        "problems": count,
        "examples": examples,
        "seconds": round(time.monotonic() - started, 3),
    }


def last_ledger_check() -> BackgroundTask | None:
    """Return the latest finished verification."""
    finished = [BackgroundTask.Status.COMPLETED, BackgroundTask.Status.FAILED]
    return BackgroundTask.objects.filter(name=LEDGER_CHECK, status__in=finished).order_by("-created_at").first()
