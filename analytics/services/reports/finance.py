"""The finance report: a month of the ledger, fees, amortization and cost."""

import time
from dataclasses import astuple
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from django.utils import timezone

from analytics.errors import BooksOutOfBalanceError
from analytics.selectors.finance import COST_TARGETS, CostMonth, cost_by_month
from analytics.selectors.financial_statements import StatementRow, financial_statements
from analytics.selectors.periods import Period, month_bounds, month_name
from analytics.selectors.queries import ledger_counted_at
from analytics.services.ledger_days import update_ledger_days
from analytics.services.reports.output import Files, ProgressCallback, long_date, snapshot
from analytics.services.reports.pdf import Column, ReportPdf
from analytics.sql import load_sql
from kamioi_site.db.replica import primary_reads
from kamioi_site.formatting import money, number
from transactions.rules.money import ZERO

COUNT_SECONDS: Final = 1800.0
COUNT_PAUSE: Final = 10.0

_KINDS = """
    SELECT kind, debit_account, credit_account, sum(rows)::bigint, sum(amount) FROM ledger_days
    WHERE day >= %(first)s AND day <= %(last)s GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_CHARGES = """
    SELECT asset.asset_name, entry.amount, entry.credit_account FROM amortization_entries AS entry
    JOIN llm_data_assets AS asset ON asset.id = entry.asset_id
    WHERE entry.period = %(first)s AND NOT EXISTS (SELECT FROM amortization_reversals WHERE entry_id = entry.id)
    ORDER BY asset.asset_name, entry.id
