"""Users and administrators of the legacy system as accounts."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, ClassVar, Final

from django.db import connection

from transactions.legacy.convert import rules, values
from transactions.legacy.convert.passwords import encode_legacy
from transactions.legacy.convert.row_converters import Row, RowConverter, RowRejectedError, insert_sql, record_set
from transactions.legacy.source.snapshot import Snapshot
from transactions.legacy.source.sqlite_file import LegacyTable

_HASHING_THREADS: Final = 2
_MAX_EMAIL: Final = 230  # of 254: a duplicate gets '+legacy<id>'
# Widths of the text columns that are copied as they are.
_PROFILE: Final = {"name": 150, "user_guid": 64, "city": 100, "state": 50, "zip_code": 20, "phone": 40}
_USER_COLUMNS: Final = (
    "id bigint, email text, account_type text, account_number text, name text, user_guid text, city text, state text, "
    "zip_code text, phone text, round_up_enabled boolean, round_up_amount integer, is_staff boolean, "
    "is_superuser boolean, is_active boolean, password text, updated_at timestamptz"
)
_INSERT_USERS: Final = insert_sql("users", f"{_USER_COLUMNS}, round_up_rule text, created_at timestamptz")
_UPDATE_USERS: Final = (
    "UPDATE users SET "
    + ", ".join(f"{name} = item.{name}" for name in (column.split()[0] for column in _USER_COLUMNS.split(", ")[1:]))
    + f" {record_set(_USER_COLUMNS)} WHERE users.id = item.id"
)
_INSERT_IDS: Final = (
    insert_sql("legacy_ids", "source_table text, legacy_id bigint, user_id bigint, was_here boolean")
    + " ON CONFLICT (source_table, legacy_id) DO NOTHING"
)
_MAKE_STAFF: Final = (
    "UPDATE users SET is_staff = true, is_superuser = users.is_superuser OR item.is_superuser "
    f"{record_set('id bigint, is_superuser boolean')} WHERE users.id = item.id"
)
# Users have money and history here: their accounts stay, and cannot log in.
_DEACTIVATE_USERS: Final = (
    "UPDATE users SET is_active = false FROM legacy_ids WHERE source_table = %(table)s "
    "AND legacy_id::text = ANY (%(ids)s) AND user_id = users.id AND NOT was_here"
)


class Accounts:
    """The accounts of Kamioi by e-mail, id and account number, kept up to date while users are added.

    `migrated` holds the accounts that the migration made, by (table, legacy id); `linked` the legacy users who had an
    account before: nothing of theirs is changed.
    """

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT lower(email), id, account_number FROM users")
            users = cursor.fetchall()
            cursor.execute("SELECT source_table, legacy_id, user_id, was_here FROM legacy_ids")
            legacy_ids = cursor.fetchall()
        self._own = {user_id for table, _, user_id, _ in legacy_ids if table == "users"}
        self.migrated = {
            (table, legacy_id): user_id for table, legacy_id, user_id, was_here in legacy_ids if not was_here
        }
        self.linked = {(table, legacy_id) for table, legacy_id, _, was_here in legacy_ids if was_here}
        self.by_email: dict[str, int] = {email: user_id for email, user_id, _ in users}
        self.ids: set[int] = {user_id for _, user_id, _ in users}
        self.by_number: dict[str, int] = {number: user_id for _, user_id, number in users if number}
        self._free_ids: list[int] = []

    def existed_before(self, user_id: int) -> bool:
        return user_id not in self._own

    def new_id(self) -> int:
        """Return an id that no legacy user has: the sequence starts far beyond theirs."""
        if not self._free_ids:
            with connection.cursor() as cursor:
                cursor.execute("SELECT nextval(pg_get_serial_sequence('users', 'id')) FROM generate_series(1, 100)")
                self._free_ids = [row[0] for row in cursor.fetchall()][::-1]
        return self._free_ids.pop()

    def add(self, user_id: int, email: str, number: str | None) -> None:
        """Record an account that will be written."""
        self.by_email[email.lower()] = user_id
        self.ids.add(user_id)
        self._own.add(user_id)
        if number:
            self.by_number[number] = user_id


class _AccountConverter(RowConverter):
    """What users and administrators share: e-mail, password, and the account itself."""

    email_width: ClassVar[int]
    undo_sql = (_DEACTIVATE_USERS,)

    def __init__(self, snapshot: Snapshot, table: LegacyTable, now: datetime) -> None:
        super().__init__(snapshot, table, now)
        self.accounts = Accounts()
        self._passwords: dict[str, tuple[str, str | None]] = {}

    def prepare(self, rows: Sequence[tuple[str, Row]]) -> None:
        """Hash the passwords, which takes most of the time, on two threads: scrypt releases Python's lock."""
        passwords = [values.text(row.get("password"))[0] for _, row in rows]
        with ThreadPoolExecutor(_HASHING_THREADS) as pool:
            encoded = list(pool.map(encode_legacy, passwords))
        self._passwords = {legacy_id: result for (legacy_id, _), result in zip(rows, encoded, strict=True)}

    def email(self, legacy_id: str, row: Row) -> str:
        """Return the address; rejects a row without one."""
        email = self.text(row, "email", self.email_width).strip()
        if "@" not in email or len(email) > _MAX_EMAIL:
            # The hash may be stored: it is strong, and the row can be corrected and retried.
            raise RowRejectedError("no e-mail", password=self._passwords[legacy_id][0])
        return email

    def password(self, legacy_id: str) -> str:
        encoded, repair = self._passwords[legacy_id]
        if repair:
            self.repaired(repair)
        return encoded

    def write(self, legacy_id: str, row: Row, user_id: int, *, number: str | None = None, **cells: Any) -> None:
        created = self.timestamp(row, "created_at") or self.now
        cells = {
            "id": user_id,
            "account_number": number,
            "created_at": created.isoformat(),
            "updated_at": created.isoformat(),
            "round_up_rule": "flat",
            "password": self.password(legacy_id),
            **cells,
        }
        key = (self.table.name, int(legacy_id))
        self.add(_UPDATE_USERS if key in self.accounts.migrated else _INSERT_USERS, **cells)
        self.link(legacy_id, user_id, was_here=False)
        self.accounts.add(user_id, cells["email"], number)

    def link(self, legacy_id: str, user_id: int, *, was_here: bool) -> None:
        self.add(
            _INSERT_IDS, source_table=self.table.name, legacy_id=int(legacy_id), user_id=user_id, was_here=was_here
        )


