"""What stands in a report: read from the books, written to a PDF and a CSV side by side.

Each report is read in one snapshot of the database, so that its parts fit each other whatever happens meanwhile. Amounts are
the books' own decimals, never floats. A statement is printed only if the books and the transactions of the month say
the same to the cent. Rows are read in pages by key and written as they come: memory does not follow their number.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import IO, Any, Final

from dateutil.relativedelta import relativedelta
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from analytics.errors import BooksOutOfBalanceError
from analytics.selectors import finance, periods, queries
from analytics.services.ledger_days import update_ledger_days
from analytics.services.pdf import Column, PdfDocument
from kamioi_site.db.replica import primary_reads
from kamioi_site.http.downloads import csv_line
from transactions.models import Transaction, User
from transactions.rules.money import CENT, ZERO, rounded
from transactions.services.ledger_verification import find_ledger_problems

PAGE: Final = 2_000
"""Rows read at once."""
COUNT_SECONDS: Final = 1800.0
COUNT_PAUSE: Final = 10.0
SHOWN_PROBLEMS: Final = 500
"""Disagreements in the PDF of a reconciliation; its CSV has all."""
TARGET_PER_TRANSACTION, TARGET_PER_USER = finance.COST_TARGETS

ProgressCallback = Callable[[int], None]
"""Called with the number of rows written so far."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where a report is written to: a binary file for the PDF, a text file for the CSV."""

    pdf: IO[bytes]
    csv: IO[str]

    def line(self, *cells: Any) -> None:
        """One line of the CSV; no text of it runs as a formula."""
        self.csv.write(csv_line(cells))


def month_bounds(month: date) -> tuple[datetime, datetime]:
    """Midnight UTC of its first day, and of the next month's."""
    start = datetime(month.year, month.month, 1, tzinfo=UTC)
    return start, start + relativedelta(months=1)


def month_name(month: date) -> str:
    """October 2026"""
    return f"{month:%B %Y}"


@contextmanager
def _snapshot() -> Iterator[CursorWrapper]:
    """One state of the database for everything that is read in the block; of the primary, as a document is kept for good."""
    inside = connection.in_atomic_block  # then the caller's transaction is what there is
    with primary_reads(), transaction.atomic(), connection.cursor() as cursor:
        if not inside:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield cursor


def dollars(value: Decimal) -> str:
    """$1,234.50, −$3.00: for the PDF, whose fonts have no other minus than the hyphen."""
    return f"{'-' if value < 0 else ''}${abs(value):,.2f}"


def _shares(value: Decimal) -> str:
    return f"{value:,.8f}"


# --- A customer's month -----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class StatementTotals:
    """Dollars of a customer's month. `legacy_…` were invested by the system before this one, and stand in its books."""

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
class Books:
    """What the ledger says of a customer's month, contra entries taken off; dollars."""

    round_ups: Decimal
    fees: Decimal
    bought: Decimal
    rounding: Decimal


@dataclass(frozen=True, slots=True)
class Held:
    """Shares of a company at the end of a month; worth at the last quote before it, None without one."""

    ticker: str
    name: str
    shares: Decimal
    cost: Decimal
    price: Decimal | None
    value: Decimal | None


