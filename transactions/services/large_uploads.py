"""Large uploads: their totals are shown, and a person confirms them, before anything is stored."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Final

from django.utils import timezone

from kamioi_site.imports.rows import RowError
from kamioi_site.live_settings import current_values
from transactions.errors import StatementQuestionsError
from transactions.live_settings import UPLOAD_CONFIRM_AMOUNT, UPLOAD_CONFIRM_PURCHASES
from transactions.models import User
from transactions.rules.money import fee_of, round_up_of
from transactions.services.platform_fees import fee_on
from transactions.statements.evidence import CONFIRM, Choice, Question
from transactions.statements.reader import StatementSummary
from transactions.statements.values import StatementRow

SUMMARY_ROWS: Final = 100_000  # about two seconds; a command reads the whole file


def set_aside_by(user: User) -> Callable[[Decimal], Decimal]:
    """Return the function that gives the round-up and the fee of a purchase that the user makes now."""
    fee = fee_on(timezone.now())

    def set_aside(amount: Decimal) -> Decimal:
        round_up = round_up_of(
            amount, enabled=user.round_up_enabled, rule=user.round_up_rule, flat=user.round_up_amount
        )
        return round_up + fee_of(round_up, platform_fee=fee.fee, max_share=fee.max_share)

    return set_aside


def ask_to_confirm(
    items: Iterable[StatementRow | RowError], *, user: User, filename: str, answers: Mapping[str, str]
) -> None:
    """Raise StatementQuestionsError if the rows are a large upload that is not confirmed."""
    if answers.get(CONFIRM) == "true":
        return
    most, most_dollars = current_values(UPLOAD_CONFIRM_PURCHASES, UPLOAD_CONFIRM_AMOUNT)
    if most is most_dollars is None:
        return
    summary, set_aside, is_large = StatementSummary(), set_aside_by(user), False
    for item in items:
        summary.add(item, set_aside)
        is_large = (most is not None and summary.purchases > most) or (
            most_dollars is not None and summary.set_aside > most_dollars
        )
        if is_large and summary.rows >= SUMMARY_ROWS:
            summary.is_complete = False
            break
    if is_large:
        text = f"{totals_text(summary)} Import them?"
        raise StatementQuestionsError([Question(CONFIRM, text, (Choice("true", "Import them"),))], filename)


def totals_text(summary: StatementSummary) -> str:
    """Return the purchases, what was spent and what would be set aside, as a sentence."""
    least = "" if summary.is_complete else "At least "
    return (
        f"{least}{summary.purchases:,} purchases of ${summary.spent:,} in total; "
        f"${summary.set_aside:,} would be set aside as round-ups and fees."
    )