class UserConverter(_AccountConverter):
    """Customers; e-mails, ids and passwords by their rules."""

    becomes = "users"
    email_width = 1000
    placed = (
        *("id", "email", "account_type", "account_number", "password", "round_up_amount", "created_at", "updated_at"),
        *_PROFILE,
        *rules.PERSONAL,
    )

    def __init__(self, snapshot: Snapshot, table: LegacyTable, now: datetime) -> None:
        super().__init__(snapshot, table, now)
        self._round_up_disabled = _users_without_round_up(snapshot)
        self._duplicates = _users_with_duplicate_email(snapshot) if "email" in table.columns else set()

    def convert_row(self, legacy_id: str, row: Row) -> None:
        email, number, accounts = self.email(legacy_id, row), int(legacy_id), self.accounts
        if ("users", number) in accounts.linked:
            self.password(legacy_id)
            return
        own_id = accounts.migrated.get(("users", number))
        owner = accounts.by_email.get(email.lower())
        if own_id is None and owner is not None and accounts.existed_before(owner):
            self.password(legacy_id)
            self.repaired("known e-mail")
            self.link(legacy_id, owner, was_here=True)
            return
        if (owner is not None and owner != own_id) or number in self._duplicates:
            self.repaired("duplicate e-mail")
            self.keep(legacy_id, {"email": email})
            name, _, domain = email.rpartition("@")
            email = f"{name}+legacy{legacy_id}@{domain}"
        user_id = number if own_id is None else own_id
        if own_id is None and user_id in accounts.ids:
            self.repaired("user number")
            user_id = accounts.new_id()
        account_type = self.text(row, "account_type", 40).strip().lower()
        if account_type not in ("individual", "family", "business"):
            self.repaired("account type")
            account_type = "individual"
        updated = self.timestamp(row, "updated_at")
        self.write(
            legacy_id,
            row,
            user_id,
            number=self._account_number(legacy_id, row, user_id),
            email=email,
            account_type=account_type,
            **{name: self.text(row, name, width) for name, width in _PROFILE.items()},
            round_up_enabled=number not in self._round_up_disabled,
            round_up_amount=self._round_up_amount(row.get("round_up_amount")),
            is_staff=False,
            is_superuser=False,
            is_active=True,
            **({"updated_at": updated.isoformat()} if updated else {}),
        )

    def _account_number(self, legacy_id: str, row: Row, user_id: int) -> str | None:
        number = self.text(row, "account_number", 20).strip()
        if self.accounts.by_number.get(number, user_id) != user_id:
            self.repaired("account number")
            self.keep(legacy_id, {"account_number": number})
            return None
        return number or None

    def _round_up_amount(self, value: Any) -> int:
        try:
            amount = values.number(value)
        except values.UnreadableError:
            amount = None
        dollars = 1 if amount is None else int(Decimal(str(amount)).to_integral_value(ROUND_HALF_EVEN))
        dollars = max(1, min(100, dollars))
        if amount != dollars and value is not None:
            self.repaired("round-up amount")
        return dollars


