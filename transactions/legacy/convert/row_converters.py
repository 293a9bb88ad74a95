"""Tables that are carried over row by row: people, holdings, notifications, settings, the books, assets — and all others.

Each `RowTable` turns rows of one legacy table into the parameters of set-based statements; the `Loader` runs them in the
transaction that notes the progress. A table without a reader of its own goes to `legacy_rows`, row for row, as JSON.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any, Final

from django.db import connection

from kamioi_site.db.partitions import ensure_partitions
from transactions.legacy.convert import rules
from transactions.legacy.convert.bulk_converters import Ids
from transactions.legacy.convert.passwords import encode_legacy
from transactions.legacy.load.bulk_loader import KeptRow, RejectedRow
from transactions.legacy.source.snapshot import LegacyTable, Snapshot, quoted
from transactions.models import LedgerTransfer

Row = Mapping[str, Any]
_HASHING_THREADS: Final = 2


@dataclass(slots=True)
class ConversionResult:
    """What becomes of a range of rows."""

    statements: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    rejected: list[RejectedRow] = field(default_factory=list)
    kept: list[KeptRow] = field(default_factory=list)
    repairs: Counter[str] = field(default_factory=Counter)
    loaded: int = 0


@dataclass(slots=True)
class RowConverter:
    """How rows of one legacy table are read. The base class keeps every row whole."""

    snapshot: Snapshot
    table: LegacyTable
    now: datetime

    def convert(self, rows: Sequence[tuple[str, Row]]) -> ConversionResult:
        """What becomes of these (legacy id, row)."""
        out = ConversionResult()
        for legacy_id, row in rows:
            out.kept.append(KeptRow(self.table.name, legacy_id, "row", rules.row_as_json(row)))
            out.loaded += 1
        return out

    def reject(self, out: ConversionResult, legacy_id: str, row: Row, reason: str) -> None:
        """Put the row aside, whole."""
        out.rejected.append(RejectedRow(self.table.name, legacy_id, reason, rules.row_as_json(row)))

    def keep_rest(self, out: ConversionResult, legacy_id: str, row: Row, home: Iterable[str]) -> None:
        """Keep what stands in columns that the new table has no place for."""
        placed = {*home, *self.table.key}
        rest = {name: value for name, value in row.items() if name not in placed and value not in (None, b"", "")}
        if rest:
            out.kept.append(KeptRow(self.table.name, legacy_id, "rest", rules.row_as_json(rest)))


def _text(out: ConversionResult, row: Row, name: str, width: int, default: str = "") -> str:
    said, kinds = rules.text(row.get(name))
    out.repairs.update(kinds)
    said = said or default
    if len(said) > width:
        out.repairs["too long"] += 1
    return said[:width]


def _moment(out: ConversionResult, row: Row, names: Sequence[str], now: datetime) -> datetime | None:
    """The first of the columns with a date that a row may carry."""
    for position, name in enumerate(names):
        value = row.get(name)
        try:
            at = rules.moment(value)
        except rules.UnreadableError:
            at = None
        if at is not None and rules.in_range(at, now):
            if position:
                out.repairs["time missing"] += 1
            said = rules.text(value)[0] or ""
            if not (len(said) == 19 and said[10] == " "):
                out.repairs["timestamp"] += 1
            return at
    return None


def _money(out: ConversionResult, value: Any) -> int | None:
    cents = rules.cents(value)
    if isinstance(value, bytes | str) and cents is not None:
        out.repairs["money"] += 1
    return cents


def _dollars(cents: int) -> str:
    return str(Decimal(cents).scaleb(-2))


# --- people ---------------------------------------------------------------------------------------------------------

_ADD_USERS: Final = """
INSERT INTO users (id, email, name, account_type, account_number, user_guid, city, state, zip_code, phone,
                   round_up_enabled, round_up_rule, round_up_amount, is_staff, is_superuser, is_active, password,
                   created_at, updated_at)
SELECT id, email, name, account_type, account_number, user_guid, city, state, zip_code, phone, round_up_enabled, 'flat',
       round_up_amount, is_staff, is_superuser, is_active, password, created_at, updated_at
FROM jsonb_to_recordset(($1::text)::jsonb) AS item (
    id bigint, email text, name text, account_type text, account_number text, user_guid text, city text, state text,
    zip_code text, phone text, round_up_enabled boolean, round_up_amount integer, is_staff boolean,
    is_superuser boolean, is_active boolean, password text, created_at timestamptz, updated_at timestamptz)