# A purchase that was taken to the books is completed and has something to invest; of the legacy's, the books have an opening.
_TOTALS = """
    SELECT count(*) FILTER (WHERE amount > 0), coalesce(sum(amount) FILTER (WHERE amount > 0), 0.00),
           count(*) FILTER (WHERE amount < 0), coalesce(sum(amount) FILTER (WHERE amount < 0), 0.00),
           count(*) FILTER (WHERE status = 'completed' AND investable > 0),
           coalesce(sum(round_up) FILTER (WHERE booked), 0.00), coalesce(sum(fee) FILTER (WHERE booked), 0.00),
           coalesce(sum(investable) FILTER (WHERE booked), 0.00),
           coalesce(sum(round_up) FILTER (WHERE legacy), 0.00), coalesce(sum(fee) FILTER (WHERE legacy), 0.00),
           coalesce(sum(investable) FILTER (WHERE legacy), 0.00),
           count(*) FILTER (WHERE waits), coalesce(sum(round_up) FILTER (WHERE waits), 0.00)
    FROM (
        SELECT *, status = 'completed' AND source <> 'legacy' AND investable > 0 AS booked,
               status = 'completed' AND source = 'legacy' AS legacy,
               status IN ('pending', 'mapped', 'needs_review', 'awaiting_price') AS waits
        FROM transactions WHERE user_id = %(user)s AND date >= %(start)s AND date < %(end)s
    ) AS month
"""
_BOOKS = """
    SELECT coalesce(sum(signed) FILTER (WHERE base = 'round_up'), 0.00), coalesce(sum(signed) FILTER (WHERE base = 'fee'), 0.00),
           coalesce(sum(signed) FILTER (WHERE base = 'purchase'), 0.00),
           coalesce(sum(CASE WHEN '29900' IN (debit_account, credit_account)
                             THEN CASE credit_account WHEN '29900' THEN amount ELSE -amount END END)
                    FILTER (WHERE base = 'rounding'), 0.00)
    FROM (
        SELECT amount, debit_account, credit_account, CASE WHEN starts_with(kind, 'undo_') THEN -amount ELSE amount END AS signed,
               rtrim(CASE WHEN starts_with(kind, 'undo_') THEN substr(kind, 6) ELSE kind END, '_23456789') AS base
        FROM ledger_transfers
        WHERE user_id = %(user)s AND date >= %(start)s AND date < %(end)s AND transaction_id IS NOT NULL
    ) AS month
"""
_HELD = """
    SELECT owned.ticker, coalesce(nullif(companies.name, ''), owned.ticker), owned.shares, owned.cost, quote.price
    FROM (
        SELECT ticker, sum(CASE WHEN starts_with(kind, 'undo_') THEN -shares ELSE shares END) AS shares,
               sum(CASE WHEN starts_with(kind, 'undo_') THEN -amount ELSE amount END) AS cost
        FROM ledger_transfers
        WHERE user_id = %(user)s AND date < %(end)s AND shares IS NOT NULL GROUP BY ticker
    ) AS owned
    LEFT JOIN companies ON companies.ticker = owned.ticker
    LEFT JOIN LATERAL (
        SELECT price FROM stock_prices WHERE stock_prices.ticker = owned.ticker AND as_of < %(end)s ORDER BY as_of DESC LIMIT 1
    ) AS quote ON true
    WHERE owned.shares <> 0 ORDER BY owned.ticker
"""
_ROWS = """
    SELECT date, id, merchant, category, amount, round_up, fee, investable, ticker, shares, price_per_share, status, source
    FROM transactions
    WHERE user_id = %(user)s AND date >= %(start)s AND date < %(end)s AND (date, id) > (%(date)s, %(id)s)
    ORDER BY date, id LIMIT %(most)s
"""
_WORDS: Final = {
    "completed": "invested",
    "not_listed": "not listed",
    "needs_review": "in review",
    "pending": "in work",
    "mapped": "ordered",
    "awaiting_price": "waits for price",
    "refunded": "refund",
    "failed": "failed",
}
_STATEMENT: Final = (
    Column("Date", 44),
    Column("Merchant", 148),
    Column("Purchase", 58, number=True),
    Column("Round-up", 50, number=True),
    Column("Fee", 38, number=True),
    Column("Bought", 42),
    Column("Shares", 66, number=True),
    Column("Status", 74),
)
_HOLDINGS: Final = (
    Column("Ticker", 56),
    Column("Company", 176),
    Column("Shares", 82, number=True),
    Column("Cost", 66, number=True),
    Column("Quote", 66, number=True),
    Column("Worth", 74, number=True),
)


