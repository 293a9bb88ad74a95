"""A customer's account statement: a month of transactions, holdings and ledger totals.

It is written only if the ledger and the transactions of the month agree to the cent.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from analytics.errors import BooksOutOfBalanceError
from analytics.selectors.periods import month_bounds, month_name
from analytics.services.reports.output import Files, ProgressCallback, long_date, snapshot
from analytics.services.reports.pdf import Column, ReportPdf
from analytics.sql import load_sql
from kamioi_site.formatting import money, number
from transactions.models import Transaction, User
from transactions.rules.money import CENT, ZERO, rounded

PAGE: Final = 2_000  # rows per query


@dataclass(frozen=True, slots=True)
class StatementTotals:
    """Dollars of a customer's month; `legacy_…` were invested by the legacy system and are in its ledger."""

    purchases: int
    spent: Decimal
    refunds: int
    refunded: Decimal
    invested_count: int
    round_ups: Decimal
    fees: Decimal
    invested: Decimal
    legacy_round_ups: Decimal
    legacy_fees: Decimal
    legacy_invested: Decimal
    waiting: int
    waiting_round_ups: Decimal


@dataclass(frozen=True, slots=True)
class LedgerTotals:
    """What the ledger has for a customer's purchases of a month, less contra entries; dollars."""

    round_ups: Decimal
    fees: Decimal
    invested: Decimal

    def agree_with(self, totals: StatementTotals) -> bool:
        return (self.round_ups, self.fees, self.invested) == (totals.round_ups, totals.fees, totals.invested)


@dataclass(frozen=True, slots=True)
class StatementHolding:
    """Shares of a company at the end of a month; price and value are None without a quote before it."""

    ticker: str
    name: str
    shares: Decimal
    cost: Decimal
    price: Decimal | None

    @property
    def value(self) -> Decimal | None:
        return None if self.price is None else rounded(self.shares * self.price, CENT)


_ROWS = """
    SELECT date, id, merchant, category, amount, round_up, fee, investable, ticker, shares, price_per_share, status,
           source
    FROM transactions
    WHERE user_id = %(user)s AND date >= %(start)s AND date < %(end)s AND (date, id) > (%(date)s, %(id)s)
      AND status <> 'undone'
    ORDER BY date, id LIMIT %(limit)s
"""
_STATUS_LABELS: Final = {
    "completed": "invested",
    "not_listed": "not listed",
    "needs_review": "in review",
    "pending": "pending",
    "mapped": "ordered",
    "awaiting_price": "awaiting price",
    "on_hold": "on hold",
    "excluded": "not a purchase",
    "refunded": "refund",
    "undone": "undone",
    "failed": "failed",
}
_TRANSACTION_COLUMNS: Final = (
    Column("Date", 44),
    Column("Merchant", 148),
    Column("Purchase", 58, number=True),
    Column("Round-up", 50, number=True),
    Column("Fee", 38, number=True),
    Column("Bought", 42),
    Column("Shares", 66, number=True),
    Column("Status", 74),
)
_HOLDING_COLUMNS: Final = (
    Column("Ticker", 56),
    Column("Company", 176),
    Column("Shares", 82, number=True),
    Column("Cost", 66, number=True),
    Column("Price", 66, number=True),
    Column("Value", 74, number=True),
)


def write_account_statement(files: Files, *, user: User, month: date, on_progress: ProgressCallback) -> int:
    """Write a customer's month; returns the number of transactions. Raises BooksOutOfBalanceError."""
    start, end = month_bounds(month)
    bounds: dict[str, Any] = {"user": user.pk, "start": start, "end": end}
    with snapshot() as cursor:
        cursor.execute(load_sql("statement_totals"), bounds)
        totals = StatementTotals(*cursor.fetchone())
        cursor.execute(load_sql("statement_ledger"), bounds)
        ledger = LedgerTotals(*cursor.fetchone())
        if not ledger.agree_with(totals):
            raise BooksOutOfBalanceError
        cursor.execute(load_sql("statement_holdings"), bounds)
        holdings = [StatementHolding(*row) for row in cursor.fetchall()]
        account = user.account_number or str(user.pk)
        pdf = ReportPdf(
            files.pdf,
            title="Account statement",
            subject=month_name(month),
            footer=f"Kamioi account {account} · {month_name(month)}",
        )
        last_day = (end - timedelta(days=1)).date()
        _add_summary(pdf, user, last_day, totals, holdings)
        _add_holdings(pdf, holdings, last_day)
        pdf.heading("Transactions")
        round_ups, fees = totals.round_ups + totals.legacy_round_ups, totals.fees + totals.legacy_fees
        table = pdf.table(
            _TRANSACTION_COLUMNS,
            _transaction_rows(cursor, files, bounds, on_progress),
            total=["Total", "invested", "", number(round_ups, 2), number(fees, 2), "", "", ""],
        )
        pdf.heading("Ledger summary")
        pdf.table((Column("Entry", 420), Column("Dollars", 100, number=True)), _ledger_rows(totals, ledger))
        pdf.paragraph(
            "The round-ups, fees and purchases above are the ledger entries of this account; they agree with the "
            "transactions to the cent. Round-ups of waiting transactions are not included in the totals. Prices are "
            "the last quotes before the end of the month; the value of the holdings changes with them. "
            "This is not a tax document."
        )
        files.line("Kamioi account statement", f"{month:%Y-%m}", user.name, user.email, account)
        files.line()
        files.line(
            *("Id", "Date (UTC)", "Merchant", "Category", "Amount", "Round-up", "Fee", "Invested", "Ticker"),
            *("Shares", "Price", "Status", "Source"),
        )
        pdf.build()  # reads the transactions, and writes their CSV lines
        _write_csv_totals(files, totals, holdings)
    return table.count


