"""Seals of the books: one chained digest per day, in the database, in the log and in a file.

A day is sealed when it is over and every transaction that began before its end has ended. The legacy system may replace
rows as long as it owns the data, so nothing is sealed before the cut-over.
"""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from kamioi_site.db.replica import primary_reads
from transactions.migration_phase import legacy_owns_data
from transactions.models import AuditEvent, DetachedPartition, LedgerSeal
from transactions.models.seals import EXACT, FIRST_CHAIN
from transactions.sql import load_sql

logger = logging.getLogger(__name__)

# The clock of a web server or worker, which stamps the rows, may be behind that of the database.
CLOCK_DIFFERENCE: Final = timedelta(minutes=5)
NO_ROWS: Final = "0" * 64
ONE_DAY: Final = timedelta(days=1)

_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('seal_ledger', 0))"
_FIRST_DAY: Final = """
    SELECT (least((SELECT min(created_at) FROM ledger_transfers), (SELECT min(at) FROM audit_events))
            AT TIME ZONE 'UTC')::date
"""
# The times of other roles' sessions are hidden; such a transaction counts if it writes.
_IS_ANY_OPEN: Final = """
    SELECT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
          AND (xact_start < %s OR (xact_start IS NULL AND backend_xid IS NOT NULL))
    )
"""


@primary_reads()
def seal_days() -> list[LedgerSeal]:
    """Seal every complete day after the last seal, in order, and return the new seals.

    Each day is committed on its own. Of two callers, the second finds nothing left to seal.
    """
    sealed = list[LedgerSeal]()
    while not legacy_owns_data() and (seal := _seal_next_day()):
        logger.info("ledger of %s sealed: %s", seal.day, seal.chain, extra={"seal": as_entry(seal)})
        sealed.append(seal)
    if settings.SEALS_FILE:
        append_to_file(Path(settings.SEALS_FILE))
    return sealed


def as_entry(seal: LedgerSeal) -> dict[str, Any]:
    """Return a seal as in the log and in the file."""
    return seal.content() | {"chain": seal.chain}