def write_account_statement(files: Files, *, user: User, month: date, on_progress: ProgressCallback) -> int:
    """A customer's month; returns the number of transactions. Raises BooksOutOfBalanceError."""
    start, end = month_bounds(month)
    bounds: dict[str, Any] = {"user": user.pk, "start": start, "end": end}
    with _snapshot() as cursor:
        cursor.execute(_TOTALS, bounds)
        totals = StatementTotals(*cursor.fetchone())
        cursor.execute(_BOOKS, bounds)
        books = Books(*cursor.fetchone())
        if (totals.round_ups, totals.fees, totals.invested) != (
            books.round_ups,
            books.fees,
            books.bought + books.rounding,
        ):
            raise BooksOutOfBalanceError
        cursor.execute(_HELD, bounds)
        held = [
            Held(ticker, name, shares, cost, price, None if price is None else rounded(shares * price, CENT))
            for ticker, name, shares, cost, price in cursor.fetchall()
        ]
        paper = PdfDocument(
            files.pdf,
            title="Account statement",
            subject=month_name(month),
            foot=f"Kamioi account {user.account_number or user.pk} · {month_name(month)}",
        )
        _statement_head(paper, user, month, totals, held)
        _statement_holdings(paper, held, end)
        paper.heading("Transactions")
        _csv_statement_head(files, user, month)
        rows = _statement_rows(cursor, files, bounds, on_progress)
        round_ups, fees = totals.round_ups + totals.legacy_round_ups, totals.fees + totals.legacy_fees
        count = paper.table(
            _STATEMENT, rows, total=["Total", "invested", "", f"{round_ups:,.2f}", f"{fees:,.2f}", "", "", ""]
        )
        paper.heading("The month in the books")
        paper.table((Column("Entry", 420), Column("Dollars", 100, number=True)), list(_books_rows(totals, books)))
        paper.paragraph(
            "Round-ups, fees and purchases above are the entries of the ledger of this account; they agree with the "
            "transactions to the cent. Round-ups of transactions that are still waiting are not in the totals. Quotes are the "
            "last ones before the end of the month; what holdings are worth changes with them. This is no tax document."
        )
        paper.finish()
        _csv_statement_foot(files, totals, held)
    return count


def _statement_head(paper: PdfDocument, user: User, month: date, totals: StatementTotals, held: Sequence[Held]) -> None:
    start, end = month_bounds(month)
    place = ", ".join(part for part in (user.city, f"{user.state} {user.zip_code}".strip()) if part)
    paper.address(
        [user.name or user.email, user.email if user.name else "", place],
        [
            ("Account", user.account_number or str(user.pk)),
            ("Kind of account", user.get_account_type_display()),
            (
                "Period",
                f"{start:%b} {start.day} to {end - timedelta(days=1):%b} {(end - timedelta(days=1)).day}, {month.year}",
            ),
            ("Made on", f"{timezone.now():%B} {timezone.now().day}, {timezone.now().year}"),
        ],
    )
    worth = sum((row.value for row in held if row.value is not None), ZERO)
    paper.figures(
        [
            ("Spent", dollars(totals.spent)),
            ("Set aside", dollars(totals.round_ups + totals.legacy_round_ups)),
            ("Fees", dollars(totals.fees + totals.legacy_fees)),
            ("Invested", dollars(totals.invested + totals.legacy_invested)),
            ("Purchases", f"{totals.purchases:,}"),
            ("Refunds", f"{totals.refunds:,} ({dollars(-totals.refunded)})"),
            ("Waiting", f"{totals.waiting:,} ({dollars(totals.waiting_round_ups)})"),
            ("Holdings are worth", dollars(worth)),
        ]
    )


def _statement_holdings(paper: PdfDocument, held: Sequence[Held], end: datetime) -> None:
    paper.heading(
        f"Holdings on {end - timedelta(days=1):%B} {(end - timedelta(days=1)).day}, {(end - timedelta(days=1)).year}"
    )
    worth = sum((row.value for row in held if row.value is not None), ZERO)
    paper.table(
        _HOLDINGS,
        [
            [
                row.ticker,
                row.name,
                _shares(row.shares),
                f"{row.cost:,.2f}",
                "–" if row.price is None else f"{row.price:,.4f}",
                "–" if row.value is None else f"{row.value:,.2f}",
            ]
            for row in held
        ],
        total=["Total", "", "", f"{sum((row.cost for row in held), ZERO):,.2f}", "", f"{worth:,.2f}"],
    )