def _add_summary(
    pdf: ReportPdf, user: User, last_day: date, totals: StatementTotals, holdings: Sequence[StatementHolding]
) -> None:
    place = ", ".join(part for part in (user.city, f"{user.state} {user.zip_code}".strip()) if part)
    pdf.address(
        [user.name or user.email, user.email if user.name else "", place],
        [
            ("Account", user.account_number or str(user.pk)),
            ("Account type", user.get_account_type_display()),
            ("Period", f"{last_day:%b} 1 to {last_day:%b} {last_day.day}, {last_day.year}"),
            ("Issued", long_date(timezone.now())),
        ],
    )
    pdf.stats(
        [
            ("Spent", money(totals.spent)),
            ("Round-ups", money(totals.round_ups + totals.legacy_round_ups)),
            ("Fees", money(totals.fees + totals.legacy_fees)),
            ("Invested", money(totals.invested + totals.legacy_invested)),
            ("Purchases", f"{totals.purchases:,}"),
            ("Refunds", f"{totals.refunds:,} ({money(-totals.refunded)})"),
            ("Waiting", f"{totals.waiting:,} ({money(totals.waiting_round_ups)})"),
            ("Value of holdings", money(_total_value(holdings), 2)),
        ]
    )


def _total_value(holdings: Sequence[StatementHolding]) -> Decimal | None:
    """Add up the known values; None if there are holdings and no value is known."""
    values = [holding.value for holding in holdings if holding.value is not None]
    return sum(values, ZERO) if values or not holdings else None


def _add_holdings(pdf: ReportPdf, holdings: Sequence[StatementHolding], last_day: date) -> None:
    pdf.heading(f"Holdings on {long_date(last_day)}")
    cost = sum((holding.cost for holding in holdings), ZERO)
    pdf.table(
        _HOLDING_COLUMNS,
        [
            [h.ticker, h.name, number(h.shares, 8), number(h.cost, 2), number(h.price, 4), number(h.value, 2)]
            for h in holdings
        ],
        total=["Total", "", "", number(cost, 2), "", number(_total_value(holdings), 2)],
    )


def _transaction_rows(
    cursor: CursorWrapper, files: Files, bounds: dict[str, Any], on_progress: ProgressCallback
) -> Iterator[list[str]]:
    """Yield the rows of the PDF, oldest first, and write each to the CSV."""
    last_key, written = (bounds["start"] - timedelta(seconds=1), 0), 0
    while True:
        cursor.execute(_ROWS, {**bounds, "date": last_key[0], "id": last_key[1], "limit": PAGE})
        rows = cursor.fetchall()
        for (
            moment,
            pk,
            merchant,
            category,
            spent,
            round_up,
            fee,
            investable,
            ticker,
            shares,
            price,
            status,
            source,
        ) in rows:
            at = moment.astimezone(UTC)
            files.line(
                pk,
                f"{at:%Y-%m-%d %H:%M:%S}",
                merchant,
                category,
                spent,
                round_up,
                fee,
                investable,
                ticker or "",
                "" if shares is None else shares,
                "" if price is None else price,
                status,
                source,
            )
            is_invested = status == Transaction.Status.COMPLETED
            yield [
                f"{at:%b} {at.day}",
                merchant,
                number(spent, 2),
                number(round_up, 2) if is_invested else "",
                number(fee, 2) if is_invested else "",
                ticker or "",
                number(shares, 8) if shares else "",
                _STATUS_LABELS.get(status, status),
            ]
        written += len(rows)
        on_progress(written)
        if len(rows) < PAGE:
            return
        last_key = rows[-1][0], rows[-1][1]


def _ledger_rows(totals: StatementTotals, ledger: LedgerTotals) -> list[list[str]]:
    invested = f" ({totals.invested_count:,} purchases invested)" if totals.invested_count else ""
    rows = [
        ["Round-ups", number(ledger.round_ups, 2)],
        ["Shares bought, at cost", number(ledger.invested, 2)],
        [f"Platform fees{invested}", number(ledger.fees, 2)],
    ]
    if totals.legacy_invested or totals.legacy_fees:
        rows.append(["Invested by the legacy system", number(totals.legacy_invested, 2)])
        rows.append(["Fees of the legacy system", number(totals.legacy_fees, 2)])
    return rows


def _write_csv_totals(files: Files, totals: StatementTotals, holdings: Sequence[StatementHolding]) -> None:
    round_ups, fees = totals.round_ups + totals.legacy_round_ups, totals.fees + totals.legacy_fees
    invested = totals.invested + totals.legacy_invested
    files.line()
    files.line("Total", "", "purchases", totals.purchases, totals.spent)
    files.line("Total", "", "refunds", totals.refunds, totals.refunded)
    files.line("Total", "", "invested", totals.invested_count, "", round_ups, fees, invested)
    files.line()
    files.line("Holding", "Company", "Shares", "Cost", "Price", "Value")
    for holding in holdings:
        files.line(holding.ticker, holding.name, holding.shares, holding.cost, holding.price, holding.value)