"""
_ACCOUNT_COLUMNS: Final = (
    Column("Account", 44),
    Column("Name", 126),
    Column("Opening", 70, number=True),
    Column("Debit", 70, number=True),
    Column("Credit", 70, number=True),
    Column("Closing debit", 70, number=True),
    Column("Closing credit", 70, number=True),
)
_STATEMENT_COLUMNS: Final = (
    Column("Section", 90),
    Column("Account", 70),
    Column("Name", 250),
    Column("Dollars", 110, number=True),
)
_ENTRY_COLUMNS: Final = (
    Column("Kind", 130),
    Column("Debit", 70),
    Column("Credit", 70),
    Column("Entries", 110, number=True),
    Column("Dollars", 140, number=True),
)
_FEE_COLUMNS: Final = (
    Column("Day", 120),
    Column("Fees booked", 130, number=True),
    Column("Shares at cost", 135, number=True),
    Column("Fees", 135, number=True),
)
_CHARGE_COLUMNS: Final = (Column("Asset", 300), Column("Credited to", 110), Column("Dollars", 110, number=True))
_COST_COLUMNS: Final = (Column("Cost", 300), Column("Dollars", 110, number=True), Column("Target", 110, number=True))


@primary_reads()
def write_finance_report(files: Files, *, month: date, on_progress: ProgressCallback) -> int:
    """Write a month of the books; returns the number of bookings. Raises BooksOutOfBalanceError."""
    _count_ledger(until=timezone.now())
    first = month.replace(day=1)
    last = (month_bounds(month)[1] - timedelta(days=1)).date()
    statements = financial_statements(Period(first, last))
    costs, counted = cost_by_month(last=last, months=1), ledger_counted_at()
    with snapshot() as cursor:
        results = []
        for sql in (_KINDS, load_sql("finance_fees"), _CHARGES):
            cursor.execute(sql, {"first": first, "last": last})
            results.append(cursor.fetchall())
    kinds, days, charges = results
    accounts = statements.trial_balance
    if not statements.is_balanced:
        raise BooksOutOfBalanceError
    debit = sum((account.debit for account in accounts), ZERO)
    closing = sum((account.closing_debit for account in accounts), ZERO)
    fees, shares_cost = sum((row[2] for row in days), ZERO), sum((row[3] for row in days), ZERO)
    amortization = sum((row[1] for row in charges), ZERO)
    bookings = sum(row[3] for row in kinds)

    name = month_name(month)
    pdf = ReportPdf(files.pdf, title="Finance report", subject=name, footer=f"Kamioi · finance report {name}")
    pdf.stats(
        [
            ("Postings", f"{bookings:,}"),
            ("Amount posted", money(debit)),
            ("Fees earned", money(fees)),
            ("Amortization", money(amortization)),
        ]
    )
    pdf.paragraph(
        f"Includes postings made before {counted:%Y-%m-%d %H:%M} UTC." if counted else "No postings are included yet."
    )
    pdf.heading("Trial balance")
    pdf.table(
        _ACCOUNT_COLUMNS,
        [
            [
                a.number,
                a.name,
                *(number(v, 2) for v in (a.opening, a.debit, a.credit, a.closing_debit, a.closing_credit)),
            ]
            for a in accounts
        ],
        total=["Total", "", number(ZERO, 2), *(number(v, 2) for v in (debit, debit, closing, closing))],
    )
    pdf.heading(f"Balance sheet on {long_date(last)}")
    pdf.table(
        _STATEMENT_COLUMNS,
        _statement_rows(statements.balance_sheet),
        total=["Total assets", "", "equal to liabilities and equity", number(statements.assets, 2)],
    )
    pdf.heading("Profit and loss")
    pdf.table(
        _STATEMENT_COLUMNS,
        _statement_rows(statements.profit_and_loss),
        total=["Profit", "", "", number(statements.profit, 2)],
    )
    pdf.heading("Entries")
    pdf.table(
        _ENTRY_COLUMNS,
        [[kind, debit_, credit_, f"{rows:,}", number(moved, 2)] for kind, debit_, credit_, rows, moved in kinds],
        total=["Total", "", "", f"{bookings:,}", number(debit, 2)],
    )
    pdf.heading("Fees by day")
    pdf.table(
        _FEE_COLUMNS,
        [[f"{day}", f"{count:,}", number(cost, 2), number(fee, 2)] for day, count, fee, cost in days],
        total=["Total", f"{sum(row[1] for row in days):,}", number(shares_cost, 2), number(fees, 2)],
    )
    pdf.heading("Amortization of data assets")
    pdf.table(
        _CHARGE_COLUMNS,
        [[asset, account, number(charge, 2)] for asset, charge, account in charges],
        total=["Total", "", number(amortization, 2)],
    )
    pdf.heading("Cost")
    pdf.table(_COST_COLUMNS, [row for cost in costs for row in _cost_rows(cost)])
    pdf.build()

    counted_up_to = f"{counted:%Y-%m-%d %H:%M:%S}" if counted else ""
    files.line("Kamioi finance month", f"{month:%Y-%m}", "counted up to", counted_up_to)
    files.line()
    files.line("Account", "Name", "Type", "Opening", "Debit", "Credit", "Closing debit", "Closing credit")
    for account in accounts:
        files.line(*astuple(account))
    for headings, rows in (
        (("Balance sheet", "Account", "Name", "Amount"), map(astuple, statements.balance_sheet)),
        (("Profit and loss", "Account", "Name", "Amount"), map(astuple, statements.profit_and_loss)),
        (("Kind", "Debit account", "Credit account", "Entries", "Amount"), kinds),
        (("Day", "Fees booked", "Fees", "Shares at cost"), [(day.isoformat(), *values) for day, *values in days]),
        (("Asset", "Amortization", "Credited to"), charges),
    ):
        files.line()
        files.line(*headings)
        for row in rows:
            files.line(*row)
    on_progress(bookings)
    return bookings


def _statement_rows(rows: list[StatementRow]) -> list[list[str]]:
    return [[row.section, row.number, row.name, number(row.amount, 2)] for row in rows]


def _cost_rows(cost: CostMonth) -> list[list[str]]:
    transaction_target, user_target = COST_TARGETS

    def infrastructure(value: Decimal | None) -> str:
        return "not set" if value is None else number(value, 2)

    return [
        ["Language models", number(cost.llm_cost, 4), ""],
        ["Infrastructure", infrastructure(cost.infrastructure_cost), ""],
        ["Per transaction", number(cost.per_transaction, 6), f"< {transaction_target}"],
        ["Per active user", number(cost.per_user, 4), f"< {user_target}"],
    ]


def _count_ledger(*, until: datetime) -> None:
    """Count the ledger up to this moment, which waits for open transactions; gives up after `COUNT_SECONDS`."""
    deadline = time.monotonic() + COUNT_SECONDS
    while time.monotonic() < deadline:
        update_ledger_days(deadline=deadline)
        counted = ledger_counted_at()
        if counted is not None and counted >= until:
            return
        time.sleep(COUNT_PAUSE)