def append_to_file(path: Path) -> None:
    """Append the seals after the last one in the file, so that a failed write is made up by the next run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    last = None
    if path.exists():
        for entry in read_file(path):
            last = entry["day"]
    seals = LedgerSeal.objects.order_by("day")
    with path.open("a", encoding="utf-8") as file:
        for seal in seals.filter(day__gt=last) if last else seals:
            file.write(json.dumps(as_entry(seal), sort_keys=True) + "\n")


def read_file(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a file of seals. Raises OSError, and ValueError for a line that is no seal."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            entry = json.loads(line)
            if not isinstance(entry, dict) or not {"day", "chain"} <= entry.keys():
                raise ValueError(f"{path} contains a line that is no seal: {line[:100]}")
            yield entry


def compute_days(start: date | None, end: date, *, dated_from: date | None = None) -> dict[date, LedgerSeal]:
    """Compute what the seals of the days from `start`, or ever, to before `end` contain, for days with rows or events.

    Running totals are those of the day alone, and nothing is chained yet.

    Args:
        dated_from: leave out ledger rows dated before this day.
    """
    days = dict[date, LedgerSeal]()
    parameters = {
        "start": start_of(start) if start else "-infinity",
        "end": start_of(end),
        "dated_from": start_of(dated_from) if dated_from else "-infinity",
    }
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '256MB'")
        cursor.execute(load_sql("seal_days"), parameters)
        for day, rows, sums, holdings, cost, digest in cursor.fetchall():
            seal = empty_seal(day)
            seal.rows, seal.sums, seal.holdings, seal.cost, seal.digest = rows, json.loads(sums), holdings, cost, digest
            days[day] = seal
        cursor.execute(load_sql("seal_events"), parameters)
        for day, events, last_event_id, digest in cursor.fetchall():
            seal = days.setdefault(day, empty_seal(day))
            seal.events, seal.last_event_id, seal.events_digest = events, last_event_id, digest
    return days


def find_seal_problems(*, recount: bool, file: Path | None = None) -> Iterator[tuple[str, str, str, str]]:
    """Yield what is wrong with the seals: (check, day, found, expected).

    The chain is always computed; with `recount`, so is what the seals say of the ledger and the audit trail.
    Raises OSError or ValueError when the file cannot be read.
    """
    stored = list(LedgerSeal.objects.order_by("day"))
    if file is not None:
        yield from _compare_with_file(stored, file)
    if not stored:
        return
    previous: LedgerSeal | None = None
    for seal in stored:
        if previous and seal.day != previous.day + ONE_DAY:
            yield "seal", f"{previous.day + ONE_DAY}", f"next seal {seal.day}", "a seal of every day"
        expected = seal.chain_after(previous.chain if previous else FIRST_CHAIN)
        if seal.chain != expected:
            yield "seal", f"{seal.day}", f"chain {seal.chain}", expected
        previous = seal
    if recount:
        yield from _compare_with_rows(stored)
    elif (newest := stored[-1].last_event_id) and not AuditEvent.objects.filter(pk=newest).exists():
        yield "audit", f"{stored[-1].day}", f"no event {newest}", "the newest event of the last seal"


def _compare_with_file(stored: list[LedgerSeal], file: Path) -> Iterator[tuple[str, str, str, str]]:
    seals = {f"{seal.day}": as_entry(seal) for seal in stored}
    entries = {entry["day"]: entry for entry in read_file(file)}
    newest = max(entries, default="")
    for day in sorted(seals.keys() | entries.keys()):
        found, expected = seals.get(day), entries.get(day)
        if found != expected and (expected or day < newest):
            yield "seal", day, _describe(found), f"{_describe(expected)} in {file.name}"


def _describe(entry: dict[str, Any] | None) -> str:
    return f"chain {entry['chain']}" if entry else "no seal"


def _compare_with_rows(stored: list[LedgerSeal]) -> Iterator[tuple[str, str, str, str]]:
    """Recount the sealed days, and everything from before the first."""
    with transaction.atomic():
        days = compute_days(None, stored[-1].day + ONE_DAY)
    for day in sorted(day for day in days if day < stored[0].day):
        yield "seal", f"{day}", "rows from before the first seal", "no rows"
    remaining = remaining_days()
    previous: LedgerSeal | None = None
    for seal in stored:
        counted = days.get(seal.day) or empty_seal(seal.day)
        if (left := remaining.get(seal.day)) is not None:
            for name, found in counted.day_content(None).items():
                if found != left.get(name):
                    yield "seal", f"{seal.day}", f"{name} {found} of what is not detached", f"{left.get(name)}"
            # The rest of the day is not recounted.
            counted.rows, counted.sums, counted.digest = seal.rows, seal.sums, seal.digest
            own = seal.day_content(previous)
            counted.holdings, counted.cost = Decimal(own["holdings"]), Decimal(own["cost"])
        actual = add_totals(counted, previous=previous, day=seal.day)
        for check, names in (
            ("seal", ("rows", "sums", "balances", "holdings", "cost", "digest")),
            ("audit", ("events", "last_event_id", "events_digest")),
        ):
            for name in names:
                found, expected = getattr(actual, name), getattr(seal, name)
                if found != expected:
                    yield check, f"{seal.day}", f"{name} {found}", f"{expected}"
        previous = seal


def remaining_days() -> dict[date, dict[str, Any]]:
    """Return what is left of each day of which rows are detached."""
    return {
        date.fromisoformat(day): content
        for partition in DetachedPartition.objects.order_by("pk")
        for day, content in partition.remaining.items()
    }


def add_totals(seal: LedgerSeal | None, *, previous: LedgerSeal | None, day: date) -> LedgerSeal:
    """Return the seal of a day, whose own content is `seal`, with the running totals after the day before."""
    seal = seal or empty_seal(day)
    balances = {account: Decimal(amount) for account, amount in (previous.balances if previous else {}).items()}
    for account, amount in seal.sums.items():
        balances[account] = balances.get(account, Decimal("0.00")) + Decimal(amount)
    seal.balances = {account: f"{amount:.2f}" for account, amount in balances.items()}
    if previous:
        seal.holdings = EXACT.add(previous.holdings, seal.holdings)
        seal.cost = EXACT.add(previous.cost, seal.cost)
        seal.events += previous.events
        seal.last_event_id = seal.last_event_id or previous.last_event_id
    return seal


def start_of(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def empty_seal(day: date) -> LedgerSeal:
    return LedgerSeal(
        day=day, rows=0, sums={}, holdings=Decimal(0), cost=Decimal(0), digest=NO_ROWS,
        events=0, last_event_id=0, events_digest=NO_ROWS,
    )  # fmt: skip


@transaction.atomic
def _seal_next_day() -> LedgerSeal | None:
    """Seal the day after the last seal, or return None if it is not complete."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK)
        previous = LedgerSeal.objects.order_by("-day").first()
        if previous:
            day = previous.day + ONE_DAY
        else:
            cursor.execute(_FIRST_DAY)
            day = cursor.fetchone()[0]
        if day is None:
            return None
        end = start_of(day + ONE_DAY) + CLOCK_DIFFERENCE
        if timezone.now() < end:
            return None
        cursor.execute(_IS_ANY_OPEN, [end])
        if cursor.fetchone()[0]:
            logger.warning("ledger of %s not sealed yet: a transaction from before its end is open", day)
            return None
    # A later statement, so that it sees what those transactions wrote.
    seal = add_totals(compute_days(day, day + ONE_DAY).get(day), previous=previous, day=day)
    seal.sealed_at = timezone.now()
    seal.chain = seal.chain_after(previous.chain if previous else FIRST_CHAIN)
    seal.save(force_insert=True)
    return seal
