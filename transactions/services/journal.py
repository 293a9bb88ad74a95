"""Journal entries of the company's own books: entered as lines, posted as balanced transfers.

A row of the ledger is a balanced transfer, so the lines of an entry are paired: each debit with credits until it is
used up. A posted entry never changes; it is reversed by the same transfers with debit and credit exchanged. Rules:

* Only purchases post to the accounts of customers' money and securities: a journal entry there would make holdings and
  ledger disagree.
* Above the limit `journal_four_eyes_limit`, a draft is posted by a person who neither created nor last changed it, and
  an entry is reversed by a person who did not post it.
* No entry and no reversal takes more from the bank than it has. Two at once wait for each other; a collection or a
  settlement that commits meanwhile is not seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from django.db import connection, transaction
from django.utils import timezone

from transactions.errors import (
    BankOverdrawnError,
    EntryAlreadyBookedError,
    InvalidEntryError,
    SecondPersonRequiredError,
)
from transactions.live_settings import JOURNAL_FOUR_EYES_LIMIT
from transactions.models import (
    Account,
    JournalDraft,
    JournalEntry,
    JournalReversal,
    LedgerAccount,
    LedgerTransfer,
    User,
)
from transactions.models.journal import POSTED_KIND, REVERSED_KIND
from transactions.models.ledger import CUSTOMER_ACCOUNTS
from transactions.rules.money import ZERO
from transactions.services.periods import posting_on
from transactions.sql import load_sql

_EARLIEST: Final = date(2000, 1, 1)
# The mark of `ledger_days`. While it is locked, other entries and the next count wait.
_LOCK_MARK: Final = """
    INSERT INTO ledger_marks (id, counted_to, drawn_to, drawn_before) VALUES (1, 0, 0, 0)
    ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING counted_to
"""


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
def create_entry(
    *, fields: Mapping[str, Any], lines: Sequence[Line], actor: User, post: bool
) -> JournalDraft | JournalEntry:
    """Create a draft, and post it if `post` is set. Above the limit it stays a draft for another person to post.

    `fields` are those of the model but lines and amount. Raises InvalidEntryError, BankOverdrawnError.
    """
    _check(fields["entry_date"], lines)
    draft = JournalDraft.objects.create(**fields, **_line_fields(lines), created_by=actor)
    return _post(draft, actor) if post and not _is_above_limit(draft) else draft


@transaction.atomic
def update_entry(
    *, entry_id: int, fields: Mapping[str, Any], lines: Sequence[Line] | None, actor: User, post: bool
) -> JournalDraft | JournalEntry:
    """Change a draft, and post it if `post` is set. `lines` None leaves the lines unchanged.

    Raises JournalEntry.DoesNotExist, EntryAlreadyBookedError, InvalidEntryError, SecondPersonRequiredError,
    BankOverdrawnError; then the draft stays as it was.
    """
    draft = _lock_draft(entry_id)
    if draft is None:
        JournalEntry.objects.get(pk=entry_id)
        raise EntryAlreadyBookedError
    changes = {name: value for name, value in fields.items() if getattr(draft, name) != value}
    if lines is not None and list(lines) != lines_of(draft):
        changes |= _line_fields(lines)
    if changes:
        for name, value in changes.items():
            setattr(draft, name, value)
        draft.changed_by = actor
        draft.save()
    _check(draft.entry_date, lines_of(draft))
    if not post:
        return draft
    if _is_above_limit(draft) and actor.pk in {draft.created_by_id, draft.changed_by_id}:
        raise SecondPersonRequiredError
    return _post(draft, actor)


@transaction.atomic
def delete_or_reverse_entry(*, entry_id: int, actor: User) -> JournalEntry | None:
    """Delete a draft (returns None), or reverse a posted entry under today's date. A second reversal does nothing.

    Raises JournalEntry.DoesNotExist, SecondPersonRequiredError, BankOverdrawnError.
    """
    draft = _lock_draft(entry_id)
    if draft is not None:
        draft.delete()
        return None
    entry = JournalEntry.objects.select_related("created_by").get(pk=entry_id)
    _, is_first = JournalReversal.objects.get_or_create(entry=entry, defaults={"reversed_by": actor})
    if is_first:
        if _is_above_limit(entry) and actor.pk == (entry.posted_by_id or entry.created_by_id):
            raise SecondPersonRequiredError(
                "An entry above the limit (setting journal_four_eyes_limit) is reversed by someone who did not post it."
            )
        pairs = [TransferPair(pair.credit, pair.debit, pair.amount) for pair in pair_lines(lines_of(entry))]
        _post_transfers(entry, pairs, kind=REVERSED_KIND, day=timezone.now().date())
    return entry


def lines_of(entry: JournalDraft | JournalEntry) -> list[Line]:
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
    if not _EARLIEST <= day <= today:
        raise InvalidEntryError(f"The date must lie between {_EARLIEST} and today, {today} (UTC).")
    pair_lines(lines)
    accounts = {line.account for line in lines}
    if forbidden := accounts & set(CUSTOMER_ACCOUNTS):
        raise InvalidEntryError(
            f"Account {min(forbidden)} belongs to customers and their securities: it has no journal entries."
        )
    known = set(LedgerAccount.objects.filter(number__in=accounts).values_list("number", flat=True))
    if unknown := accounts - known:
        raise InvalidEntryError(f"There is no account {min(unknown)}.")


def _lock_draft(entry_id: int) -> JournalDraft | None:
    return JournalDraft.objects.select_for_update(of=("self",)).filter(pk=entry_id).first()


def _is_above_limit(entry: JournalDraft | JournalEntry) -> bool:
    limit = JOURNAL_FOUR_EYES_LIMIT.get()
    return bool(limit) and entry.amount > limit


def _post(draft: JournalDraft, actor: User) -> JournalEntry:
    values = {field.attname: getattr(draft, field.attname) for field in JournalDraft._meta.concrete_fields}
    entry = JournalEntry.objects.create(**values, posted_by=actor)
    draft.delete()
    _post_transfers(entry, pair_lines(lines_of(entry)), kind=POSTED_KIND, day=entry.entry_date)
    return entry


def _post_transfers(entry: JournalEntry, pairs: Sequence[TransferPair], *, kind: str, day: date) -> None:
    if taken := sum((pair.amount for pair in pairs if pair.credit == Account.BANK), ZERO):
        balance = _lock_bank_balance()
        if balance < taken:
            raise BankOverdrawnError(balance=balance, taken=taken)
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    with posting_on(day):
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


def _lock_bank_balance() -> Decimal:
    """Return the bank's balance; other entries that take from the bank wait until this transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_MARK)
        (counted_to,) = cursor.fetchone()
        cursor.execute(load_sql("bank_balance"), {"counted_to": counted_to})
        balance: Decimal = cursor.fetchone()[0]
    return balance
