"""Journal entries of the company's own books: entered as lines, posted as balanced transfers.

A row of the ledger is a balanced transfer, so the lines of an entry are paired: each debit with credits until it is
used up. A posted entry never changes; it is reversed by the same transfers with debit and credit exchanged.

Only purchases post to the accounts of customers' money and securities: a journal entry there would make holdings and
ledger disagree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from transactions.errors import EntryAlreadyBookedError, InvalidEntryError
from transactions.models import JournalEntry, LedgerAccount, LedgerTransfer, User
from transactions.models.journal import POSTED_KIND, REVERSED_KIND
from transactions.models.ledger import CUSTOMER_ACCOUNTS
from transactions.rules.money import ZERO

_EARLIEST = date(2000, 1, 1)
_MAX_FUTURE = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an entry: dollars on one side of an account."""

    account: str
    debit: Decimal
    credit: Decimal
    description: str = ""


@dataclass(frozen=True, slots=True)
class TransferPair:
    """The two accounts and the amount of one balanced transfer."""

    debit: str
    credit: str
    amount: Decimal


def pair_lines(lines: Sequence[Line]) -> list[TransferPair]:
    """Pair debits with credits, in their order. Raises InvalidEntryError when the lines do not balance."""
    for number, line in enumerate(lines, start=1):
        if line.debit < 0 or line.credit < 0 or bool(line.debit) == bool(line.credit):
            raise InvalidEntryError(f"Line {number}: give a debit or a credit above zero, not both.")
    debit_sum = sum((line.debit for line in lines), ZERO)
    credit_sum = sum((line.credit for line in lines), ZERO)
    if not debit_sum or debit_sum != credit_sum:
        raise InvalidEntryError(f"Debits of ${debit_sum:,} and credits of ${credit_sum:,} do not balance.")
    if both_sides := {line.account for line in lines if line.debit} & {line.account for line in lines if line.credit}:
        raise InvalidEntryError(f"Account {min(both_sides)} is debited and credited: book the difference.")
    pairs: list[TransferPair] = []
    credits_ = [(line.account, line.credit) for line in reversed(lines) if line.credit]
    for line in lines:
        remaining = line.debit
        while remaining:
            account, credit = credits_.pop()
            amount = min(remaining, credit)
            pairs.append(TransferPair(line.account, account, amount))
            remaining -= amount
            if credit > amount:
                credits_.append((account, credit - amount))
    return pairs


@transaction.atomic
def create_entry(*, fields: Mapping[str, Any], lines: Sequence[Line], actor: User, post: bool) -> JournalEntry:
    """Create a draft entry, and post it if `post` is set. `fields` are those of the model but lines, amount and status.

    Raises InvalidEntryError.
    """
    _check(fields["entry_date"], lines)
    entry = JournalEntry.objects.create(**fields, **_line_fields(lines), created_by=actor)
    return _post(entry) if post else entry


@transaction.atomic
def update_entry(*, entry_id: int, fields: Mapping[str, Any], lines: Sequence[Line] | None, post: bool) -> JournalEntry:
    """Change a draft, and post it if `post` is set. `lines` None leaves the lines unchanged.

    Raises JournalEntry.DoesNotExist, EntryAlreadyBookedError, InvalidEntryError.
    """
    entry = JournalEntry.objects.select_for_update(of=("self",)).get(pk=entry_id)
    if entry.status != JournalEntry.Status.DRAFT:
        raise EntryAlreadyBookedError
    for name, value in {**fields, **(_line_fields(lines) if lines is not None else {})}.items():
        setattr(entry, name, value)
    _check(entry.entry_date, lines_of(entry))
    entry.save()
    return _post(entry) if post else entry


@transaction.atomic
def delete_or_reverse_entry(*, entry_id: int, actor: User) -> JournalEntry | None:
    """Delete a draft (returns None), or reverse a posted entry under today's date. A second reversal does nothing.

    Raises JournalEntry.DoesNotExist.
    """
    entry = JournalEntry.objects.select_for_update(of=("self",)).get(pk=entry_id)
    if entry.status == JournalEntry.Status.DRAFT:
        entry.delete()
        return None
    if entry.status == JournalEntry.Status.POSTED:
        now = timezone.now()
        pairs = [TransferPair(pair.credit, pair.debit, pair.amount) for pair in pair_lines(lines_of(entry))]
        _post_transfers(entry, pairs, kind=REVERSED_KIND, day=max(now.date(), entry.entry_date))
        entry.status, entry.reversed_at, entry.reversed_by = JournalEntry.Status.REVERSED, now, actor
        entry.save(update_fields=["status", "reversed_at", "reversed_by"])
    return entry


def lines_of(entry: JournalEntry) -> list[Line]:
    """Return the lines as they were entered."""
    return [
        Line(line["account_code"], Decimal(line["debit"]), Decimal(line["credit"]), line["description"])
        for line in entry.lines
    ]


def _line_fields(lines: Sequence[Line]) -> dict[str, Any]:
    return {
        "amount": sum((line.debit for line in lines), ZERO),
        "lines": [
            {
                "account_code": line.account,
                "debit": str(line.debit),
                "credit": str(line.credit),
                "description": line.description,
            }
            for line in lines
        ],
    }


def _check(day: date, lines: Sequence[Line]) -> None:
    today = timezone.now().date()
    if not _EARLIEST <= day <= today + _MAX_FUTURE:
        raise InvalidEntryError(f"The date must lie between {_EARLIEST} and {today + _MAX_FUTURE}.")
    pair_lines(lines)
    accounts = {line.account for line in lines}
    if forbidden := accounts & set(CUSTOMER_ACCOUNTS):
        raise InvalidEntryError(
            f"Account {min(forbidden)} belongs to customers and their securities: it has no journal entries."
        )
    known = set(LedgerAccount.objects.filter(number__in=accounts).values_list("number", flat=True))
    if unknown := accounts - known:
        raise InvalidEntryError(f"There is no account {min(unknown)}.")


def _post(entry: JournalEntry) -> JournalEntry:
    _post_transfers(entry, pair_lines(lines_of(entry)), kind=POSTED_KIND, day=entry.entry_date)
    entry.status, entry.posted_at = JournalEntry.Status.POSTED, timezone.now()
    entry.save(update_fields=["status", "posted_at"])
    return entry


def _post_transfers(entry: JournalEntry, pairs: Sequence[TransferPair], *, kind: str, day: date) -> None:
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    LedgerTransfer.objects.bulk_create(
        LedgerTransfer(
            user_id=0,
            date=at,
            kind=kind,
            debit_account=pair.debit,
            credit_account=pair.credit,
            amount=pair.amount,
            reference=entry.number,
        )
        for pair in pairs
    )
