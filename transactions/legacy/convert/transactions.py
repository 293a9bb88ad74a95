"""Legacy transactions as rows of `transactions`, column by column."""

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transactions.legacy.convert import values
from transactions.legacy.convert.arrow_columns import Batch, Ints, Layout, Mask, decimals, kinds, timestamps
from transactions.legacy.convert.bulk_converters import (
    HISTORY,
    BulkTable,
    ConversionContext,
    both,
    differs_from,
    first_timestamp,
    keep_extra,
    not_blank,
    other_than,
    tickers,
)
from transactions.models import Transaction

_BULK_PRIORITY: Final = 9
# `source` of transactions that Kamioi processes like its own after the cut-over.
_OPEN: Final = "legacy_open"
_OPEN_STATUSES: Final = ["pending", "needs_review"]
LAYOUT: Final = Layout(
    name="transactions",
    kinds=kinds(
        int="id user_id",
        time="date created_at updated_at",
        text="merchant category description ticker status transaction_type receipt_id order_id alpaca_order_id "
        "account_type",
        real="amount investable round_up total_debit fee shares price_per_share stock_price round_up_amount",
    ),
    extra={
        "stock_price": differs_from("stock_price", "price_per_share"),
        "round_up_amount": both(differs_from("round_up_amount", "round_up"), other_than("round_up_amount", 0.0)),
        **not_blank("receipt_id order_id alpaca_order_id account_type"),
    },
)


def convert_transactions(batch: Batch, context: ConversionContext) -> pa.Table:
    """Return the batch as rows of `transactions`, without rejected rows."""
    legacy_users, no_user = batch.integers("user_id")
    users, unknown_user = context.users.translate(legacy_users)
    batch.reject("user gone", unknown_user | no_user)

    dates, no_date = first_timestamp(batch, ["date", "created_at"], context.now)
    batch.reject("no readable date", no_date)
    created, no_created = batch.timestamps("created_at")
    created = np.where(no_created, dates, created)
    updated, no_updated = batch.timestamps("updated_at")
    updated = np.where(no_updated, created, updated)

    amounts, no_amount = batch.cents("amount")
    batch.reject("no readable amount", no_amount)
    statuses, reasons = _statuses(batch)
    money = _money(batch, amounts)
    statuses[(money["amount"] < 0) & (statuses != "failed")] = "refunded"
    # Manual submissions of the legacy system: there is nothing to round up.
    statuses[(money["amount"] == 0) & np.isin(statuses, _OPEN_STATUSES)] = "not_listed"
    is_open = np.isin(statuses, _OPEN_STATUSES)
    _correct_open_totals(batch, money, is_open)
    shares, no_shares, prices, no_price = _shares(batch, money["investable"])
    keep_extra(batch, LAYOUT)

    merchants = batch.filled("merchant", 255)
    return batch.accepted(
        {
            "id": pa.array(batch.rowids),
            "date": timestamps(dates),
            "merchant": merchants,
            "merchant_key": context.keys.of(merchants),
            **{name: decimals(units, None, 2) for name, units in money.items()},
            "category": batch.filled("category", 100),
            "description": batch.filled("description", 500),
            "ticker": tickers(batch, "ticker"),
            "shares": decimals(shares, no_shares, 8, precision=20),
            "price_per_share": decimals(prices, no_price, 4),
            "status": pa.array(statuses, pa.string()),
            "failure_reason": pa.array(reasons, pa.string()),
            "transaction_type": batch.filled("transaction_type", 20, "bank"),
            "source": pc.if_else(pa.array(is_open), _OPEN, HISTORY),
            "priority": pa.array(np.full(len(batch), _BULK_PRIORITY, np.int16)),
            "created_at": timestamps(created),
            "updated_at": timestamps(updated),
            "user_id": pa.array(users),
        }
    )