"""
_ADD_IDS: Final = """
INSERT INTO legacy_ids (source_table, legacy_id, user_id, was_here)
SELECT source_table, legacy_id, user_id, was_here
FROM jsonb_to_recordset(($1::text)::jsonb) AS item (source_table text, legacy_id bigint, user_id bigint, was_here boolean)
ON CONFLICT (source_table, legacy_id) DO NOTHING
"""
_CHANGE_USERS: Final = """
UPDATE users SET email = item.email, name = item.name, account_type = item.account_type,
    account_number = item.account_number, user_guid = item.user_guid, city = item.city, state = item.state,
    zip_code = item.zip_code, phone = item.phone, round_up_enabled = item.round_up_enabled,
    round_up_amount = item.round_up_amount, is_staff = item.is_staff, is_superuser = item.is_superuser,
    is_active = item.is_active, password = item.password, updated_at = item.updated_at
FROM jsonb_to_recordset(($1::text)::jsonb) AS item (
    id bigint, email text, name text, account_type text, account_number text, user_guid text, city text, state text,
    zip_code text, phone text, round_up_enabled boolean, round_up_amount integer, is_staff boolean,
    is_superuser boolean, is_active boolean, password text, updated_at timestamptz)
WHERE users.id = item.id
"""
_MAKE_STAFF: Final = """
UPDATE users SET is_staff = true, is_superuser = users.is_superuser OR item.is_superuser
FROM jsonb_to_recordset(($1::text)::jsonb) AS item (id bigint, is_superuser boolean) WHERE users.id = item.id
"""
USER_HOME: Final = (
    "id",
    "email",
    "name",
    "account_type",
    "account_number",
    "user_guid",
    "password",
    "city",
    "state",
    "zip_code",
    "phone",
    "created_at",
    "updated_at",
    "round_up_amount",
    *rules.PERSONAL,
)


class Accounts:
    """Who has which e-mail, number and account number in Kamioi, while people are added."""

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT lower(email), id, account_number FROM users")
            found = cursor.fetchall()
            cursor.execute("SELECT source_table, legacy_id, user_id, was_here FROM legacy_ids")
            known = cursor.fetchall()
        self._carried = {row[2] for row in known if row[0] == "users"}
        self.carried: dict[tuple[str, int], int] = {(row[0], row[1]): row[2] for row in known if not row[3]}
        self.settled: set[tuple[str, int]] = {(row[0], row[1]) for row in known if row[3]}
        """Legacy people who are an account that was here before: nothing of theirs is changed."""
        self.by_email: dict[str, int] = {row[0]: row[1] for row in found}
        self.ids: set[int] = {row[1] for row in found}
        self.numbers: dict[str, int] = {row[2]: row[1] for row in found if row[2]}
        self.fresh: list[int] = []

    def is_kamiois(self, user_id: int) -> bool:
        """Whether the account was here before the migration."""
        return user_id not in self._carried

    def new_id(self) -> int:
        """A number that no legacy user has: the sequence starts far beyond them."""
        if not self.fresh:
            with connection.cursor() as cursor:
                cursor.execute("SELECT nextval(pg_get_serial_sequence('users', 'id')) FROM generate_series(1, 100)")
                self.fresh = [row[0] for row in cursor.fetchall()][::-1]
        return self.fresh.pop()

    def add(self, user_id: int, email: str, number: str | None) -> None:
        """Remember an account that is about to be written."""
        self.by_email[email.lower()] = user_id
        self.ids.add(user_id)
        self._carried.add(user_id)
        if number:
            self.numbers[number] = user_id


class Users(RowConverter):
    """Customers. E-mails, numbers and passwords by their rules; what Kamioi has no column for is kept."""

    def __init__(self, snapshot: Snapshot, table: LegacyTable, now: datetime) -> None:
        super().__init__(snapshot, table, now)
        self._accounts = Accounts()
        self._switched_off = _round_up_off(snapshot)
        self._second = _second_emails(snapshot) if "email" in table.columns else set()

    def convert(self, rows: Sequence[tuple[str, Row]]) -> ConversionResult:
        """See the rules of e-mails, numbers and passwords."""
        out = ConversionResult()
        passwords = _encode_passwords([row.get("password") for _, row in rows])
        for (legacy_id, row), (password, kind) in zip(rows, passwords, strict=True):
            email = _text(out, row, "email", 1000).strip()
            if not email or "@" not in email or len(email) > 230:
                # The hash may be kept: it is strong, and the row can then be mended and come again.
                out.rejected.append(
                    RejectedRow(
                        self.table.name, legacy_id, "no e-mail", {**rules.row_as_json(row), "password": password}
                    )
                )
                continue
            if kind:
                out.repairs[kind] += 1
            self._add(out, int(legacy_id), row, email, password)
            self.keep_rest(out, legacy_id, row, USER_HOME)
            out.loaded += 1
        return out

    def _add(self, out: ConversionResult, legacy_id: int, row: Row, email: str, password: str) -> None:
        accounts = self._accounts
        if ("users", legacy_id) in accounts.settled:
            return
        mine = accounts.carried.get(("users", legacy_id))
        owner = accounts.by_email.get(email.lower())
        if mine is None and owner is not None and accounts.is_kamiois(owner):
            out.repairs["known e-mail"] += 1
            _add(out, _ADD_IDS, source_table="users", legacy_id=legacy_id, user_id=owner, was_here=True)
            return
        if (owner is not None and owner != mine) or legacy_id in self._second:
            out.repairs["duplicate e-mail"] += 1
            out.kept.append(KeptRow("users", str(legacy_id), "rest", {"email": email}))
            name, _, domain = email.rpartition("@")
            email = f"{name}+legacy{legacy_id}@{domain}"
        user_id = legacy_id if mine is None else mine
        if mine is None and user_id in accounts.ids:
            out.repairs["user number"] += 1
            user_id = accounts.new_id()
        number: str | None = _text(out, row, "account_number", 20).strip() or None
        if accounts.numbers.get(number or "", user_id) != user_id:
            out.repairs["account number"] += 1
            out.kept.append(KeptRow("users", str(legacy_id), "rest", {"account_number": number}))
            number = None
        kind = _text(out, row, "account_type", 40).strip().lower()
        if kind not in ("individual", "family", "business"):
            out.repairs["account type"] += 1
            kind = "individual"
        created = _moment(out, row, ["created_at"], self.now) or self.now
        _add(
            out,
            _ADD_USERS if mine is None else _CHANGE_USERS,
            id=user_id,
            email=email,
            name=_text(out, row, "name", 150),
            account_type=kind,
            account_number=number,
            user_guid=_text(out, row, "user_guid", 64),
            city=_text(out, row, "city", 100),
            state=_text(out, row, "state", 50),
            zip_code=_text(out, row, "zip_code", 20),
            phone=_text(out, row, "phone", 40),
            round_up_enabled=legacy_id not in self._switched_off,
            round_up_amount=_round_up_amount(out, row.get("round_up_amount")),
            is_staff=False,
            is_superuser=False,
            is_active=True,
            password=password,
            created_at=created.isoformat(),
            updated_at=(_moment(out, row, ["updated_at"], self.now) or created).isoformat(),
        )
        _add(out, _ADD_IDS, source_table="users", legacy_id=legacy_id, user_id=user_id, was_here=False)
        accounts.add(user_id, email, number)


class Admins(RowConverter):
    """Administrators become staff, superadmins superusers; what else their row says is kept."""

    def __init__(self, snapshot: Snapshot, table: LegacyTable, now: datetime) -> None:
        super().__init__(snapshot, table, now)
        self._accounts = Accounts()

    def convert(self, rows: Sequence[tuple[str, Row]]) -> ConversionResult:
        """See the rules of e-mails and passwords."""
        out = ConversionResult()
        passwords = _encode_passwords([row.get("password") for _, row in rows])
        for (legacy_id, row), (password, kind) in zip(rows, passwords, strict=True):
            email = _text(out, row, "email", 254).strip()
            if "@" not in email:
                out.rejected.append(
                    RejectedRow("admins", legacy_id, "no e-mail", {**rules.row_as_json(row), "password": password})
                )
                continue
            top = _text(out, row, "role", 40).strip().lower() == "superadmin"
            active = _flag(out, row.get("is_active"), default=True)
            owner = self._accounts.by_email.get(email.lower())
            mine = self._accounts.carried.get(("admins", int(legacy_id)))
            if owner is not None and owner != mine:
                out.repairs["known e-mail"] += 1
                if active:
                    _add(out, _MAKE_STAFF, id=owner, is_superuser=top)
                _add(out, _ADD_IDS, source_table="admins", legacy_id=int(legacy_id), user_id=owner, was_here=True)
            else:
                if kind:
                    out.repairs[kind] += 1
                owner = mine or self._accounts.new_id()
                created = (_moment(out, row, ["created_at"], self.now) or self.now).isoformat()
                _add(
                    out,
                    _ADD_USERS if mine is None else _CHANGE_USERS,
                    id=owner,
                    email=email,
                    name=_text(out, row, "name", 150),
                    account_type="individual",
                    account_number=None,
                    user_guid="",
                    city="",
                    state="",
                    zip_code="",
                    phone="",
                    round_up_enabled=True,
                    round_up_amount=1,
                    is_staff=True,
                    is_superuser=top,
                    is_active=active,
                    password=password,
                    created_at=created,
                    updated_at=created,
                )
                self._accounts.add(owner, email, None)
                _add(out, _ADD_IDS, source_table="admins", legacy_id=int(legacy_id), user_id=owner, was_here=False)
            self.keep_rest(
                out, legacy_id, row, ("id", "email", "name", "password", "is_active", "created_at", "updated_at")
            )
            out.loaded += 1
        return out


def _encode_passwords(passwords: Sequence[Any]) -> list[tuple[str, str | None]]:
    """Hashing is what costs: on two threads, and scrypt lets go of Python's lock."""
    with ThreadPoolExecutor(_HASHING_THREADS) as pool:
        return list(pool.map(encode_legacy, [rules.text(password)[0] for password in passwords]))


