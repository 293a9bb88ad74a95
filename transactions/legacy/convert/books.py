"""Holdings, notifications, settings, the chart of accounts and journal entries, row by row."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any, Final

from django.db import connection

from transactions.legacy.convert import values
from transactions.legacy.convert.row_converters import (
    CustomerRowConverter,
    Row,
    RowConverter,
    RowRejectedError,
    ensure_ledger_months,
    insert_sql,
)
from transactions.legacy.source.sqlite_file import quoted
from transactions.sql import load_sql

_OPEN_HOLDINGS: Final = load_sql("legacy_open_holdings")
_INSERT_NOTIFICATIONS: Final = insert_sql(
    "notifications",
    "id bigint, user_id bigint, title text, message text, type text, read boolean, created_at timestamptz",
)
_SET_SETTINGS: Final = (
    insert_sql("admin_settings", "key text, value text, type text, description text, updated_at timestamptz")
    + " ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at"
)
_INSERT_ACCOUNTS: Final = insert_sql("ledger_accounts", "number text, name text, type text") + " ON CONFLICT DO NOTHING"
_INSERT_JOURNAL: Final = insert_sql(
    "ledger_transfers",
    "user_id bigint, date timestamptz, kind text, debit_account text, credit_account text, amount numeric, "
    "reference text",
)
_MAX_AMOUNT: Final = Decimal(10**12)


class PortfolioConverter(CustomerRowConverter):
    """Holdings: each row is an opening balance in the ledger (`portfolio <id>`); a holding is the sum of its rows."""

    becomes = "opening balances in ledger_transfers, and holdings"
    placed = ("user_id", "ticker", "shares", "average_price", "created_at")
    undo_sql = (load_sql("legacy_undo_holdings"), "DELETE FROM holdings WHERE shares = 0 AND cost_basis = 0")

    def convert_row(self, legacy_id: str, row: Row) -> None:
        owner = self.owner(row)
        try:
            shares, cost = holding_of(row)
        except (values.UnreadableError, InvalidOperation) as error:
            raise RowRejectedError("not a holding") from error
        ticker = values.ticker(row.get("ticker"))
        if ticker is None or not 0 < shares < _MAX_AMOUNT or not 0 < cost < _MAX_AMOUNT:
            raise RowRejectedError("not a holding")
        at = self.timestamp(row, "created_at", "updated_at") or self.now
        self.add(
            _OPEN_HOLDINGS,
            user_id=owner,
            date=at.isoformat(),
            amount=str(cost),
            ticker=ticker,
            shares=str(shares),
            reference=f"portfolio {legacy_id}",
        )

    def finish(self) -> None:
        ensure_ledger_months(self.out, _OPEN_HOLDINGS)


def holding_of(row: Row) -> tuple[Decimal, Decimal]:
    """Return (shares, cost) of a portfolio row; raises UnreadableError."""
    shares = Decimal(repr(values.number(row.get("shares")) or 0.0)).quantize(Decimal("1e-8"), ROUND_HALF_EVEN)
    price = Decimal(repr(values.number(row.get("average_price")) or 0.0))
    return shares, (shares * price).quantize(Decimal("0.01"), ROUND_HALF_EVEN)


class NotificationConverter(CustomerRowConverter):
    """Notifications, with their legacy ids."""

    becomes = "notifications"
    placed = ("user_id", "title", "message", "type", "read", "created_at")
    undo_sql = ("DELETE FROM notifications WHERE id = ANY (%(ids)s::bigint[])",)

    def convert_row(self, legacy_id: str, row: Row) -> None:
        self.add(
            _INSERT_NOTIFICATIONS,
            id=int(legacy_id),
            user_id=self.owner(row),
            title=self.text(row, "title", 120),
            message=self.text(row, "message", 100_000),
            type=self.text(row, "type", 30, "info"),
            read=self.flag(row.get("read"), default=False),
            created_at=(self.timestamp(row, "created_at") or self.now).isoformat(),
        )


class SettingConverter(RowConverter):
    """Settings under their legacy names; one that Kamioi cannot use, or that is a secret, is only kept."""

    becomes = "admin_settings, and legacy_rows"
    _TYPES: Final = {"platform_fee": "decimal", "confidence_threshold": "decimal", "auto_approval_enabled": "boolean"}

    def convert_row(self, legacy_id: str, row: Row) -> None:
        key = self.text(row, "setting_key", 100).strip()
        value = _setting_value(key, self.text(row, "setting_value", 100_000).strip())
        if value is None:
            self.repaired("setting")
        elif key and not values.is_secret(key):
            self.add(
                _SET_SETTINGS,
                key=key,
                value=value,
                type=self._TYPES.get(key, "string"),
                description=self.text(row, "description", 10_000),
                updated_at=self.now.isoformat(),
            )

    def cells_to_keep(self, row: Row) -> dict[str, Any]:
        kept = super().cells_to_keep(row)
        if values.is_secret(values.stripped(row.get("setting_key"))):
            kept["setting_value"] = values.HIDDEN
        return kept


def _setting_value(key: str, value: str) -> str | None:
    """Return the value as Kamioi stores it; None when it is invalid."""
    if key == "auto_approval_enabled":
        try:
            return "true" if values.boolean(value) == 1 else "false"
        except values.UnreadableError:
            return None
    if key not in ("platform_fee", "confidence_threshold"):
        return value
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return value if number.is_finite() and 0 <= number <= (1 if key == "confidence_threshold" else 100) else None


class ChartConverter(RowConverter):
    """Accounts that Kamioi's chart does not have."""

    becomes = "ledger_accounts"
    placed = ("account_number", "account_name", "account_type")
    _TYPES: Final = {"income": "revenue", "cost": "expense", "cost of goods sold": "expense"}

    def convert_row(self, legacy_id: str, row: Row) -> None:
        number = _account_number(self, row.get("account_number"))
        account_type = self.text(row, "account_type", 40).strip().lower()
        account_type = self._TYPES.get(account_type, account_type)
        valid_types = ("asset", "liability", "equity", "revenue", "expense")
        if not number or len(number) > 10 or account_type not in valid_types:
            raise RowRejectedError("unreadable: not a ledger account")
        self.add(_INSERT_ACCOUNTS, number=number, name=self.text(row, "account_name", 100, number), type=account_type)