def _statement_rows(
    cursor: CursorWrapper, files: Files, bounds: dict[str, Any], on_progress: ProgressCallback
) -> Iterator[list[str]]:
    """Rows for the PDF, oldest first; each is written to the CSV as it passes."""
    last, written = (bounds["start"] - timedelta(seconds=1), 0), 0
    while True:
        cursor.execute(_ROWS, {**bounds, "date": last[0], "id": last[1], "most": PAGE})
        rows = cursor.fetchall()
        for (
            at,
            pk,
            merchant,
            category,
            amount,
            round_up,
            fee,
            investable,
            ticker,
            shares,
            price,
            status,
            source,
        ) in rows:
            counts = status == Transaction.Status.COMPLETED
            files.line(
                pk,
                f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
                merchant,
                category,
                amount,
                round_up,
                fee,
                investable,
                ticker or "",
                "" if shares is None else shares,
                "" if price is None else price,
                status,
                source,
            )
            day = at.astimezone(UTC)
            yield [
                f"{day:%b} {day.day}",
                merchant,
                f"{amount:,.2f}",
                f"{round_up:,.2f}" if counts else "",
                f"{fee:,.2f}" if counts else "",
                ticker or "",
                _shares(shares) if shares else "",
                _WORDS.get(status, status),
            ]
        written += len(rows)
        on_progress(written)
        if len(rows) < PAGE:
            return
        last = rows[-1][0], rows[-1][1]


def _books_rows(totals: StatementTotals, books: Books) -> Iterator[list[str]]:
    yield ["Round-ups set aside", f"{books.round_ups:,.2f}"]
    yield ["Shares bought, at cost", f"{books.bought:,.2f}"]
    yield ["Left by the rounding of shares", f"{books.rounding:,.2f}"]
    each = f" ({totals.invested_count:,} purchases invested)" if totals.invested_count else ""
    yield [f"Platform fees{each}", f"{books.fees:,.2f}"]
    if totals.legacy_invested or totals.legacy_fees:
        yield ["Invested by the system before this one", f"{totals.legacy_invested:,.2f}"]
        yield ["Fees of the system before this one", f"{totals.legacy_fees:,.2f}"]


def _csv_statement_head(files: Files, user: User, month: date) -> None:
    files.line("Kamioi account statement", f"{month:%Y-%m}", user.name, user.email, user.account_number or str(user.pk))
    files.line()
    files.line(
        "Id",
        "Date (UTC)",
        "Merchant",
        "Category",
        "Amount",
        "Round-up",
        "Fee",
        "Invested",
        "Ticker",
        "Shares",
        "Price",
        "Status",
        "Source",
    )


def _csv_statement_foot(files: Files, totals: StatementTotals, held: Sequence[Held]) -> None:
    files.line()
    files.line("Total", "", "purchases", totals.purchases, totals.spent)
    files.line("Total", "", "refunds", totals.refunds, totals.refunded)
    files.line(
        "Total",
        "",
        "invested",
        totals.invested_count,
        "",
        totals.round_ups + totals.legacy_round_ups,
        totals.fees + totals.legacy_fees,
        totals.invested + totals.legacy_invested,
    )
    files.line()
    files.line("Holding", "Company", "Shares", "Cost", "Quote", "Worth")
    for row in held:
        files.line(row.ticker, row.name, row.shares, row.cost, row.price, row.value)


