"""Trial balance, balance sheet, and profit and loss, over the days of the ledger.

The books are never closed: what revenue exceeds expense by, since the beginning, is the balance sheet's retained
earnings.
"""

from dataclasses import dataclass
from decimal import Decimal

from analytics.selectors.finance import CREDIT_TYPES, AccountMovement, account_movements
from analytics.selectors.periods import Period
from transactions.rules.money import ZERO


@dataclass(frozen=True, slots=True)
class TrialBalanceRow:
    """An account: its movements in the period, and its closing balance as a debit or as a credit."""

    number: str
    name: str
    type: str
    opening: Decimal
    debit: Decimal
    credit: Decimal
    closing_debit: Decimal
    closing_credit: Decimal


@dataclass(frozen=True, slots=True)
class StatementRow:
    """A line of the balance sheet or of profit and loss, in dollars; `number` is empty for a computed line."""

    section: str
    number: str
    name: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class FinancialStatements:
    """The three statements of a period; the balance sheet is that of the last day."""

    period: Period
    accounts: list[AccountMovement]

    @property
    def trial_balance(self) -> list[TrialBalanceRow]:
        """Return the accounts that were ever posted to."""
        rows = []
        for account in self.accounts:
            closing = _debit_balance(account)
            opening = closing - account.debit + account.credit
            if opening or account.debit or account.credit:
                rows.append(
                    TrialBalanceRow(
                        account.number, account.name, account.type, opening, account.debit, account.credit,
                        max(closing, ZERO), max(-closing, ZERO),
                    )
                )  # fmt: skip
        return rows

    @property
    def retained_earnings(self) -> Decimal:
        """Revenue less expense since the beginning."""
        return self._sum("revenue") - self._sum("expense")

    @property
    def balance_sheet(self) -> list[StatementRow]:
        """Return assets, liabilities and equity at the end of the period."""
        rows = [row for section in ("asset", "liability", "equity") for row in self._section(section)]
        return [*rows, StatementRow("equity", "", "Retained earnings", self.retained_earnings)]

    @property
    def assets(self) -> Decimal:
        return self._sum("asset")

    @property
    def liabilities(self) -> Decimal:
        return self._sum("liability")

    @property
    def equity(self) -> Decimal:
        """Equity with retained earnings."""
        return self._sum("equity") + self.retained_earnings

    @property
    def profit_and_loss(self) -> list[StatementRow]:
        """Return revenue and expense of the period by account."""
        return [
            StatementRow(account.type, account.number, account.name, _movement(account))
            for section in ("revenue", "expense")
            for account in self.accounts
            if account.type == section and (account.debit or account.credit)
        ]

    @property
    def revenue(self) -> Decimal:
        return sum((row.amount for row in self.profit_and_loss if row.section == "revenue"), ZERO)

    @property
    def expense(self) -> Decimal:
        return sum((row.amount for row in self.profit_and_loss if row.section == "expense"), ZERO)

    @property
    def profit(self) -> Decimal:
        return self.revenue - self.expense

    @property
    def is_balanced(self) -> bool:
        """Whether debits equal credits, in the period and at its end, and assets equal liabilities and equity."""
        rows = self.trial_balance
        return (
            sum((row.debit - row.credit for row in rows), ZERO) == 0
            and sum((row.closing_debit - row.closing_credit for row in rows), ZERO) == 0
            and self.assets == self.liabilities + self.equity
        )

    def _section(self, type_: str) -> list[StatementRow]:
        return [
            StatementRow(type_, account.number, account.name, account.balance)
            for account in self.accounts
            if account.type == type_ and account.balance
        ]

    def _sum(self, type_: str) -> Decimal:
        return sum((account.balance for account in self.accounts if account.type == type_), ZERO)


def financial_statements(period: Period) -> FinancialStatements:
    """Return the statements of a period, as far as its days are counted."""
    return FinancialStatements(period, account_movements(period))


def _debit_balance(account: AccountMovement) -> Decimal:
    return -account.balance if account.type in CREDIT_TYPES else account.balance


def _movement(account: AccountMovement) -> Decimal:
    moved = account.debit - account.credit
    return -moved if account.type in CREDIT_TYPES else moved