class AdminConverter(_AccountConverter):
    """Administrators as staff, superadmins as superusers."""

    becomes = "users (staff)"
    email_width = 230
    placed = ("id", "email", "name", "password", "is_active", "created_at", "updated_at")

    def convert_row(self, legacy_id: str, row: Row) -> None:
        email = self.email(legacy_id, row)
        is_superuser = self.text(row, "role", 40).strip().lower() == "superadmin"
        is_active = self.flag(row.get("is_active"), default=True)
        owner = self.accounts.by_email.get(email.lower())
        own_id = self.accounts.migrated.get(("admins", int(legacy_id)))
        if owner is not None and owner != own_id:
            self.repaired("known e-mail")
            if is_active:
                self.add(_MAKE_STAFF, id=owner, is_superuser=is_superuser)
            self.link(legacy_id, owner, was_here=True)
            return
        self.write(
            legacy_id,
            row,
            own_id or self.accounts.new_id(),
            email=email,
            account_type="individual",
            **dict.fromkeys(_PROFILE, "") | {"name": self.text(row, "name", 150)},
            round_up_enabled=True,
            round_up_amount=1,
            is_staff=True,
            is_superuser=is_superuser,
            is_active=is_active,
        )


def _users_without_round_up(snapshot: Snapshot) -> set[int]:
    """Return the users who disabled round-ups in their settings."""
    table = snapshot.tables.get("user_settings")
    if table is None or not {"user_id", "setting_key", "setting_value"} <= set(table.columns):
        return set()
    disabled = set()
    for user_id, value in snapshot.rows(
        "SELECT user_id, setting_value FROM user_settings WHERE setting_key = 'round_up_enabled'"
    ):
        try:
            if isinstance(user_id, int) and values.boolean(value) == 0:
                disabled.add(user_id)
        except values.UnreadableError:
            continue
    return disabled


def _users_with_duplicate_email(snapshot: Snapshot) -> set[int]:
    """Return the users whose e-mail another user has in lower case, or had first."""
    rows = snapshot.rows(
        "SELECT rowid, row_number() OVER (PARTITION BY lower(trim(email)) "
        "ORDER BY trim(email) <> lower(trim(email)), rowid) FROM users "
        "WHERE lower(trim(email)) IN (SELECT lower(trim(email)) FROM users GROUP BY 1 HAVING count(*) > 1)"
    )
    return {rowid for rowid, place in rows if place > 1}