# --- A month of the books ---------------------------------------------------------------------------------------------
_CHARGES = """
    SELECT asset.asset_name, entry.amount, entry.credit_account FROM amortization_entries AS entry
    JOIN llm_data_assets AS asset ON asset.id = entry.asset_id
    WHERE entry.period = %(month)s AND entry.reversed_at IS NULL ORDER BY asset.asset_name, entry.id
"""
_KINDS = """
    SELECT kind, debit_account, credit_account, sum(rows)::bigint, sum(amount) FROM ledger_days
    WHERE day >= %(first)s AND day <= %(last)s GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
# Contra entries taken off, on the day of the booking.
_FEES = """
    SELECT day, coalesce(sum(n * rows) FILTER (WHERE base = 'fee'), 0)::bigint, coalesce(sum(n * amount) FILTER (WHERE base = 'fee'), 0.00),
           coalesce(sum(n * amount) FILTER (WHERE base = 'purchase'), 0.00)
    FROM (
        SELECT day, rows, amount, CASE WHEN starts_with(kind, 'undo_') THEN -1 ELSE 1 END AS n,
               rtrim(CASE WHEN starts_with(kind, 'undo_') THEN substr(kind, 6) ELSE kind END, '_23456789') AS base
        FROM ledger_days WHERE day >= %(first)s AND day <= %(last)s
    ) AS bookings
    WHERE base IN ('fee', 'purchase') GROUP BY day ORDER BY day