def _round_up_off(snapshot: Snapshot) -> set[int]:
    """Users who switched round-ups off in their settings."""
    table = snapshot.tables.get("user_settings")
    if table is None or not {"user_id", "setting_key", "setting_value"} <= set(table.columns):
        return set()
    off = set()
    for user_id, value in snapshot.rows(
        "SELECT user_id, setting_value FROM user_settings WHERE setting_key = 'round_up_enabled'"
    ):
        try:
            if isinstance(user_id, int) and rules.boolean(value) == 0:
                off.add(user_id)
        except rules.UnreadableError:
            continue
    return off


def _second_emails(snapshot: Snapshot) -> set[int]:
    """Users whose e-mail another user has in lower case, or had first."""
    found = snapshot.rows(
        "SELECT rowid, row_number() OVER (PARTITION BY lower(trim(email)) "
        "ORDER BY trim(email) <> lower(trim(email)), rowid) FROM users "
        "WHERE lower(trim(email)) IN (SELECT lower(trim(email)) FROM users GROUP BY 1 HAVING count(*) > 1)"
    )
    return {rowid for rowid, place in found if place > 1}


def _round_up_amount(out: ConversionResult, value: Any) -> int:
    try:
        found = rules.number(value)
    except rules.UnreadableError:
        found = None
    dollars = 1 if found is None else max(1, min(100, int(Decimal(str(found)).to_integral_value(ROUND_HALF_EVEN))))
    if found != dollars and value is not None:
        out.repairs["round-up amount"] += 1
    return dollars