class JournalConverter(RowConverter):
    """Posted entries as transfers of kind 'journal' with the entry's id as reference; the entry itself is kept.

    The lines are paired largest first: n lines make at most n - 1 transfers with the same totals per account. Drafts
    are kept and not posted.
    """

    becomes = "ledger_transfers of kind journal, and legacy_rows"
    undo_sql = ("DELETE FROM ledger_transfers WHERE kind = 'journal' AND reference = ANY (%(ids)s)",)
    _chart: frozenset[str]
    _lines: Mapping[str, list[tuple[str, int, int]]]

    def prepare(self, rows: Sequence[tuple[str, Row]]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT number FROM ledger_accounts")
            self._chart = frozenset(number for (number,) in cursor.fetchall())
        self._lines = self._lines_of([legacy_id for legacy_id, _ in rows])

    def convert_row(self, legacy_id: str, row: Row) -> None:
        at = self.timestamp(row, "date", "entry_date", "created_at")
        if self.text(row, "status", 40).strip().lower() not in ("posted", ""):
            return
        lines = self._lines.get(legacy_id, [])
        net = self._net_by_account(row, lines)
        if at is None:
            raise RowRejectedError("no readable date")
        if net is None or sum(net.values()) != 0 or not set(net) <= self._chart:
            raise RowRejectedError("unbalanced", lines=json.dumps(lines))
        for debit, credit, cents in _pair(net):
            self.add(
                _INSERT_JOURNAL,
                user_id=0,
                date=at.isoformat(),
                kind="journal",
                debit_account=debit,
                credit_account=credit,
                amount=str(Decimal(cents).scaleb(-2)),
                reference=legacy_id,
            )

    def finish(self) -> None:
        ensure_ledger_months(self.out, _INSERT_JOURNAL)

    def _lines_of(self, ids: Sequence[str]) -> dict[str, list[tuple[str, int, int]]]:
        """Return (account, debit, credit in cents) by entry."""
        table = self.snapshot.tables.get("journal_entry_lines")
        columns = table.columns if table else ()
        account = next((name for name in ("account_code", "account_number") if name in columns), None)
        if account is None or "journal_entry_id" not in columns:
            return {}
        lines: dict[str, list[tuple[str, int, int]]] = {}
        for entry, code, debit, credit in self.snapshot.rows(
            f"SELECT journal_entry_id, {quoted(account)}, debit, credit FROM json_each(?) AS ids "
            "JOIN journal_entry_lines ON CAST(journal_entry_id AS TEXT) = ids.value ORDER BY journal_entry_lines.rowid",
            [json.dumps(list(ids))],
        ):
            try:
                cents = values.cents(debit) or 0, values.cents(credit) or 0
            except values.UnreadableError:
                cents = -1, 0  # the entry cannot balance
            lines.setdefault(values.text(entry)[0] or "", []).append(((values.text(code)[0] or ""), *cents))
        return lines

    def _net_by_account(self, row: Row, lines: list[tuple[str, int, int]]) -> Counter[str] | None:
        """Return debit minus credit in cents by account; None when an amount is invalid."""
        if not lines:
            try:
                cents = self.cents(row.get("amount"))
            except values.UnreadableError:
                return None
            to_account, from_account = (values.text(row.get(name))[0] or "" for name in ("to_account", "from_account"))
            lines = [(to_account, cents, 0), (from_account, 0, cents)]
        net: Counter[str] = Counter()
        for code, debit, credit in lines:
            if debit < 0 or credit < 0:
                return None
            net[_account_number(self, code)] += debit - credit
        return net


def _pair(net: Mapping[str, int]) -> list[tuple[str, str, int]]:
    """Return (debit account, credit account, cents) of transfers with these net amounts."""
    debits = sorted(((cents, code) for code, cents in net.items() if cents > 0), reverse=True)
    credits = sorted(((-cents, code) for code, cents in net.items() if cents < 0), reverse=True)
    transfers = []
    while debits:
        (debit, debit_account), (credit, credit_account) = debits.pop(), credits.pop()
        cents = min(debit, credit)
        transfers.append((debit_account, credit_account, cents))
        if debit > cents:
            debits.append((debit - cents, debit_account))
        if credit > cents:
            credits.append((credit - cents, credit_account))
    return transfers


def _account_number(converter: RowConverter, value: Any) -> str:
    text = values.text(value)[0] or ""
    if text != text.strip():
        converter.repaired("padded account")
    return text.strip()