"""
_ACCOUNTS: Final = (
    Column("Account", 52),
    Column("Name", 152),
    Column("Opening", 80, number=True),
    Column("Debit", 78, number=True),
    Column("Credit", 78, number=True),
    Column("Closing", 80, number=True),
)
_ENTRIES: Final = (
    Column("Kind", 130),
    Column("Debit", 70),
    Column("Credit", 70),
    Column("Entries", 110, number=True),
    Column("Dollars", 140, number=True),
)


@primary_reads()
def write_finance_report(files: Files, *, month: date, on_progress: ProgressCallback) -> int:
    """A month of the books: accounts, entries, fees, amortization, cost; returns the number of bookings. Raises BooksOutOfBalanceError."""
    _ledger_count(until=timezone.now())
    first = month.replace(day=1)
    last = first + relativedelta(months=1) - timedelta(days=1)
    period = periods.Period(first, last)
    accounts, before = (
        finance.account_movements(period),
        {a.number: a.balance for a in finance.account_movements(_day_before(period))},
    )
    costs, counted = finance.cost_by_month(last=last, months=1), queries.ledger_counted_at()
    with _snapshot() as cursor:
        cursor.execute(_KINDS, {"first": first, "last": last})
        kinds = cursor.fetchall()
        cursor.execute(_FEES, {"first": first, "last": last})
        days = cursor.fetchall()
        cursor.execute(_CHARGES, {"month": first})
        charges = cursor.fetchall()
    debit, credit = sum((a.debit for a in accounts), ZERO), sum((a.credit for a in accounts), ZERO)
    if debit != credit:
        raise BooksOutOfBalanceError
    fees, invested = sum((row[2] for row in days), ZERO), sum((row[3] for row in days), ZERO)
    bookings = sum(row[3] for row in kinds)
    paper = PdfDocument(
        files.pdf, title="Finance month", subject=month_name(month), foot=f"Kamioi · finance {month_name(month)}"
    )
    paper.figures(
        [
            ("Bookings", f"{bookings:,}"),
            ("Moved", dollars(debit)),
            ("Fees earned", dollars(fees)),
            ("Amortization", dollars(sum((row[1] for row in charges), ZERO))),
        ]
    )
    paper.paragraph(
        f"Everything that was booked before {counted:%Y-%m-%d %H:%M} UTC is counted."
        if counted
        else "The ledger is not counted yet."
    )
    paper.heading("Accounts")
    paper.table(
        _ACCOUNTS,
        [
            [
                a.number,
                a.name,
                f"{before.get(a.number, ZERO):,.2f}",
                f"{a.debit:,.2f}",
                f"{a.credit:,.2f}",
                f"{a.balance:,.2f}",
            ]
            for a in accounts
        ],
        total=["Total", "", "", f"{debit:,.2f}", f"{credit:,.2f}", ""],
    )
    paper.heading("Entries")
    paper.table(
        _ENTRIES,
        [[kind, d, c, f"{rows:,}", f"{amount:,.2f}"] for kind, d, c, rows, amount in kinds],
        total=["Total", "", "", f"{bookings:,}", f"{debit:,.2f}"],
    )
    paper.heading("Fees by day")
    paper.table(
        (
            Column("Day", 120),
            Column("Fees booked", 130, number=True),
            Column("Shares at cost", 135, number=True),
            Column("Fees", 135, number=True),
        ),
        [[f"{day}", f"{count:,}", f"{cost:,.2f}", f"{fee:,.2f}"] for day, count, fee, cost in days],
        total=["Total", f"{sum(row[1] for row in days):,}", f"{invested:,.2f}", f"{fees:,.2f}"],
    )
    paper.heading("Amortization of data assets")
    paper.table(
        (Column("Asset", 300), Column("Credited to", 110), Column("Dollars", 110, number=True)),
        [[name, account, f"{amount:,.2f}"] for name, amount, account in charges],
        total=["Total", "", f"{sum((row[1] for row in charges), ZERO):,.2f}"],
    )
    paper.heading("Cost")
    paper.table(
        (Column("What", 300), Column("Dollars", 110, number=True), Column("Target", 110, number=True)),
        [
            row
            for c in costs
            for row in (
                ["Language models", f"{c.llm_cost:,.4f}", ""],
                [
                    "Infrastructure",
                    "not said" if c.infrastructure_cost is None else f"{c.infrastructure_cost:,.2f}",
                    "",
                ],
                [
                    "A transaction",
                    "–" if c.per_transaction is None else f"{c.per_transaction:,.6f}",
                    f"< {TARGET_PER_TRANSACTION}",
                ],
                ["An active user", "–" if c.per_user is None else f"{c.per_user:,.4f}", f"< {TARGET_PER_USER}"],
            )
        ],
    )
    paper.finish()
    files.line(
        "Kamioi finance month", f"{month:%Y-%m}", "counted up to", f"{counted:%Y-%m-%d %H:%M:%S}" if counted else ""
    )
    files.line()
    files.line("Account", "Name", "Type", "Opening", "Debit", "Credit", "Closing")
    for a in accounts:
        files.line(a.number, a.name, a.type, before.get(a.number, ZERO), a.debit, a.credit, a.balance)
    files.line()
    files.line("Kind", "Debit account", "Credit account", "Entries", "Amount")
    for row in kinds:
        files.line(*row)
    files.line()
    files.line("Day", "Fees booked", "Fees", "Shares at cost")
    for day, *values in days:
        files.line(day.isoformat(), *values)
    files.line()
    files.line("Asset", "Amortization", "Credited to")
    for row in charges:
        files.line(*row)
    on_progress(bookings)
    return bookings


def _ledger_count(*, until: datetime) -> None:
    """Count the ledger up to this moment: as soon as whoever was booking then has ended, and half an hour at most."""
    deadline = time.monotonic() + COUNT_SECONDS
    while time.monotonic() < deadline:
        update_ledger_days(deadline=deadline)
        counted = queries.ledger_counted_at()
        if counted is not None and counted >= until:
            return
        time.sleep(COUNT_PAUSE)


def _day_before(period: periods.Period) -> periods.Period:
    day = period.first - timedelta(days=1)
    return periods.Period(day, day)


# --- The books against the rest ---------------------------------------------------------------------------------------
# One scan each, as the check itself: a reconciliation looks at everything there is.
_SIDES = """
    SELECT (SELECT count(*) FROM holdings WHERE shares > 0), (SELECT coalesce(sum(cost_basis), 0.00) FROM holdings),
           count(*) FILTER (WHERE shares IS NOT NULL),
           coalesce(sum(CASE WHEN starts_with(kind, 'undo_') THEN -amount ELSE amount END) FILTER (WHERE shares IS NOT NULL), 0.00),
           count(*), coalesce(sum(amount), 0.00)
    FROM ledger_transfers
