"""What is done with invalid legacy data: one rule a kind, in words.

A rule either repairs a value, and is counted, or rejects the row to `migration_rejects` with the reason. Values that a
repair would lose (an unknown user id, text beyond the width of a column) are kept as JSON in `legacy_rows`.
`values` and `arrow_columns` apply the rules.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
MAX_FUTURE: Final = timedelta(days=366)
MAX_CENTS: Final = 10**14 - 1  # numeric(14,2)

REPAIRED: Final[dict[str, str]] = {
    "timestamp": (
        "A time in another format than 'YYYY-MM-DD HH:MM:SS' (ISO with T, Z, offset or fractions, a date alone, "
        "MM/DD/YYYY, a Unix number) is converted. A time without a zone is UTC: nothing in the file shows which "
        "rows the legacy system wrote in US Eastern time. MM/DD is tried before DD/MM, as in the legacy system. A "
        "date alone is midnight UTC."
    ),
    "time missing": (
        "A row without a valid time takes its other one (created_at, or the time of the decision); the original "
        "is kept in legacy_rows."
    ),
    "confidence": (
        "A confidence above 1 is a percentage and is divided by 100; '95%' is accepted; below 0 or above 100 becomes 0."
    ),
    "boolean": "0/1, true/false and yes/no are accepted in any case; NULL and anything else is false.",
    "money": "Money as text ('$12.50', '1,234.50', '(3.00)') is converted; binary noise is rounded half-even to cents.",
    "number": (
        "Other numbers stored as text are converted; text in an optional number becomes NULL, the original is kept "
        "in legacy_rows."
    ),
    "text": "NUL characters are removed; PostgreSQL cannot store them.",
    "encoding": "Bytes that are not UTF-8 are decoded as Windows-1252, else Latin-1.",
    "too long": "Text longer than its column is cut; the complete text is kept in legacy_rows.",
    "status": (
        "Statuses are compared without case and blanks. An unknown status of a transaction becomes 'failed' with "
        "the status as the reason; of a mapping, 'pending'."
    ),
    "approval": (
        "Where admin_approved and status contradict each other: rejected by either is rejected, else approved by "
        "either is approved, else pending."
    ),
    "user_id": (
        "A user id in a mapping that is not a number (blank, 'anonymous') becomes NULL; the original is kept in "
        "legacy_rows."
    ),
    "user gone": (
        "A mapping of a user that does not exist is kept without a user; the original id is kept in legacy_rows."
    ),
    "transaction gone": (
        "A mapping of a transaction that does not exist is kept without the link; the original id is kept in "
        "legacy_rows."
    ),
    "bulk": (
        "transaction_id 'bulk_…' marks an administrator's upload: source 'bulk', no user and no transaction; the "
        "mark is kept in legacy_rows."
    ),
    "ticker": (
        "Tickers are upper-cased and stripped; RETAIL, FOOD, ENERGY, HOTEL, AIRLINE and blank become NULL. "
        "Delisted tickers stay in the history and are never approved."
    ),
    "sign": (
        "A negative amount whose total_debit is |amount| + round-up + fee is a purchase from a business upload and "
        "becomes positive; other negative amounts are refunds."
    ),
    "simulated purchase": (
        "Shares at a price of exactly 1.00 were never bought: the row stays as history, shares and price become "
        "NULL (kept in legacy_rows)."
    ),
    "total": (
        "An open transaction whose total_debit is not amount + round-up + fee gets that sum; the original is kept "
        "in legacy_rows."
    ),
    "negative part": "A negative round-up, fee or investable amount becomes 0; the original is kept in legacy_rows.",
    "duplicate e-mail": (
        "Of users whose e-mails differ only in case, the one in lower case (else the first) keeps the address; the "
        "others get '+legacy<id>' before the @ and keep their money and password."
    ),
    "known e-mail": "A user or administrator whose e-mail already has an account in Kamioi is linked to that account.",
    "user number": (
        "A legacy id that another account of Kamioi already uses is replaced by a new one, recorded in legacy_ids."
    ),
    "password: plain text": "The password is hashed during the copy; the text is not written anywhere.",
    "password: SHA-256": "The unsalted hash is wrapped in a strong one and replaced at the next log-in.",
    "password: none": "No password: the account cannot log in until one is set.",
    "password: unknown": "A hash of an unknown kind is treated as no password.",
    "account type": "'user', 'admin' and unknown account types become 'individual'.",
    "round-up amount": "The user's round-up amount is rounded to whole dollars between 1 and 100.",
    "account number": "An account number that another user has is left out; the original is kept in legacy_rows.",
    "padded account": "Blanks around ledger account numbers are removed.",
    "setting": "A setting that Kamioi knows is set to the legacy value; an invalid value leaves Kamioi's own.",
}

REJECTED: Final[dict[str, str]] = {
    "user gone": "A transaction, holding or notification of a user that was not migrated.",
    "no readable amount": "A transaction whose amount is not a number, or beyond 999,999,999,999.99.",
    "no readable date": (
        "A row that needs a date (transactions, mappings) and has none, or one before 1990 or more than a year ahead."
    ),
    "no merchant": "A mapping without a merchant.",
    "no e-mail": "A user or administrator without an e-mail address.",
    "not a holding": "A portfolio row without a ticker, without shares, or with a cost of less than a cent.",
    "unbalanced": (
        "A journal entry whose debits and credits differ, or that names an account missing from the chart: the "
        "ledger would refuse it."
    ),
    "unreadable": "A row that SQLite cannot read or PostgreSQL refuses.",
}

# Tables that are not copied, on purpose.
LEFT_BEHIND: Final[dict[str, str]] = {
    "password_reset_tokens": "they open accounts; users request new ones",
    "llm_mappings_summary": "counters derived from llm_mappings",
    "sqlite_sequence": "internal to SQLite",
}
# Columns of `users` that are not copied, on purpose: Kamioi does not need them.
PERSONAL: Final = ("ssn_last4", "date_of_birth", "dob")