def _statuses(batch: Batch) -> tuple[Any, list[str]]:
    """Return (statuses, failure reasons)."""
    results = batch.mapped("status", _status)
    batch.repaired("status", np.array([repaired for _, _, repaired in results], np.bool_))
    return np.array([status for status, _, _ in results], object), [reason for _, reason, _ in results]


def _status(text: str | None) -> tuple[str, str, bool]:
    """Return (status, failure reason, whether it was repaired)."""
    word = (text or "").strip().lower().replace("_", "-") or "pending"
    status = values.TRANSACTION_STATUSES.get(word)
    if status is None:
        return "failed", f"unknown legacy status: {word}"[:255], True
    reason = f"legacy status: {word}" if status == "failed" else ""
    return status, reason, text is not None and text != ("needs_review" if word == "needs-review" else word)


def _money(batch: Batch, amounts: Ints) -> dict[str, Ints]:
    """Return the amount columns in cents; see the rules "sign" and "negative part"."""
    parts: dict[str, Ints] = {}
    for name in ("investable", "round_up", "fee"):
        units, null = batch.cents(name)
        negative = units < 0
        batch.repaired("negative part", negative, name)
        parts[name] = np.where(null | negative, 0, units)
    totals, no_total = batch.cents("total_debit")
    charges = parts["round_up"] + parts["fee"]
    is_purchase = (amounts < 0) & ~no_total & (totals == -amounts + charges)
    batch.repaired("sign", is_purchase)
    amounts = np.where(is_purchase, -amounts, amounts)
    parts["total_debit"] = np.where(no_total, amounts + charges, totals)
    batch.repaired("total", no_total)
    return {"amount": amounts, **parts}


def _correct_open_totals(batch: Batch, money: dict[str, Ints], is_open: Mask) -> None:
    sums = money["amount"] + money["round_up"] + money["fee"]
    wrong = is_open & (money["total_debit"] != sums)
    batch.repaired("total", wrong, "total_debit")
    money["total_debit"] = np.where(wrong, sums, money["total_debit"])


def _shares(batch: Batch, investable: Ints) -> tuple[Ints, Mask, Ints, Mask]:
    """Return (shares, NULL mask, prices, NULL mask); see the rule "simulated purchase"."""
    shares, no_shares = batch.scaled("shares", 8)
    prices, no_price = batch.scaled("price_per_share", 4)
    simulated = ~no_shares & ~no_price & (prices == 10_000)
    batch.repaired("simulated purchase", simulated)
    # "Shares" that repeat the dollars are not worth keeping.
    batch.keep_cells(np.flatnonzero(simulated & (shares != investable * 1_000_000)), "shares", "price_per_share")
    return shares, no_shares | simulated, prices, no_price | simulated


TRANSACTIONS: Final = BulkTable(
    layout=LAYOUT,
    model=Transaction,
    convert=convert_transactions,
    # Rows with postings belong to Kamioi.
    delete_sql="""
        DELETE FROM transactions
        WHERE id = ANY (%s::bigint[]) AND source IN ('legacy', 'legacy_open') AND NOT EXISTS (
            SELECT FROM ledger_transfers WHERE ledger_transfers.user_id = transactions.user_id
                AND ledger_transfers.transaction_id = transactions.id AND ledger_transfers.date = transactions.date
        ) RETURNING *""",
    count_sql="""
        INSERT INTO transaction_deltas (day, status, ticker, user_id, rows, amount, round_up, fee, investable, writes)
        SELECT (date AT TIME ZONE 'UTC')::date, status, ticker, user_id, {sign} count(*), {sign} sum(amount),
               {sign} sum(round_up), {sign} sum(fee), {sign} sum(investable), count(*)
        FROM written GROUP BY 1, 2, 3, 4""",
    keys_sql={
        "+": "INSERT INTO transaction_keys (transaction_id, user_id, date) SELECT id, user_id, date FROM written",
        "-": "DELETE FROM transaction_keys WHERE transaction_id IN (SELECT id FROM written)",
    },
    becomes="transactions; finished ones as history, open ones to be processed",
)
