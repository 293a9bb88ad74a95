"""The company's journal: entries written by staff and transfers booked by the system, in one list."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from transactions.models import JournalDraft, JournalEntry, LedgerTransfer
from transactions.models.journal import POSTED_KIND, REVERSED_KIND


@dataclass(frozen=True, slots=True)
class JournalRow:
    """A draft or an entry written by staff, or a transfer booked by the system."""

    number: str
    entry_date: Any
    created_at: datetime
    entry: JournalDraft | JournalEntry | None = None
    transfer: LedgerTransfer | None = None


# Company transfers are few and adjacent in the unique index (user_id first); drafts and entries have an index by date.
_JOURNAL = """
    SELECT day, rank, id FROM (
        (SELECT entry_date AS day, 1 AS rank, id FROM journal_drafts
         WHERE (entry_date, 1, id) < (%(day)s::date, %(rank)s, %(id)s)
         ORDER BY entry_date DESC, id DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT entry_date, 1, id FROM journal_entries
         WHERE (entry_date, 1, id) < (%(day)s::date, %(rank)s, %(id)s)
         ORDER BY entry_date DESC, id DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT (date AT TIME ZONE 'UTC')::date, 0, id FROM ledger_transfers
         WHERE user_id = 0 AND kind <> ALL (%(written)s) AND date < (%(day)s::date + 1)::timestamp AT TIME ZONE 'UTC'
           AND ((date AT TIME ZONE 'UTC')::date, 0, id) < (%(day)s::date, %(rank)s, %(id)s)
         ORDER BY date DESC, id DESC LIMIT %(limit)s)
    ) AS journal
    ORDER BY day DESC, rank DESC, id DESC LIMIT %(limit)s
"""


def journal_page(*, after: Sequence[Any] | None, limit: int) -> list[tuple[Any, int, int, JournalRow]]:
    """Return the journal, latest day first, starting after the key (day, rank, id); each row with its own key."""
    day, rank, last = after or ("9999-12-31", 2, 0)
    with connection.cursor() as cursor:
        cursor.execute(
            _JOURNAL, {"day": day, "rank": rank, "id": last, "limit": limit, "written": [POSTED_KIND, REVERSED_KIND]}
        )
        keys = cursor.fetchall()
    entries = _entries([row[2] for row in keys if row[1] == 1])
    transfers = LedgerTransfer.objects.filter(user_id=0).in_bulk([row[2] for row in keys if row[1] == 0])
    return [
        (day, rank, pk, _journal_row(entries[pk]) if rank else _transfer_row(transfers[pk]))
        for day, rank, pk in keys
        if pk in (entries if rank else transfers)
    ]


def journal_entry(number: str) -> JournalRow | None:
    """Return the row of this number: `JE-<id>` is an entry of staff, `LT-<id>` a transfer of the company."""
    kind, _, digits = number.partition("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        return None
    if kind == "JE":
        entry = _entries([int(digits)]).get(int(digits))
        return _journal_row(entry) if entry else None
    if kind == "LT":
        transfer = LedgerTransfer.objects.filter(pk=int(digits), user_id=0).first()
        return _transfer_row(transfer) if transfer else None
    return None


def _entries(ids: Sequence[int]) -> dict[int, JournalDraft | JournalEntry]:
    """Return drafts and posted entries. Drafts are read first, so that one that is posted meanwhile is not missed."""
    drafts = JournalDraft.objects.select_related("created_by").in_bulk(ids)
    entries = JournalEntry.objects.select_related("created_by", "reversal").in_bulk(ids)
    return {**drafts, **entries}


def _journal_row(entry: JournalDraft | JournalEntry) -> JournalRow:
    return JournalRow(entry.number, entry.entry_date, entry.created_at, entry=entry)


def _transfer_row(transfer: LedgerTransfer) -> JournalRow:
    return JournalRow(f"LT-{transfer.pk}", transfer.date.date(), transfer.created_at, transfer=transfer)
