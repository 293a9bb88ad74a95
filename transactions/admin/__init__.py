"""Admin pages of this app, by subject."""

from transactions.admin import (
    audit,
    books,
    jobs,
    migration,
    periods,
    reference,
    schedule,
    statements,
    transactions,
    users,
)

__all__ = [
    "audit",
    "books",
    "jobs",
    "migration",
    "periods",
    "reference",
    "schedule",
    "statements",
    "transactions",
    "users",
]
