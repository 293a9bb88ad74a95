"""The budget of calls to language models: dollars a month, of which a day has a thirtieth."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from django.utils import timezone

from llm_center.live_settings import MONTHLY_BUDGET
from llm_center.providers import llm_spent_this_month
from llm_center.selectors import llm_call_totals
from transactions.models import User
from transactions.rules.money import CENT, rounded
from transactions.services.settings import save_settings

_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class LlmBudget:
    """Dollars of the month, and what is spent of them this month and today (UTC)."""

    month: Decimal
    spent: Decimal
    today: Decimal

    @property
    def remaining(self) -> Decimal:
        return self.month - self.spent

    @property
    def is_spent(self) -> bool:
        """Whether calls end until the next month."""
        return self.spent >= self.month

    @property
    def day(self) -> Decimal:
        """The share of a day, which limits nothing."""
        return rounded(self.month / _DAYS, CENT)

    @property
    def used_percent(self) -> Decimal | None:
        """How much of the share of a day is spent today."""
        return round(self.today * 100 / self.day, 1) if self.day else None


def llm_budget() -> LlmBudget | None:
    """Return the budget; None if there is no limit."""
    month = MONTHLY_BUDGET.get()
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    return LlmBudget(month, llm_spent_this_month(), llm_call_totals(midnight).cost) if month else None


def set_daily_llm_budget(*, dollars: Decimal, actor: User) -> Decimal:
    """Store the budget of a month of such days. Returns it."""
    month = dollars * _DAYS
    save_settings(values={MONTHLY_BUDGET.key: str(month)}, actor=actor)
    return month
