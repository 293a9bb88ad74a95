"""The reconciliation report: the whole ledger against holdings and transactions."""

from collections import Counter
from datetime import date
from typing import Final

from django.utils import timezone

from analytics.selectors.periods import month_name
from analytics.services.reports.output import Files, ProgressCallback, snapshot
from analytics.services.reports.pdf import Column, ReportPdf
from analytics.sql import load_sql
from kamioi_site.formatting import money
from transactions.services.ledger_verification import CHECKS, find_ledger_problems

MAX_PDF_PROBLEMS: Final = 500  # the CSV lists all

_COMPLETED = """
    SELECT coalesce(sum(rows), 0)::bigint, coalesce(sum(investable), 0.00), coalesce(sum(fee), 0.00)
    FROM transaction_days WHERE status = 'completed'
"""
_CHECK_COLUMNS: Final = (Column("Check", 330), Column("Result", 95), Column("Differences", 95, number=True))
_TOTAL_COLUMNS: Final = (Column("Total", 330), Column("Rows", 80, number=True), Column("Dollars", 110, number=True))
_PROBLEM_COLUMNS: Final = (
    Column("Check", 62),
    Column("User", 50),
    Column("Subject", 118),
    Column("Actual", 145),
    Column("Expected", 145),
)


def write_reconciliation_report(files: Files, *, month: date, on_progress: ProgressCallback) -> int:
    """Check the whole ledger against holdings and transactions; returns the number of differences."""
    checked_at = timezone.now()
    files.line("Kamioi reconciliation", f"{month:%Y-%m}", "checked", f"{checked_at:%Y-%m-%d %H:%M:%S} UTC")
    files.line()
    files.line("Check", "User", "What", "Found", "Expected")
    counts: Counter[str] = Counter()
    listed: list[list[str]] = []
    for problem in find_ledger_problems():
        row = [problem.problem, problem.user_id, problem.subject, problem.found, problem.expected]
        files.line(*row)
        counts[problem.problem] += 1
        if len(listed) < MAX_PDF_PROBLEMS:
            listed.append([str(cell) for cell in row])
        if counts.total() % 10_000 == 0:
            on_progress(counts.total())
    with snapshot() as cursor:
        cursor.execute(load_sql("reconciliation_totals"))
        holdings, cost, purchases, bought, entries, moved = cursor.fetchone()
        cursor.execute(_COMPLETED)
        completed, invested, fees = cursor.fetchone()
    total, name = counts.total(), month_name(month)

    pdf = ReportPdf(files.pdf, title="Reconciliation", subject=name, footer=f"Kamioi · reconciliation {name}")
    pdf.stats(
        [
            ("Differences", f"{total:,}"),
            ("Ledger entries", f"{entries:,}"),
            ("Holdings", f"{holdings:,}"),
            ("Cost of holdings", money(cost)),
        ]
    )
    pdf.paragraph(f"Checked at {checked_at:%Y-%m-%d %H:%M} UTC against every holding, transaction and ledger entry.")
    pdf.heading("Checks")
    pdf.table(
        _CHECK_COLUMNS,
        [[label, "differs" if counts[check] else "agrees", f"{counts[check]:,}"] for check, label in CHECKS.items()],
        total=["Total", "differs" if total else "agrees", f"{total:,}"],
    )
    pdf.heading("Totals")
    pdf.table(
        _TOTAL_COLUMNS,
        [
            ["Ledger: entries and amount booked", f"{entries:,}", money(moved)],
            ["Ledger: share purchases, less contra entries", f"{purchases:,}", money(bought)],
            ["Holdings at cost", f"{holdings:,}", money(cost)],
            ["Completed transactions: invested (as last counted)", f"{completed:,}", money(invested)],
            ["Completed transactions: fees (as last counted)", "", money(fees)],
        ],
    )
    pdf.heading("Differences")
    pdf.table(_PROBLEM_COLUMNS, listed)
    if total > len(listed):
        pdf.paragraph(f"The first {len(listed):,} of {total:,}; the CSV lists all.")
    pdf.build()

    files.line()
    files.line("Side", "Rows", "Dollars")
    files.line("ledger entries", entries, moved)
    files.line("ledger purchases", purchases, bought)
    files.line("holdings at cost", holdings, cost)
    files.line("completed, invested", completed, invested)
    files.line("completed, fees", completed, fees)
    on_progress(total)
    return total
