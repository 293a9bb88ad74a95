"""The rows of a statement on their way to the database: prepared in batches by a thread, each row with its identity.

A purchase is identified within its account by day, amount, description and occurrence. The bank's own id is only a
second look: it may change with every download, repeat, or be missing.
"""

import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b

from kamioi_site.imports.rows import RowError
from transactions.models import StatementImport
from transactions.rules.merchant_key import normalise
from transactions.services.bank_accounts import find_or_add_account
from transactions.services.statement_corrections import reference_digest
from transactions.statements.accounts import account_of_text
from transactions.statements.reader import Statement
from transactions.statements.values import StatementRow

BATCH_ROWS = 20_000
# Batches that may wait between the reader and the database: enough to keep both busy.
_READ_AHEAD = 2
# Seconds between switches of Python's threads while a statement is read. With the default of 5 ms, the thread that
# feeds PostgreSQL waits that long for the reader after each of its calls: a tenth of the whole import.
_SWITCH_SECONDS = 0.0005
_MAX_ACCOUNTS = 100  # of a file: more are no accounts
_COPY_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(slots=True)
class Batch:
    """Rows ready for COPY, the rejected rows, and corrections of earlier rows; `items` counts all.

    `accounts` numbers the accounts that rows name, from 1, as the column `account` of the rows does.
    """

    lines: list[str] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)
    corrections: list[StatementRow] = field(default_factory=list)
    accounts: dict[str, int] = field(default_factory=dict)
    items: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """What the rows of one import have in common: how they are identified, and what they are compared with."""

    statement: Statement
    imported: StatementImport
    # Whether the customer has rows of other imports or of the API, or soon will.
    has_history: bool
    # The imports of files with the same layout.
    same_layout: list[int]
    # Account as rows name it → its id.
    account_ids: dict[str, int | None] = field(default_factory=dict)

    @property
    def copy_line(self) -> Callable[[StatementRow, dict[str, int]], str]:
        """Return the function that writes a row for COPY; see `_copy_line`."""
        return partial(_copy_line, has_ids=self.statement.has_unique_references, has_history=self.has_history)

    def account_id(self, text: str) -> int | None:
        """Return the id of the account that a row names, added if it is new."""
        if self.imported.is_account_chosen:
            return self.imported.bank_account_id
        if text not in self.account_ids and len(self.account_ids) < _MAX_ACCOUNTS:
            hint = self.statement.accounts.get(text) or account_of_text(text)
            account = find_or_add_account(user=self.imported.user, hint=hint)
            self.account_ids[text] = account.pk if account else None
        return self.account_ids.get(text)


def read_ahead(items: Iterable[StatementRow | RowError], source: Source) -> Iterator[Batch]:
    """Yield batches that a thread prepares while the caller stores the previous one. Re-raises errors of the thread."""
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(_READ_AHEAD)
    stop = threading.Event()

    def offer(value: Batch | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                ready.put(value, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            for batch in _batches(items, source):
                if not offer(batch):
                    return
            offer(None)
        except BaseException as error:  # noqa: BLE001, RUF100  # raised in the caller, whatever it is
            offer(error)

    reader = threading.Thread(target=read, name="statement-reader", daemon=True)
    default_switch_interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    reader.start()
    try:
        while (value := ready.get()) is not None:
            if isinstance(value, BaseException):
                raise value
            yield value
    finally:
        stop.set()
        reader.join()
        sys.setswitchinterval(default_switch_interval)


def _batches(items: Iterable[StatementRow | RowError], source: Source) -> Iterator[Batch]:
    batch, copy_line = Batch(), source.copy_line
    for item in items:
        batch.items += 1
        if isinstance(item, RowError):
            batch.errors.append(item)
        elif item.correction is None:
            batch.lines.append(copy_line(item, batch.accounts))
        else:
            batch.corrections.append(item)
        if batch.items >= BATCH_ROWS:
            yield batch
            batch = Batch()
    if batch.items:
        yield batch


def _copy_line(row: StatementRow, accounts: dict[str, int], *, has_ids: bool, has_history: bool) -> str:
    """Return the row in the text format of COPY, with the fingerprint that identifies the purchase in its account.

    Args:
        accounts: numbers the accounts that rows name; a new one is added.
        has_ids: the references identify rows.
        has_history: earlier rows may be identified by their reference too.
    """
    date = row.date.isoformat()
    text = f"{row.merchant}\t{row.category}\t{row.description}"
    if "\\" in text or "\n" in text or "\r" in text or text.count("\t") != 2:
        merchant, category, description = (
            part.translate(_COPY_ESCAPES) for part in (row.merchant, row.category, row.description)
        )
    else:
        merchant, category, description = row.merchant, row.category, row.description
    # The day comes first: a statement is ordered by day, so its rows are neighbours in the indexes too.
    day = f"{row.date.toordinal():08x}"
    content, tail = f"{date}\x1f{row.amount}\x1f{row.merchant}\x1f{row.description}\x1f", ""
    account, legacy, reference = 0, "\\N", "\\N"
    if row.account:
        tail = f"\x1f{row.account}"
        account = accounts.setdefault(row.account, len(accounts) + 1)
    if row.reference:
        if has_history:
            legacy = f"{day}{_digest(content + row.reference + tail)}"
        if has_ids:
            reference = str(reference_digest(row.account, row.reference))
    return (
        f"{row.row_number}\t{day}{_digest(content + tail)}\t{legacy}\t{date}\t{merchant}\t{normalise(row.merchant)}\t"
        f"{row.amount}\t{category}\t{description}\t{row.row_class}\t{account}\t{reference}\n"
    )


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=12).hexdigest()