def _flag(out: ConversionResult, value: Any, *, default: bool) -> bool:
    try:
        found = rules.boolean(value)
    except rules.UnreadableError:
        out.repairs["boolean"] += 1
        return default
    if not isinstance(value, int):
        out.repairs["boolean"] += 1
    return found == 1


def _add(out: ConversionResult, statement: str, **parameters: Any) -> None:
    out.statements.setdefault(statement, []).append(parameters)


# --- holdings, notifications ----------------------------------------------------------------------------------------

_OPEN_HOLDINGS: Final = """
WITH item AS (
    SELECT * FROM jsonb_to_recordset(($1::text)::jsonb)
        AS item (user_id bigint, date timestamptz, amount numeric, ticker text, shares numeric, reference text)
), booked AS (
    INSERT INTO ledger_transfers (user_id, date, kind, debit_account, credit_account, amount, ticker, shares, reference)
    SELECT user_id, date, 'opening', '30900', '22100', amount, ticker, shares, reference FROM item
)
INSERT INTO holdings (user_id, ticker, shares, cost_basis, updated_at)
SELECT user_id, ticker, sum(shares), sum(amount), now() FROM item GROUP BY user_id, ticker
ON CONFLICT (user_id, ticker) DO UPDATE SET
    shares = holdings.shares + excluded.shares, cost_basis = holdings.cost_basis + excluded.cost_basis,
    updated_at = excluded.updated_at
"""
_ADD_NOTIFICATIONS: Final = """
INSERT INTO notifications (id, user_id, title, message, type, read, created_at)
SELECT * FROM jsonb_to_recordset(($1::text)::jsonb)
    AS item (id bigint, user_id bigint, title text, message text, type text, read boolean, created_at timestamptz)
"""


