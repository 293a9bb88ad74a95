"""What rows of the app `transactions` must have become, worked out without the converters. Free of Django."""

from collections import Counter
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from transactions.legacy.convert.values import TRANSACTION_STATUSES
from transactions.legacy.validate.oracle import OracleContext, OracleTable, RowCheck
from transactions.legacy.validate.oracle_values import (
    Row,
    first_time,
    is_secret,
    merchant_key,
    read_cents,
    read_flag,
    read_number,
    read_text,
    read_ticker,
    read_time,
    read_units,
    read_whole,
    read_word,
    stored_json,
)

Found = dict[str, Any] | None


def _transaction(row: Row, context: OracleContext) -> dict[str, Any] | str:
    user = context.users.get(read_whole(row["user_id"]) or 0)
    if user is None:
        return "user gone"
    at = first_time(row, ("date", "created_at"), context.latest)
    if at is None:
        return "no readable date"
    amount = read_cents(row["amount"])
    if amount is None:
        return "no readable amount"
    created = read_time(row.get("created_at"))
    created = at if created is None else created
    updated = read_time(row.get("updated_at"))

    word = read_word(row.get("status")).replace("_", "-") or "pending"
    status = TRANSACTION_STATUSES.get(word, "failed")
    reason = ""
    if status == "failed":
        reason = f"legacy status: {word}" if word in TRANSACTION_STATUSES else f"unknown legacy status: {word}"[:255]

    investable, round_up, fee = (max(read_cents(row.get(name)) or 0, 0) for name in ("investable", "round_up", "fee"))
    total = read_cents(row.get("total_debit"))
    if amount < 0 and total == -amount + round_up + fee:
        amount = -amount
    if amount < 0 and status != "failed":
        status = "refunded"
    elif amount == 0 and status in ("pending", "needs_review"):
        status = "not_listed"
    is_open = status in ("pending", "needs_review")
    if is_open or total is None:
        total = amount + round_up + fee

    shares, price = read_units(row.get("shares"), 8, 9 * 10**18), read_units(row.get("price_per_share"), 4, 10**14 - 1)
    if shares is not None and price == 10_000:
        shares = price = None
    merchant = (read_text(row.get("merchant")) or "")[:255]
    kind = read_text(row.get("transaction_type"))
    return {
        "user_id": user,
        "date": at,
        "merchant": merchant,
        "merchant_key": merchant_key(merchant),
        "amount": amount,
        "investable": investable,
        "round_up": round_up,
        "fee": fee,
        "total_debit": total,
        "category": (read_text(row.get("category")) or "")[:100],
        "description": (read_text(row.get("description")) or "")[:500],
        "ticker": read_ticker(row.get("ticker")),
        "shares": shares,
        "price_per_share": price,
        "status": status,
        "failure_reason": reason,
        "transaction_type": ("bank" if kind is None else kind)[:20],
        "source": "legacy_open" if is_open else "legacy",
        "created_at": created,
        "updated_at": created if updated is None else updated,
    }


BULK_TABLES: Final = [
    OracleTable(
        name="transactions",
        expected=_transaction,
        raw="user_id merchant merchant_key category description ticker status failure_reason transaction_type source",
        times="date created_at updated_at",
        units={2: "amount investable round_up fee total_debit", 8: "shares", 4: "price_per_share"},
        month="date",
    )
]


# --- tables that are copied row by row --------------------------------------------------------------------------------

_PROFILE: Final = {"name": 150, "city": 100, "state": 50, "zip_code": 20, "phone": 40}


def _stored_row(legacy_id: str, row: Row, found: Found, context: OracleContext) -> dict[str, Any]:
    """Expect every cell in `legacy_rows`, with secrets hidden."""
    return {name: stored_json(name, value) for name, value in row.items()}


def _setting(legacy_id: str, row: Row, found: Found, context: OracleContext) -> dict[str, Any]:
    cells = _stored_row(legacy_id, row, found, context)
    return cells | {"setting_value": "[hidden]"} if is_secret(read_text(row.get("setting_key")) or "") else cells


def _account(legacy_id: str, row: Row, found: Found, context: OracleContext) -> dict[str, Any]:
    """Expect the user's own data, and a password that cannot be read."""
    expected: dict[str, Any] = {}
    if found is None:
        return expected
    if found["is_own"]:
        expected = {name: (read_text(row.get(name)) or "")[:width] for name, width in _PROFILE.items()}
        email = (read_text(row.get("email")) or "").strip()
        name, _, domain = email.rpartition("@")
        expected["email"] = email if found["email"] == email else f"{name}+legacy{legacy_id}@{domain}"
    password = read_text(row.get("password"))
    if password and password in found["password"] and not found["password"].startswith("werkzeug$"):
        expected["password"], found["password"] = "a strong hash", "the legacy system's value"
    return expected


def _administrator(legacy_id: str, row: Row, found: Found, context: OracleContext) -> dict[str, Any]:
    return _account(legacy_id, row, found and found | {"is_own": False}, context)


