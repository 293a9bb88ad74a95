"""The financial statements of a period: trial balance, balance sheet, profit and loss."""

from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from analytics.dashboards import framework as ui
from analytics.dashboards.finance import LEDGER
from analytics.dashboards.framework import PageContext, Panel, Stat
from analytics.selectors.financial_statements import (
    FinancialStatements,
    StatementRow,
    TrialBalanceRow,
    financial_statements,
)
from kamioi_site.formatting import money
from transactions.rules.money import ZERO

EMPTY: Final = "No postings yet."


def _statements(page: PageContext) -> FinancialStatements:
    statements: FinancialStatements = page.memoize(financial_statements, page.period)
    return statements


def _balance_stat(page: PageContext) -> Stat:
    if _statements(page).is_balanced:
        return Stat("Check", "balanced", "debits equal credits", tone="good")
    return Stat("Check", "out of balance", "debits and credits differ", tone="bad")


def _period_link(row: Any, page: PageContext) -> str:
    """Return the account's ledger rows of the period."""
    if not row.number:
        return ""
    return page.changelist_url(LEDGER, page.period.first, page.period.last, account=row.number)


def _balance_link(row: Any, page: PageContext) -> str:
    """Return the account's ledger rows up to the end of the period."""
    return page.changelist_url(LEDGER, None, page.period.last, account=row.number) if row.number else ""


# --- Trial balance ----------------------------------------------------------------------------------------------------
def _trial_balance(page: PageContext) -> list[TrialBalanceRow]:
    """Return the accounts and their totals."""
    rows = _statements(page).trial_balance
    if not rows:
        return []
    sums = {
        name: sum((getattr(row, name) for row in rows), ZERO)
        for name in ("opening", "debit", "credit", "closing_debit", "closing_credit")
    }
    return [*rows, replace(rows[0], number="", name="Total", type="", **sums)]


# --- Balance sheet ----------------------------------------------------------------------------------------------------
def _total(section: str, name: str, amount: Decimal) -> StatementRow:
    return StatementRow(section, "", name, amount)


def _balance_sheet(page: PageContext) -> list[StatementRow]:
    statements = _statements(page)
    rows = statements.balance_sheet
    totals = {
        "asset": _total("asset", "Total assets", statements.assets),
        "liability": _total("liability", "Total liabilities", statements.liabilities),
        "equity": _total("equity", "Total equity", statements.equity),
    }
    if not statements.trial_balance:
        return []
    return [
        row for section, total in totals.items() for row in (*(row for row in rows if row.section == section), total)
    ]


def _balance_sheet_stats(rows: Any, page: PageContext) -> list[Stat]:
    statements = _statements(page)
    return [
        Stat("Assets", money(statements.assets, 2)),
        Stat("Liabilities", money(statements.liabilities, 2)),
        Stat("Equity", money(statements.equity, 2), "with retained earnings"),
        _balance_stat(page),
    ]


# --- Profit and loss --------------------------------------------------------------------------------------------------
def _profit_and_loss(page: PageContext) -> list[StatementRow]:
    statements = _statements(page)
    rows = statements.profit_and_loss
    if not rows:
        return []
    return [
        *(row for row in rows if row.section == "revenue"),
        _total("revenue", "Total revenue", statements.revenue),
        *(row for row in rows if row.section == "expense"),
        _total("expense", "Total expense", statements.expense),
        _total("", "Profit", statements.profit),
    ]


def _profit_stats(rows: Any, page: PageContext) -> list[Stat]:
    statements, before = _statements(page), page.memoize(financial_statements, page.period.previous)
    return [
        Stat("Revenue", money(statements.revenue, 2), ui.change(statements.revenue, before.revenue)),
        Stat("Expense", money(statements.expense, 2), ui.change(statements.expense, before.expense)),
        Stat("Profit", money(statements.profit, 2)),
    ]


FINANCIAL_STATEMENTS: Final = ui.Dashboard(
    "financial-statements",
    "Financial statements",
    (
        Panel(
            name="trial-balance",
            title="Trial balance",
            wide=True,
            rows=_trial_balance,
            empty=EMPTY,
            stats=lambda rows, page: [
                Stat("Debits", money(rows[-1].debit, 2), "in the period"),
                Stat("Credits", money(rows[-1].credit, 2), "in the period"),
                _balance_stat(page),
            ],
            columns=(
                ui.Column("Account", "number", link=_period_link),
                ui.Column("Name", "name"),
                ui.Column("Type", "type"),
                ui.Column("Opening ($)", "opening", ui.dollars),
                ui.Column("Debit ($)", "debit", ui.dollars),
                ui.Column("Credit ($)", "credit", ui.dollars),
                ui.Column("Closing debit ($)", "closing_debit", ui.dollars),
                ui.Column("Closing credit ($)", "closing_credit", ui.dollars),
            ),
            table_open=True,
            note="Opening balances are debits; a credit balance is negative.",
            counted_at=ui.ledger_counted_at,
        ),
        Panel(
            name="balance-sheet",
            title="Balance sheet",
            rows=_balance_sheet,
            empty=EMPTY,
            stats=_balance_sheet_stats,
            columns=(
                ui.Column("Section", "section"),
                ui.Column("Account", "number", link=_balance_link),
                ui.Column("Name", "name"),
                ui.Column("Amount ($)", "amount", ui.dollars),
            ),
            table_open=True,
            note=lambda _, page: f"At the end of {page.period.last}. Retained earnings: revenue less expense so far.",
            counted_at=ui.ledger_counted_at,
        ),
        Panel(
            name="profit-and-loss",
            title="Profit and loss",
            rows=_profit_and_loss,
            empty="No revenue or expense in this period.",
            stats=_profit_stats,
            columns=(
                ui.Column("Section", "section"),
                ui.Column("Account", "number", link=_period_link),
                ui.Column("Name", "name"),
                ui.Column("Amount ($)", "amount", ui.dollars),
            ),
            table_open=True,
            note=lambda _, page: f"From {page.period.first} to {page.period.last}, by posting date.",
            counted_at=ui.ledger_counted_at,
        ),
    ),
    area="finance",
)