class OwnedRows(RowConverter):
    """Rows of customers: knows who is who."""

    def __init__(self, snapshot: Snapshot, table: LegacyTable, now: datetime, users: Ids) -> None:
        super().__init__(snapshot, table, now)
        self._users = dict(users.pairs())

    def owner(self, row: Row) -> int | None:
        """Our id of the row's user; None when that user was not migrated."""
        try:
            return self._users.get(rules.integer(row.get("user_id")) or 0)
        except rules.UnreadableError:
            return None


class Portfolios(OwnedRows):
    """Holdings: each row is an opening balance in the ledger (`portfolio <id>`), their sums are the holdings."""

    def convert(self, rows: Sequence[tuple[str, Row]]) -> ConversionResult:
        """shares at 8 places, cost = shares × average price to the cent; a row that is no holding is rejected."""
        out = ConversionResult()
        for legacy_id, row in rows:
            owner = self.owner(row)
            if owner is None:
                self.reject(out, legacy_id, row, "user gone")
                continue
            try:
                shares = Decimal(repr(rules.number(row.get("shares")) or 0.0)).quantize(
                    Decimal("1e-8"), ROUND_HALF_EVEN
                )
                price = Decimal(repr(rules.number(row.get("average_price")) or 0.0))
            except (rules.UnreadableError, InvalidOperation):
                self.reject(out, legacy_id, row, "not a holding")
                continue
            cost = (shares * price).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
            ticker = rules.ticker(row.get("ticker"))
            if ticker is None or shares <= 0 or not Decimal(0) < cost < Decimal(10**12) or shares >= 10**12:
                self.reject(out, legacy_id, row, "not a holding")
                continue
            at = _moment(out, row, ["created_at", "updated_at"], self.now) or self.now
            _add(
                out,
                _OPEN_HOLDINGS,
                user_id=owner,
                date=at.isoformat(),
                amount=str(cost),
                ticker=ticker,
                shares=str(shares),
                reference=f"portfolio {legacy_id}",
            )
            self.keep_rest(out, legacy_id, row, ("user_id", "ticker", "shares", "average_price", "created_at"))
            out.loaded += 1
        _ledger_months(out, _OPEN_HOLDINGS)
        return out


class Notifications(OwnedRows):
    """Messages to customers, under their legacy ids."""

    def convert(self, rows: Sequence[tuple[str, Row]]) -> ConversionResult:
        """A message of nobody is rejected."""
        out = ConversionResult()
        for legacy_id, row in rows:
            owner = self.owner(row)
            if owner is None:
                self.reject(out, legacy_id, row, "user gone")
                continue
            read = row.get("read")
            at = _moment(out, row, ["created_at"], self.now) or self.now
            _add(
                out,
                _ADD_NOTIFICATIONS,
                id=int(legacy_id),
                user_id=owner,
                title=_text(out, row, "title", 120),
                message=_text(out, row, "message", 100_000),
                type=_text(out, row, "type", 30, "info"),
                read=_flag(out, read, default=False),
                created_at=at.isoformat(),
            )
            self.keep_rest(out, legacy_id, row, ("user_id", "title", "message", "type", "read", "created_at"))
            out.loaded += 1
        return out


def _ledger_months(out: ConversionResult, statement: str) -> None:
    """Make the months that the statement's transfers fall into."""
    dates = {datetime.fromisoformat(item["date"]) for item in out.statements.get(statement, ())}
    ensure_partitions(LedgerTransfer, {datetime(at.year, at.month, 1, tzinfo=UTC) for at in dates})


# --- settings, books, assets ----------------------------------------------------------------------------------------