def _holding(legacy_id: str, row: Row, found: Found, context: OracleContext) -> dict[str, Any]:
    """Expect an opening balance: shares to 8 places, cost to the cent."""
    shares = read_units(row.get("shares"), 8, 10**20) or 0
    price = read_number(row.get("average_price")) or Decimal(0)
    cost = (Decimal(shares).scaleb(-8) * price).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
    return {
        "user": context.users.get(read_whole(row.get("user_id")) or 0),
        "ticker": read_ticker(row.get("ticker")),
        "shares": shares,
        "cost": int(cost.scaleb(2)),
    }


def _notification(legacy_id: str, row: Row, found: Found, context: OracleContext) -> dict[str, Any]:
    return {
        "user": context.users.get(read_whole(row.get("user_id")) or 0),
        "title": (read_text(row.get("title")) or "")[:120],
        "message": read_text(row.get("message")) or "",
        "type": (read_text(row.get("type")) or "info")[:30],
        "read": read_flag(row.get("read")) == 1,
    }


def _journal_entry(legacy_id: str, row: Row, found: Found, context: OracleContext) -> dict[str, Any]:
    """Expect a posted entry to move the same cents on each account."""
    net: Counter[str] = Counter()
    if read_word(row.get("status")) in ("posted", ""):
        columns = [info[1].decode() for info in context.source.execute("PRAGMA table_info(journal_entry_lines)")]
        account = next((name for name in ("account_code", "account_number") if name in columns), None)
        lines = []
        if account:
            lines = context.source.execute(
                f"SELECT {account}, debit, credit FROM journal_entry_lines WHERE CAST(journal_entry_id AS TEXT) = ?",
                [legacy_id],
            ).fetchall()
        amount = row.get("amount")
        for code, debit, credit in lines or [(row.get("to_account"), amount, 0), (row.get("from_account"), 0, amount)]:
            net[(read_text(code) or "").strip()] += (read_cents(debit) or 0) - (read_cents(credit) or 0)
    return {"cents by account": {account: cents for account, cents in net.items() if cents}}


def _nothing(legacy_id: str, row: Row, found: Found, context: OracleContext) -> dict[str, Any]:
    return {}


def _int_id(legacy_id: str, row: Row) -> int:
    return int(legacy_id)


def _account_number(legacy_id: str, row: Row) -> str:
    return (read_text(row.get("account_number")) or "").strip()


def _portfolio_reference(legacy_id: str, row: Row) -> str:
    return f"portfolio {legacy_id}"


def _stored_rows(expected: Callable[..., dict[str, Any]] = _stored_row) -> RowCheck:
    """Return the check of a table whose rows are in `legacy_rows`."""
    return RowCheck(
        "SELECT legacy_id, data FROM legacy_rows WHERE source_table = %(table)s AND kind = 'row' "
        "AND legacy_id = ANY (%(keys)s)",
        "",
        expected,
    )


def _accounts(expected: Callable[..., dict[str, Any]]) -> RowCheck:
    return RowCheck(
        "SELECT legacy_id, email, name, city, state, zip_code, phone, password, user_id = legacy_id FROM legacy_ids "
        "JOIN users ON users.id = legacy_ids.user_id WHERE source_table = %(table)s AND legacy_id = ANY (%(keys)s)",
        "email, name, city, state, zip_code, phone, password, is_own",
        expected,
        key=_int_id,
    )


STORED_ROWS: Final = [_stored_rows()]
ROW_CHECKS: Final = {
    "users": [_accounts(_account)],
    "admins": [_accounts(_administrator)],
    "portfolios": [
        RowCheck(
            "SELECT reference, user_id, ticker, (shares * 100000000)::bigint, (amount * 100)::bigint "
            "FROM ledger_transfers WHERE kind = 'opening' AND reference = ANY (%(keys)s)",
            "user, ticker, shares, cost",
            _holding,
            key=_portfolio_reference,
            total="cost",
        )
    ],
    "notifications": [
        RowCheck(
            "SELECT id, user_id, title, message, type, read FROM notifications WHERE id = ANY (%(keys)s)",
            "user, title, message, type, read",
            _notification,
            key=_int_id,
        )
    ],
    "admin_settings": [_stored_rows(_setting)],
    "chart_of_accounts": [
        RowCheck("SELECT number FROM ledger_accounts WHERE number = ANY (%(keys)s)", "", _nothing, key=_account_number)
    ],
    "journal_entries": [
        *STORED_ROWS,
        RowCheck(
            """
            SELECT entry.id, coalesce(jsonb_object_agg(account, cents) FILTER (WHERE cents <> 0), '{}')
            FROM unnest(%(keys)s::text[]) AS entry (id) LEFT JOIN (
                SELECT reference, account, sum(dollars * 100)::bigint AS cents
                FROM ledger_transfers, LATERAL (VALUES (debit_account, amount), (credit_account, -amount))
                    AS side (account, dollars)
                WHERE kind = 'journal' AND reference = ANY (%(keys)s) GROUP BY 1, 2
            ) AS net ON net.reference = entry.id GROUP BY 1""",
            "cents by account",
            _journal_entry,
            counts=False,
        ),
    ],
}
