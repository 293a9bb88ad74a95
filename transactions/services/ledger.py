"""The books, checked: holdings, ledger and transactions must say the same, to the cent and to the share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.db import connection, transaction
from django.utils import timezone

from transactions.models import LedgerCheck
from transactions.sql import statement

_FETCH = 1000
_SAMPLE = 20


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


def ledger_verify() -> Iterator[LedgerProblem]:
    """Every disagreement, from one consistent snapshot of the database; nothing when the books are right.

    The sums are made in PostgreSQL, and only the disagreements travel: memory is flat however large the ledger is.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # One statement is one snapshot, whatever the isolation level.
        cursor.execute("SET LOCAL work_mem = '64MB'")
        cursor.execute(statement("verify_ledger"), {})
        while rows := cursor.fetchmany(_FETCH):
            for row in rows:
                yield LedgerProblem(*row)


def ledger_check(*, report: Callable[[LedgerProblem], None] | None = None) -> LedgerCheck:
    """Verify the books and keep the outcome, which the metrics read.

    Args:
        report: is told every disagreement.
    """
    started = timezone.now()
    count, sample = 0, []
    for problem in ledger_verify():
        count += 1
        if count <= _SAMPLE:
            sample.append(str(problem))
        if report:
            report(problem)
    return LedgerCheck.objects.create(started_at=started, finished_at=timezone.now(), differences=count, sample=sample)