_SET_SETTINGS: Final = """
INSERT INTO admin_settings (key, value, type, description, updated_at)
SELECT key, value, type, description, now()
FROM jsonb_to_recordset(($1::text)::jsonb) AS item (key text, value text, type text, description text)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at
"""
_ADD_ACCOUNTS: Final = """
INSERT INTO ledger_accounts (number, name, type)
SELECT number, name, type FROM jsonb_to_recordset(($1::text)::jsonb) AS item (number text, name text, type text)
ON CONFLICT DO NOTHING
"""
_ADD_JOURNAL: Final = """
INSERT INTO ledger_transfers (user_id, date, kind, debit_account, credit_account, amount, reference)
SELECT 0, date, 'journal', debit, credit, amount, reference
FROM jsonb_to_recordset(($1::text)::jsonb)
    AS item (date timestamptz, debit text, credit text, amount numeric, reference text)
"""
_ADD_ASSETS: Final = """
INSERT INTO llm_data_assets (asset_name, asset_type, status, cost_basis, current_value, useful_life_months,
                             in_service_on, model_version, gl_account, created_at, updated_at)
SELECT asset_name, asset_type, status, cost_basis, current_value, useful_life_months, in_service_on, model_version,
       gl_account, created_at, created_at
FROM jsonb_to_recordset(($1::text)::jsonb) AS item (
    asset_name text, asset_type text, status text, cost_basis numeric, current_value numeric,
    useful_life_months integer, in_service_on date, model_version text, gl_account text, created_at timestamptz)
"""


class AdminSettings(RowConverter):
    """Settings under their legacy names; one whose value Kamioi cannot use, or that is a secret, is kept aside."""

    def convert(self, rows: Sequence[tuple[str, Row]]) -> ConversionResult:
        """Decimals must be numbers (the threshold between 0 and 1), booleans true or false."""
        out = ConversionResult()
        for legacy_id, row in rows:
            key = _text(out, row, "setting_key", 100).strip()
            value = _text(out, row, "setting_value", 100_000).strip()
            kind = {
                "platform_fee": "decimal",
                "confidence_threshold": "decimal",
                "auto_approval_enabled": "boolean",
            }.get(key)
            usable = _usable_setting(key, value)
            if usable is None:
                out.repairs["setting"] += 1
            elif key and rules.row_as_json({key: value})[key] == value:
                _add(
                    out,
                    _SET_SETTINGS,
                    key=key,
                    value=usable,
                    type=kind or "string",
                    description=_text(out, row, "description", 10_000),
                )
            hidden = rules.row_as_json({key: value}).get(key)
            kept = rules.row_as_json(row)
            if hidden == rules.HIDDEN:
                kept["setting_value"] = rules.HIDDEN
            out.kept.append(KeptRow(self.table.name, legacy_id, "row", kept))
            out.loaded += 1
        return out


def _usable_setting(key: str, value: str) -> str | None:
    if key == "auto_approval_enabled":
        try:
            return "true" if rules.boolean(value) == 1 else "false"
        except rules.UnreadableError:
            return None
    if key not in ("platform_fee", "confidence_threshold"):
        return value
    try:
        found = Decimal(value)
    except InvalidOperation:
        return None
    highest = 1 if key == "confidence_threshold" else 100
    return value if found.is_finite() and 0 <= found <= highest else None


class ChartOfAccounts(RowConverter):
    """Accounts that Kamioi's chart lacks are added; what else the legacy chart says of an account is kept."""

    def convert(self, rows: Sequence[tuple[str, Row]]) -> ConversionResult:
        """An account of an unknown kind is rejected."""
        out = ConversionResult()
        for legacy_id, row in rows:
            number = _padded(out, row.get("account_number"))
            kind = _text(out, row, "account_type", 40).strip().lower()
            kind = {"income": "revenue", "cost": "expense", "cost of goods sold": "expense"}.get(kind, kind)
            if not number or len(number) > 10 or kind not in ("asset", "liability", "equity", "revenue", "expense"):
                self.reject(out, legacy_id, row, "unreadable: no account of the books")
                continue
            _add(out, _ADD_ACCOUNTS, number=number, name=_text(out, row, "account_name", 100, number), type=kind)
            self.keep_rest(out, legacy_id, row, ("account_number", "account_name", "account_type"))
            out.loaded += 1
        return out


