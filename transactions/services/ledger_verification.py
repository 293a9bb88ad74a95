"""Verification of the books: holdings, ledger, transactions and seals must agree to the cent and to the share.

A verification of everything recounts every row and every seal. One since the last seal costs what the rows since then
cost, and one pass over the holdings:

* It sees every problem of rows written since, and positions, bank and audit trail that do not follow from the totals of
  the last seal.
* It does not see a sealed row, a seal's content or a transaction of a sealed day that was changed afterwards, nor audit
  events removed before the newest sealed one; and of wrong positions it names none.

Rows of detached months are not read. Their totals follow from the seals, so positions are compared by their total then;
purchases and entries that may have postings there are checked as far as their postings are attached.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from django.db import connection, transaction

from transactions.models import BackgroundTask, LedgerSeal, LedgerTransfer, Transaction, User
from transactions.services.background_tasks import claim_first, get_or_create_task, heartbeat_thread
from transactions.services.detached_partitions import attached_from, detached_totals
from transactions.services.ledger_seals import ONE_DAY, find_seal_problems, start_of
from transactions.sql import load_sql

_FETCH = 1000
LEDGER_CHECK = "verify_ledger"
# The verification is one statement that may take hours.
_HEARTBEAT = timedelta(seconds=30)
# Check → what it states. Each is a file in `transactions/sql/verify/`, but for the seals and the audit trail.
CHECKS: Final = {
    "holding": "Holdings and broker positions are the sum of the ledger",
    "positions": "Holdings and broker positions follow from the last seal",
    "transaction": "Transactions agree with their postings and prices",
    "fee": "Fees are those of the settings of their day",
    "funds": "Customers have no money that is not invested",
    "customer": "Collections are what customers owed",
    "bank": "The bank is not overdrawn",
    "account": "Postings use accounts of the chart",
    "day": "Customers' postings carry the day of booking",
    "period": "Closed months have no later postings",
    "order": "Executed orders have a completed transaction",
    "contra": "Contra entries reverse an existing posting",
    "amortization": "Amortization charges have their transfer",
    "journal": "Journal entries agree with their transfers",
    "seal": "Seals are complete, chained, and agree with the ledger",
    "audit": "The audit trail agrees with the seals",
}
_BY_SEALS: Final = ("seal", "audit")
# What is not limited to the rows since a seal.
_EVERYTHING: Final = ("customer", "order")
# Positions are compared one by one, or by their total where rows are not read.
_BY_ROW: Final = ("holding",)
_BY_TOTAL: Final = ("positions",)


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


def find_ledger_problems(*, everything: bool = True, seals: Path | None = None) -> Iterator[LedgerProblem]:
    """Yield every disagreement, the books themselves from one consistent snapshot of the database.

    PostgreSQL computes the sums, and only disagreements are transferred: memory is flat however large the ledger is.

    Args:
        everything: recount all rows and seals; otherwise start from the last seal, as far as there is one.
        seals: a file of seals that must agree with those in the database.

    Raises OSError or ValueError when the file cannot be read.
    """
    for check, day, found, expected in find_seal_problems(recount=everything, file=seals):
        yield LedgerProblem(check, 0, day, found, expected)
    last = LedgerSeal.objects.order_by("-day").first()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '64MB'")
        cursor.execute(*checks_of_rows(_start_from(last, everything=everything)))
        while rows := cursor.fetchmany(_FETCH):
            for row in rows:
                yield LedgerProblem(*row)


# From when on the checks read, and the totals up to then: all rows of a ledger without detached months.
_ALL_ROWS: Final[Mapping[str, Any]] = {
    "everything": True,
    "since": "-infinity",
    "unsealed": "infinity",
    "attached": "-infinity",
    "purchases": "-infinity",
    "bank": Decimal(0),
    "holdings": None,
    "cost": None,
}


def checks_of_rows(parameters: Mapping[str, Any] = _ALL_ROWS) -> tuple[str, Mapping[str, Any]]:
    """Return all checks but those of the seals as one statement, which is one snapshot, and its parameters."""
    # Without a starting total, each position is compared with its rows; otherwise only their total.
    skipped = {*_BY_SEALS, *(_BY_TOTAL if parameters["holdings"] is None else _BY_ROW)}
    if not parameters["everything"]:
        skipped |= {*_EVERYTHING}
    files = [load_sql(f"verify/{check}") for check in CHECKS if check not in skipped]
    return " UNION ALL ".join(f"({sql})" for sql in files), parameters


def _start_from(last: LedgerSeal | None, *, everything: bool) -> Mapping[str, Any]:
    """Return the parameters of the checks.

    Args:
        last: the last seal.
        everything: check all rows, not only those since the last seal.
    """
    attached, purchases = attached_from(LedgerTransfer._meta.db_table), attached_from(Transaction._meta.db_table)
    parameters = dict(_ALL_ROWS)
    if last:
        parameters["unsealed"] = start_of(last.day + ONE_DAY)
    if attached:
        parameters["attached"] = start_of(attached)
    if purchases:
        parameters["purchases"] = start_of(purchases)
    if last and not everything:
        bank, holdings, cost = Decimal(last.balances.get("10100", 0)), last.holdings, last.cost
        return parameters | {
            "everything": False,
            "since": parameters["unsealed"],
            "bank": bank,
            "holdings": holdings,
            "cost": cost,
        }
    if attached:
        sums, holdings, cost = detached_totals()
        parameters |= {"bank": sums.get("10100", Decimal(0)), "holdings": holdings, "cost": cost}
    return parameters


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