"""
_COMPLETED = """
    SELECT coalesce(sum(rows), 0)::bigint, coalesce(sum(investable), 0.00), coalesce(sum(fee), 0.00) FROM transaction_days
    WHERE status = 'completed'
"""
_CHECKS: Final = {
    "holding": "Holdings are the sum of the ledger",
    "transaction": "Transactions are booked as they stand",
    "account": "Bookings are on accounts of the chart",
    "order": "Executed orders have a completed transaction",
    "contra": "Contra entries take back what was booked",
    "amortization": "Charges of data assets have their transfer",
}
_PROBLEMS: Final = (
    Column("Check", 62),
    Column("User", 50),
    Column("What", 118),
    Column("Found", 145),
    Column("Expected", 145),
)


def write_reconciliation_report(files: Files, *, month: date, on_progress: ProgressCallback) -> int:
    """The whole books against holdings and transactions; returns the number of disagreements."""
    at = timezone.now()
    files.line("Kamioi reconciliation", f"{month:%Y-%m}", "checked", f"{at:%Y-%m-%d %H:%M:%S} UTC")
    files.line()
    files.line("Check", "User", "What", "Found", "Expected")
    found: Counter[str] = Counter()
    shown: list[list[str]] = []
    for problem in find_ledger_problems():
        files.line(problem.problem, problem.user_id, problem.subject, problem.found, problem.expected)
        found[problem.problem] += 1
        if len(shown) < SHOWN_PROBLEMS:
            shown.append([problem.problem, str(problem.user_id), problem.subject, problem.found, problem.expected])
        if found.total() % 10_000 == 0:
            on_progress(found.total())
    with _snapshot() as cursor:
        cursor.execute(_SIDES)
        holdings, cost, purchases, bought, entries, moved = cursor.fetchone()
        cursor.execute(_COMPLETED)
        completed, invested, fees = cursor.fetchone()
    total = found.total()
    paper = PdfDocument(
        files.pdf,
        title="Reconciliation",
        subject=month_name(month),
        foot=f"Kamioi · reconciliation {month_name(month)}",
    )
    paper.figures(
        [
            ("Disagreements", f"{total:,}"),
            ("Ledger entries", f"{entries:,}"),
            ("Holdings", f"{holdings:,}"),
            ("Cost of holdings", dollars(cost)),
        ]
    )
    paper.paragraph(
        f"Checked at {at:%Y-%m-%d %H:%M} UTC, from the rows themselves: every holding, every transaction and every entry there is."
    )
    paper.heading("Checks")
    paper.table(
        (Column("Check", 330), Column("Outcome", 95), Column("Disagreements", 95, number=True)),
        [[words, "differs" if found[name] else "agrees", f"{found[name]:,}"] for name, words in _CHECKS.items()],
        total=["Total", "differs" if total else "agrees", f"{total:,}"],
    )
    paper.heading("Sides")
    sides = [
        ["Ledger: entries and dollars moved", f"{entries:,}", dollars(moved)],
        ["Ledger: purchases of shares, contra entries taken off", f"{purchases:,}", dollars(bought)],
        ["Holdings at cost", f"{holdings:,}", dollars(cost)],
        ["Transactions completed: invested (by the last count)", f"{completed:,}", dollars(invested)],
        ["Transactions completed: fees (by the last count)", "", dollars(fees)],
    ]
    paper.table((Column("What", 330), Column("Rows", 80, number=True), Column("Dollars", 110, number=True)), sides)
    paper.heading("Disagreements")
    paper.table(_PROBLEMS, shown)
    if total > len(shown):
        paper.paragraph(f"The first {len(shown):,} of {total:,}; the CSV has all.")
    paper.finish()
    files.line()
    files.line("Side", "Rows", "Dollars")
    for side, rows, amount in (
        ("ledger entries", entries, moved),
        ("ledger purchases", purchases, bought),
        ("holdings at cost", holdings, cost),
        ("completed, invested", completed, invested),
        ("completed, fees", completed, fees),
    ):
        files.line(side, rows, amount)
    on_progress(total)
    return total