class JournalEntries(RowConverter):
    """Posted entries become transfers of kind 'journal' with the entry's id as reference; the entry itself is kept.

    Several lines are paired off largest first, so n lines make at most n - 1 transfers with the same sums per account.
    Drafts are kept and not booked.
    """

    def convert(self, rows: Sequence[tuple[str, Row]]) -> ConversionResult:
        """An entry that does not balance, or names an account that the chart lacks, is rejected."""
        out = ConversionResult()
        with connection.cursor() as cursor:
            cursor.execute("SELECT number FROM ledger_accounts")
            chart = {number for (number,) in cursor.fetchall()}
        lines = self._lines([legacy_id for legacy_id, _ in rows])
        for legacy_id, row in rows:
            status = _text(out, row, "status", 40).strip().lower()
            at = _moment(out, row, ["date", "entry_date", "created_at"], self.now)
            posted = status in ("posted", "")
            transfers = self._transfers(out, row, lines.get(legacy_id, []), chart) if posted else []
            if posted and at is None:
                self.reject(out, legacy_id, row, "no readable date")
                continue
            if transfers is None:
                self.reject(out, legacy_id, {**row, "lines": json.dumps(lines.get(legacy_id, []))}, "unbalanced")
                continue
            for debit, credit, cents in transfers:
                _add(
                    out,
                    _ADD_JOURNAL,
                    date=at.isoformat() if at else "",
                    debit=debit,
                    credit=credit,
                    amount=_dollars(cents),
                    reference=legacy_id,
                )
            out.kept.append(KeptRow(self.table.name, legacy_id, "row", rules.row_as_json(row)))
            out.loaded += 1
        _ledger_months(out, _ADD_JOURNAL)
        return out

    def _lines(self, ids: Sequence[str]) -> dict[str, list[tuple[str, int, int]]]:
        """(account, debit, credit in cents) by entry."""
        table = self.snapshot.tables.get("journal_entry_lines")
        if table is None or "journal_entry_id" not in table.columns:
            return {}
        account = "account_code" if "account_code" in table.columns else "account_number"
        if account not in table.columns:
            return {}
        found: dict[str, list[tuple[str, int, int]]] = {}
        for entry, code, debit, credit in self.snapshot.rows(
            f"SELECT journal_entry_id, {quoted(account)}, debit, credit FROM json_each(?) AS wanted "
            "JOIN journal_entry_lines ON CAST(journal_entry_id AS TEXT) = wanted.value ORDER BY journal_entry_lines.rowid",
            [json.dumps(list(ids))],
        ):
            try:
                cents = rules.cents(debit) or 0, rules.cents(credit) or 0
            except rules.UnreadableError:
                cents = -1, 0  # no amount: the entry cannot balance
            found.setdefault(rules.text(entry)[0] or "", []).append(((rules.text(code)[0] or ""), *cents))
        return found

    def _transfers(
        self, out: ConversionResult, row: Row, lines: list[tuple[str, int, int]], chart: set[str]
    ) -> list[tuple[str, str, int]] | None:
        """(debit account, credit account, cents); None when the entry cannot be booked."""
        if not lines:
            try:
                cents = _money(out, row.get("amount")) or 0
            except rules.UnreadableError:
                return None
            lines = [
                (rules.text(row.get("to_account"))[0] or "", cents, 0),
                (rules.text(row.get("from_account"))[0] or "", 0, cents),
            ]
        net: Counter[str] = Counter()
        for code, debit, credit in lines:
            if debit < 0 or credit < 0:
                return None
            net[_padded(out, code)] += debit - credit
        if sum(net.values()) or not set(net) <= chart:
            return None
        debits = sorted(((cents, code) for code, cents in net.items() if cents > 0), reverse=True)
        credits = sorted(((-cents, code) for code, cents in net.items() if cents < 0), reverse=True)
        transfers = []
        while debits:
            (debit, to), (credit, source) = debits.pop(), credits.pop()
            moved = min(debit, credit)
            transfers.append((to, source, moved))
            if debit > moved:
                debits.append((debit - moved, to))
            if credit > moved:
                credits.append((credit - moved, source))
        return transfers


