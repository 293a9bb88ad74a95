"""The two tables that grow without end, from legacy columns to ours: `transactions` and `llm_mappings`.

Pure: a `Batch` in, an Arrow table out whose columns are those of the PostgreSQL table. Which row is rejected and what is
kept beside it gathers in the batch. Everything is worked out for whole columns; see `rules` for what is decided.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transactions.legacy.convert import rules
from transactions.legacy.convert.arrow_columns import Batch, Ints, Layout, Mask, decimals, half_even, timestamps
from transactions.rules.merchant_key import MAX_KEY_LENGTH, normalise_uncached

BULK_PRIORITY: Final = 9
HISTORY: Final = "legacy"
"""`source` of transactions that are over: nothing of them is booked or processed."""
OPEN: Final = "legacy_open"
"""`source` of transactions that Kamioi processes like its own once it is in charge."""


class Ids:
    """Legacy ids and what they are called in Kamioi; looked up for whole columns."""

    def __init__(self, pairs: Sequence[tuple[int, int]]) -> None:
        ordered = np.array(sorted(pairs), np.int64).reshape(-1, 2)
        self._legacy, self._ours = ordered[:, 0].copy(), ordered[:, 1].copy()

    @classmethod
    def same(cls, ids: Ints) -> Self:
        """Ids that stay what they are, in rising order."""
        made = cls([])
        made._legacy = made._ours = ids
        return made

    def __len__(self) -> int:
        return len(self._legacy)

    def pairs(self) -> list[tuple[int, int]]:
        """(legacy id, our id), in order."""
        return list(zip(self._legacy.tolist(), self._ours.tolist(), strict=True))

    def translate(self, legacy: Ints) -> tuple[Ints, Mask]:
        """(our ids, where there is none)."""
        if not len(self._legacy):
            return np.zeros(len(legacy), np.int64), np.ones(len(legacy), np.bool_)
        at = np.searchsorted(self._legacy, legacy)
        at[at == len(self._legacy)] = 0
        return self._ours[at], self._legacy[at] != legacy


class MerchantKeys:
    """Merchant keys of distinct descriptors; what was seen lately is remembered, in bounded memory."""

    REMEMBERED: Final = 300_000

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}

    def of(self, merchants: pa.Array) -> pa.Array:
        """The key of each merchant; each distinct text is normalised once."""
        encoded = merchants.dictionary_encode()
        keys, remembered = [], self._keys
        for merchant in encoded.dictionary.to_pylist():
            key = remembered.get(merchant)
            if key is None:
                if len(remembered) >= self.REMEMBERED:
                    remembered.clear()
                key = remembered[merchant] = normalise_uncached(merchant)[:MAX_KEY_LENGTH]
            keys.append(key)
        return pa.array(keys, pa.string()).take(encoded.indices)


def _fits(micros: Ints, now: datetime) -> Mask:
    low, high = (int(at.timestamp() * 1_000_000) for at in (rules.EARLIEST, now + rules.LATEST_AHEAD))
    return (micros >= low) & (micros <= high)


def _first_moment(batch: Batch, names: Sequence[str], now: datetime) -> tuple[Ints, Mask]:
    """The first of the columns that has a date a row may carry; each step past the first is counted."""
    values, none = batch.moments(names[0])
    none |= ~_fits(values, now)
    for name in names[1:]:
        if not none.any() or name not in batch.table.columns:
            continue
        other, other_none = batch.moments(name)
        use = none & ~other_none & _fits(other, now)
        values[use], none[use] = other[use], False
        batch.repaired("time missing", use, names[0])
    return values, none


def _tickers(batch: Batch, name: str) -> pa.Array:
    """Tickers in capitals; pseudo-tickers and blanks are NULL and counted."""
    encoded = batch.texts(name).dictionary_encode()
    spelled = encoded.dictionary.to_pylist()
    read = [rules.ticker(cell) for cell in spelled]
    changed = np.array([new != old for new, old in zip(read, spelled, strict=True)] or [False])
    if changed.any():
        indices = pc.fill_null(encoded.indices, 0).to_numpy()
        valid = ~encoded.indices.is_null().to_numpy(zero_copy_only=False)
        moved = changed[indices] & valid
        blank = np.array([not (cell or "").strip() for cell in spelled])
        batch.repairs["ticker"] += int(moved.sum())
        lost = moved & ~blank[indices]
        for position in np.flatnonzero(lost).tolist():
            batch.keep[position].add(name)
    return pa.array(read, pa.string()).take(encoded.indices)


def _named(batch: Batch, name: str, read: Callable[[str | None], tuple[Any, ...]]) -> list[list[Any]]:
    """`words` of a tuple: one list per item."""
    return [list(items) for items in zip(*batch.words(name, read), strict=True)] or [[], [], []]


def _said_twice(name: str, other: str, read: Callable[[pa.Array], pa.Array] | None = None) -> Callable[[Batch], Mask]:
    """Whether `name` says something that `other` does not say already."""

    def differs(batch: Batch) -> Mask:
        mine, theirs = batch.column(name), batch.column(other)
        mine = pc.if_else(pc.is_valid(mine), mine, theirs)
        theirs = read(theirs) if read else theirs
        mine = read(mine) if read else mine
        return pc.coalesce(pc.not_equal(mine, theirs), pc.is_valid(mine)).to_numpy(zero_copy_only=False)

    return differs


def _other_than(name: str, *usual: str | float) -> Callable[[Batch], Mask]:
    """Whether the column holds something other than NULL, blank or the usual."""

    def differs(batch: Batch) -> Mask:
        column = batch.column(name)
        known: list[Any] = list(usual)
        if pa.types.is_string(column.type):
            known.append("")
            column = column.cast(pa.binary())
            values = pa.array([str(word).encode() for word in known], pa.binary())
        else:
            values = pa.array(known, column.type)
        return pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, values))).to_numpy(zero_copy_only=False)

    return differs


def _lowered(column: pa.Array) -> pa.Array:
    try:
        return pc.ascii_lower(pc.ascii_trim_whitespace(column))
    except pa.ArrowInvalid:  # bytes that are no UTF-8
        return column


# --- transactions ---------------------------------------------------------------------------------------------------

TRANSACTIONS: Final = Layout(
    name="transactions",
    kinds={
        "id": "int",
        "user_id": "int",
        "date": "time",
        "merchant": "text",
        "amount": "real",
        "category": "text",
        "description": "text",
        "investable": "real",
        "round_up": "real",
        "total_debit": "real",
        "ticker": "text",
        "shares": "real",
        "price_per_share": "real",
        "stock_price": "real",
        "status": "text",
        "fee": "real",
        "transaction_type": "text",
        "created_at": "time",
        "updated_at": "time",
        "round_up_amount": "real",
        "receipt_id": "text",
        "order_id": "text",
        "alpaca_order_id": "text",
        "account_type": "text",
    },
    rest={
        "stock_price": _said_twice("stock_price", "price_per_share"),
        "round_up_amount": lambda batch: (
            _said_twice("round_up_amount", "round_up")(batch) & _other_than("round_up_amount", 0.0)(batch)
        ),
        "receipt_id": _other_than("receipt_id"),
        "order_id": _other_than("order_id"),
        "alpaca_order_id": _other_than("alpaca_order_id"),
        "account_type": _other_than("account_type"),
    },
)


def _transaction_status(word: str | None) -> tuple[str, str, bool, bool]:
    """(our status, reason where it failed, whether the word is known, whether it was spelled differently)."""
    said = (word or "").strip().lower().replace("_", "-") or "pending"
    said = "needs_review" if said == "needs-review" else said
    ours = rules.TRANSACTION_STATUS.get(said)
    spelled = word is not None and word != said
    if ours is None:
        return "failed", f"unknown legacy status: {said}"[:255], False, spelled
    return ours, f"legacy status: {said}" if ours == "failed" else "", True, spelled


def transactions_convert(batch: Batch, *, users: Ids, keys: MerchantKeys, now: datetime) -> pa.Table:
    """Legacy transactions as rows of `transactions`, rejected rows left out."""
    user_ids, no_user = batch.integers("user_id")
    users_ours, gone = users.translate(user_ids)
    batch.reject("user gone", gone | no_user)

    dates, no_date = _first_moment(batch, ["date", "created_at"], now)
    batch.reject("no readable date", no_date)
    created, no_created = batch.moments("created_at")
    created = np.where(no_created, dates, created)
    updated, no_updated = batch.moments("updated_at")
    updated = np.where(no_updated, created, updated)

    amounts, no_amount = batch.cents("amount")
    batch.reject("no readable amount", no_amount)
    status, reasons, known, spelled = _named(batch, "status", _transaction_status)
    unknown = ~np.array(known, np.bool_)
    batch.repaired("status", np.array(spelled, np.bool_) | unknown, *())
    statuses = np.array(status, object)
    money = _transaction_money(batch, amounts, statuses)
    refunded = (money["amount"] < 0) & (statuses != "failed")
    statuses[refunded] = "refunded"
    nothing = (money["amount"] == 0) & np.isin(statuses, list(rules.OPEN_STATUSES))
    statuses[nothing] = "not_listed"  # manual submits of the legacy system: there is nothing to round up
    still_open = np.isin(statuses, list(rules.OPEN_STATUSES))
    _open_totals(batch, money, still_open)

    shares, no_shares = batch.scaled("shares", 8)
    prices, no_price = batch.scaled("price_per_share", 4)
    simulated = ~no_shares & ~no_price & (prices == 10_000)
    batch.repaired("simulated purchase", simulated)
    # "Shares" that repeat the dollars say nothing new; others are kept.
    for position in np.flatnonzero(simulated & (shares != money["investable"] * 1_000_000)).tolist():
        batch.keep[position].update({"shares", "price_per_share"} & set(batch.table.columns))
    no_shares, no_price = no_shares | simulated, no_price | simulated
    _keep_rest(batch, TRANSACTIONS)

    merchants = batch.filled("merchant", 255)
    columns = {
        "id": pa.array(batch.rowids),
        "date": timestamps(dates),
        "merchant": merchants,
        "merchant_key": keys.of(merchants),
        **{name: decimals(units, None, 2) for name, units in money.items()},
        "category": batch.filled("category", 100),
        "description": batch.filled("description", 500),
        "ticker": _tickers(batch, "ticker"),
        "shares": decimals(shares, no_shares, 8, precision=20),
        "price_per_share": decimals(prices, no_price, 4),
        "status": pa.array(statuses, pa.string()),
        "failure_reason": pa.array(reasons, pa.string()),
        "transaction_type": batch.filled("transaction_type", 20, "bank"),
        "source": pc.if_else(pa.array(still_open), OPEN, HISTORY),
        "priority": pa.array(np.full(len(batch), BULK_PRIORITY, np.int16)),
        "created_at": timestamps(created),
        "updated_at": timestamps(updated),
        "user_id": pa.array(users_ours),
    }
    return _kept(batch, columns)


def _transaction_money(batch: Batch, amounts: Ints, statuses: Any) -> dict[str, Ints]:
    """The money columns in cents; see the rules "sign" and "negative part"."""
    parts: dict[str, Ints] = {}
    for name in ("investable", "round_up", "fee"):
        units, none = batch.cents(name)
        negative = units < 0
        batch.repaired("negative part", negative, name)
        parts[name] = np.where(none | negative, 0, units)
    totals, no_total = batch.cents("total_debit")
    charges = parts["round_up"] + parts["fee"]
    flipped = (amounts < 0) & ~no_total & (totals == -amounts + charges)
    batch.repaired("sign", flipped)
    amounts = np.where(flipped, -amounts, amounts)
    parts["total_debit"] = np.where(no_total, amounts + charges, totals)
    batch.repaired("total", no_total)
    return {"amount": amounts, **parts}


def _open_totals(batch: Batch, money: dict[str, Ints], still_open: Mask) -> None:
    sums = money["amount"] + money["round_up"] + money["fee"]
    wrong = still_open & (money["total_debit"] != sums)
    batch.repaired("total", wrong, "total_debit")
    money["total_debit"] = np.where(wrong, sums, money["total_debit"])


# --- mappings -------------------------------------------------------------------------------------------------------

MAPPINGS: Final = Layout(
    name="llm_mappings",
    kinds={
        "id": "int",
        "transaction_id": "int",
        "merchant_name": "text",
        "ticker": "text",
        "category": "text",
        "confidence": "real",
        "status": "text",
        "admin_approved": "bool",
        "ai_processed": "bool",
        "company_name": "text",
        "user_id": "text",
        "created_at": "time",
        "dashboard_type": "text",
        "processed_at": "time",
        "ai_attempted": "bool",
        "ai_status": "text",
        "ai_confidence": "real",
        "ai_reasoning": "text",
        "ai_processing_time": "time",
        "ai_model_version": "text",
        "ai_auto_approved": "bool",
        "ai_processing_duration": "int",
        "ai_decision_timestamp": "time",
        "suggested_ticker": "text",
        "source_type": "text",
        "receipt_id": "text",
        "mapping_data": "text",
        "admin_id": "text",
        "usage_count": "int",
        "method": "text",
        "evidence": "text",
    },
    rest={
        "dashboard_type": _other_than("dashboard_type", "individual"),
        "ai_attempted": _said_twice("ai_attempted", "ai_processed"),
        "ai_status": _said_twice("ai_status", "status", _lowered),
        "ai_confidence": lambda batch: (
            _said_twice("ai_confidence", "confidence")(batch) & _other_than("ai_confidence", 0.0)(batch)
        ),
        "processed_at": _other_than("processed_at"),
        "ai_processing_time": _other_than("ai_processing_time"),
        "suggested_ticker": _said_twice("suggested_ticker", "ticker"),
        "source_type": _other_than("source_type", "system"),
        "receipt_id": _other_than("receipt_id"),
        "mapping_data": _other_than("mapping_data"),
        "admin_id": _other_than("admin_id"),
        "usage_count": _other_than("usage_count", 0, 1),
        "method": _other_than("method"),
        "evidence": _other_than("evidence"),
    },
)


def mappings_convert(batch: Batch, *, users: Ids, transaction_ids: Ids, keys: MerchantKeys, now: datetime) -> pa.Table:
    """Legacy mappings as rows of `llm_mappings`, rejected rows left out."""
    merchants = batch.filled("merchant_name", 255)
    batch.reject("no merchant", pc.equal(pc.utf8_trim_whitespace(merchants), "").to_numpy(zero_copy_only=False))
    created, no_created = _first_moment(
        batch, ["created_at", "ai_decision_timestamp", "processed_at", "ai_processing_time"], now
    )
    batch.reject("no readable date", no_created)
    decided, no_decided = batch.moments("ai_decision_timestamp")

    bulk = np.zeros(len(batch), np.bool_)
    for position, mark in batch.unread["transaction_id"].items():
        bulk[position] = (rules.text(mark)[0] or "").strip().lower().startswith("bulk_")
    # Reading the mark as a number failed and was counted as that; it is something else.
    batch.repairs["number"] -= int(bulk.sum())
    batch.repaired("bulk", bulk, "transaction_id", "user_id")
    transaction_links, no_link = batch.integers("transaction_id")
    _, link_gone = transaction_ids.translate(transaction_links)
    batch.repaired("transaction gone", link_gone & ~no_link, "transaction_id")

    status, approval = _decisions(batch)
    user_ids, no_user = _mapping_users(batch, users, bulk)
    confidence = _confidence(batch)
    took, no_took = batch.integers("ai_processing_duration")
    no_took = no_took | (took < 0) | (took > 2**31 - 1)
    _keep_rest(batch, MAPPINGS)
    columns = {
        "id": pa.array(batch.rowids),
        "transaction_id": pa.array(transaction_links, mask=no_link | link_gone),
        "merchant_name": merchants,
        "merchant_key": keys.of(merchants),
        "ticker": _tickers(batch, "ticker"),
        "category": batch.filled("category", 100),
        "confidence": decimals(confidence, None, 4, precision=5),
        "status": status,
        "admin_approved": approval,
        "ai_processed": pa.array(batch.booleans("ai_processed") == 1),
        "company_name": batch.filled("company_name", 200),
        "source": pc.if_else(pa.array(bulk), "bulk", HISTORY),
        "created_at": timestamps(created),
        "ai_model_version": batch.filled("ai_model_version", 100),
        "ai_reasoning": pc.fill_null(batch.texts("ai_reasoning"), ""),
        "ai_auto_approved": pa.array(batch.booleans("ai_auto_approved") == 1),
        "ai_processing_ms": pa.array(np.where(no_took, 0, took).astype(np.int32), mask=no_took),
        "ai_decided_at": timestamps(decided, no_decided),
        "user_id": pa.array(user_ids, mask=no_user),
    }
    return _kept(batch, columns)


def _mapping_word(word: str | None) -> tuple[str, bool]:
    """(the status as a word we know, whether it was spelled differently)."""
    said = (word or "").strip().lower().replace("_", "-")
    return (said if said in rules.MAPPING_KNOWN else "pending"), said != (word or "") or said not in rules.MAPPING_KNOWN


def _decisions(batch: Batch) -> tuple[pa.Array, pa.Array]:
    """(status, admin_approved) as they really stand; see the rule "approval"."""
    encoded = batch.texts("status").dictionary_encode()
    words = [_mapping_word(word) for word in [*encoded.dictionary.to_pylist(), None]]
    indices = pc.fill_null(encoded.indices, len(words) - 1).to_numpy()
    flags = batch.booleans("admin_approved")
    batch.repaired("status", np.array([odd for _, odd in words])[indices])
    says = np.array([1 if word in rules.MAPPING_APPROVED else -1 if word == "rejected" else 0 for word, _ in words])[
        indices
    ]
    decided = np.where((flags == -1) | (says == -1), -1, np.where((flags == 1) | (says == 1), 1, 0))
    batch.repaired("approval", flags != says)
    names = pa.array(["rejected", "pending", "approved"])
    return names.take(pa.array(decided + 1)), pa.array(decided == 1)


def _mapping_users(batch: Batch, users: Ids, bulk: Mask) -> tuple[Ints, Mask]:
    """(our user ids, where the mapping is nobody's)."""
    encoded = batch.texts("user_id").dictionary_encode()
    read: list[int] = []
    for cell in encoded.dictionary.to_pylist():
        said = (cell or "").strip().removesuffix(".0")
        read.append(int(said) if said.isascii() and said.isdigit() and len(said) < 19 else -1)
    ids = np.array([*read, -2], np.int64)[pc.fill_null(encoded.indices, len(read)).to_numpy()]
    ours, gone = users.translate(ids)
    batch.repaired("user_id", (ids == -1) & ~bulk, "user_id")
    batch.repaired("user gone", gone & (ids >= 0) & ~bulk, "user_id")
    return ours, gone | bulk


def _confidence(batch: Batch) -> Ints:
    """Ten-thousandths between 0 and 10,000; see the rule "confidence"."""
    values = pc.fill_null(batch.column("confidence"), 0.0).to_numpy(zero_copy_only=False)
    percent = values > 1
    nonsense = ~((values >= 0) & (values <= 100))
    batch.repaired("confidence", percent & ~nonsense)
    batch.repaired("confidence", nonsense, "confidence")
    values = np.where(nonsense, 0.0, values)
    return np.where(percent & ~nonsense, half_even(values, 2), half_even(np.where(percent, 0.0, values), 4))


# --- both -----------------------------------------------------------------------------------------------------------


def _keep_rest(batch: Batch, layout: Layout) -> None:
    """Keep cells of columns without a home where they say something of their own."""
    for name, says_more in layout.rest.items():
        if name not in batch.table.columns:
            continue
        for position in np.flatnonzero(says_more(batch)).tolist():
            batch.keep[position].add(name)


def _kept(batch: Batch, columns: dict[str, pa.Array]) -> pa.Table:
    """The columns as a table without the rejected rows."""
    table = pa.table(columns)
    if not batch.rejects:
        return table
    good = np.ones(len(batch), np.bool_)
    good[list(batch.rejects)] = False
    return table.filter(pa.array(good))