class DataAssets(RowConverter):
    """LLM assets of both legacy tables. Nothing is written off on invented figures: `llm_data_assets` come as 'development'."""

    def convert(self, rows: Sequence[tuple[str, Row]]) -> ConversionResult:
        """Cost basis is the training cost; the asset table of the newer app gives status, life and first day in service."""
        out = ConversionResult()
        for legacy_id, row in rows:
            out.loaded += 1
            try:
                cost = max(_money(out, row.get("training_cost")) or 0, 0)
                value = max(_money(out, row.get("current_value")) or 0, 0)
                life = rules.integer(row.get("useful_life_months")) or 36
            except rules.UnreadableError:
                out.loaded -= 1
                self.reject(out, legacy_id, row, "unreadable: no amount")
                continue
            ready = _moment(out, row, ["production_ready_date"], self.now)
            created = _moment(out, row, ["created_at", "development_start_date"], self.now) or self.now
            _add(
                out,
                _ADD_ASSETS,
                asset_name=_text(out, row, "asset_name", 200),
                asset_type=_text(out, row, "asset_type", 30),
                status=_text(out, row, "status", 20, "development"),
                cost_basis=_dollars(cost),
                current_value=_dollars(value),
                useful_life_months=life if 1 <= life <= 32767 else 36,
                in_service_on=ready.date().isoformat() if ready else None,
                model_version=_text(out, row, "model_version", 100),
                gl_account=_text(out, row, "gl_account", 10, "15200"),
                created_at=created.isoformat(),
            )
            out.kept.append(KeptRow(self.table.name, legacy_id, "row", rules.row_as_json(row)))
        return out


def _padded(out: ConversionResult, value: Any) -> str:
    said = rules.text(value)[0] or ""
    if said != said.strip():
        out.repairs["padded account"] += 1
    return said.strip()


_NO_LOG_IN: Final = (
    "UPDATE users SET is_active = false FROM legacy_ids WHERE source_table = %(table)s "
    "AND legacy_id::text = ANY (%(ids)s) AND user_id = users.id AND NOT was_here"
)
FORGET: Final[dict[str, tuple[str, ...]]] = {
    # People have money and history here: they stay, and cannot log in.
    "users": (_NO_LOG_IN,),
    "admins": (_NO_LOG_IN,),
    "portfolios": (
        """WITH gone AS (
               DELETE FROM ledger_transfers WHERE kind = 'opening'
                   AND reference = ANY (SELECT 'portfolio ' || id FROM unnest(%(ids)s) AS ids (id))
               RETURNING user_id, ticker, shares, amount
           )
           UPDATE holdings SET shares = holdings.shares - back.shares, cost_basis = holdings.cost_basis - back.amount
           FROM (SELECT user_id, ticker, sum(shares) AS shares, sum(amount) AS amount FROM gone GROUP BY 1, 2) AS back
           WHERE holdings.user_id = back.user_id AND holdings.ticker = back.ticker""",
        "DELETE FROM holdings WHERE shares = 0 AND cost_basis = 0",
    ),
    "notifications": ("DELETE FROM notifications WHERE id = ANY (%(ids)s::bigint[])",),
    "journal_entries": ("DELETE FROM ledger_transfers WHERE kind = 'journal' AND reference = ANY (%(ids)s)",),
    **dict.fromkeys(
        ("llm_data_assets", "llm_assets"),
        (
            """DELETE FROM llm_data_assets WHERE id IN (
                   SELECT min(asset.id) FROM legacy_rows
                   JOIN llm_data_assets AS asset ON asset.asset_name = data->>'asset_name'
                   WHERE source_table = %(table)s AND legacy_id = ANY (%(ids)s) GROUP BY legacy_id
               ) AND NOT EXISTS (SELECT FROM amortization_entries WHERE asset_id = llm_data_assets.id)""",
        ),
    ),
}
"""What takes a row back that was carried over before; given `table` and the legacy `ids`."""


def row_converter(snapshot: Snapshot, table: LegacyTable, now: datetime, users: Callable[[], Ids]) -> RowConverter:
    """How rows of this table are read."""
    if table.name in ("portfolios", "notifications"):
        owned = Portfolios if table.name == "portfolios" else Notifications
        return owned(snapshot, table, now, users())
    readers: dict[str, type[RowConverter]] = {
        "users": Users,
        "admins": Admins,
        "admin_settings": AdminSettings,
        "chart_of_accounts": ChartOfAccounts,
        "journal_entries": JournalEntries,
        "llm_data_assets": DataAssets,
        "llm_assets": DataAssets,
    }
    return readers.get(table.name, RowConverter)(snapshot, table, now)


def legacy_id_of(table: LegacyTable, rowid: int | None, row: Row) -> str:
    """How a row is called in `legacy_rows` and `migration_rejects`: its key, or its row number where it has none."""
    if not table.key:
        return str(rowid)
    parts = [rules.text(row[name])[0] or "" for name in table.key]
    name = parts[0] if len(parts) == 1 else json.dumps(parts)
    return name if len(name) <= 100 else hashlib.sha256(name.encode()).hexdigest()
