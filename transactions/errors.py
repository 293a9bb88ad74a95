"""Errors of the app. The docstring is the default message."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from kamioi_site.errors import KamioiError
from kamioi_site.formatting import money

if TYPE_CHECKING:
    from transactions.statements.evidence import Question


class PriceProviderError(KamioiError):
    """The price provider returns no prices."""


class SettlementError(KamioiError):
    """Nothing can be collected or settled."""


class PeriodError(KamioiError):
    """The period cannot be closed or reopened."""

    status_code = 409


class PeriodClosedError(KamioiError):
    """A posting has a date in a closed month."""

    status_code = 409

    def __init__(self, day: date) -> None:
        super().__init__(f"{day:%B %Y} is closed. Choose a later date, or have the period reopened.")


class CorrectionNotPossibleError(KamioiError):
    """Booked purchases cannot be corrected now."""

    status_code = 409


class TaskTakenOverError(KamioiError):
    """Another worker has taken over this task."""


class StatementError(KamioiError):
    """The statement cannot be read."""


class StatementQuestionsError(StatementError):
    """The statement can be read in more than one way; `questions` have to be answered first."""

    status_code = 409

    def __init__(self, questions: "Sequence[Question]", filename: str = "") -> None:
        self.questions = list(questions)
        self.details = {"questions": [asdict(question) for question in questions]}
        prefix = f"{filename}: " if filename else ""
        super().__init__(prefix + " ".join(question.text for question in questions))


class StatementTooLargeError(StatementError):
    """The statement is too large."""

    status_code = 413


class StatementStateError(KamioiError):
    """This is not possible in the import's present state."""

    status_code = 409


class StatementExpiredError(KamioiError):
    """The file of this import has been deleted. Upload it again."""

    status_code = 409


class UndoNotPossibleError(KamioiError):
    """This import cannot be undone."""

    status_code = 409


class UnknownAccountError(StatementError):
    """The statement's account is not known."""


class UploadQuotaError(KamioiError):
    """The limit of uploads is reached."""

    status_code = 429

    def __init__(self, message: str, *, wait: int = 3600) -> None:
        super().__init__(message)
        self.wait = wait


class LinkExpiredError(KamioiError):
    """This link has expired. Request the file again."""

    status_code = 404


class NothingToProcessError(KamioiError):
    """There is nothing to buy for this transaction."""

    status_code = 409


class TransactionNotFoundError(KamioiError):
    """There is no such transaction."""

    status_code = 404


class NothingToRetryError(KamioiError):
    """No purchase can be retried: its merchant waits for the decision of a reviewer."""

    status_code = 409


class InvalidTransactionError(KamioiError):
    """The purchase is invalid."""


class IdempotencyConflictError(KamioiError):
    """This idempotency key was used for a different request."""

    status_code = 409


class RequestInProgressError(KamioiError):
    """The first request with this idempotency key is still in progress."""

    status_code = 409


class InvalidEntryError(KamioiError):
    """This journal entry cannot be posted."""


class EntryAlreadyBookedError(KamioiError):
    """A posted entry cannot be changed. Reverse it and create a new one."""

    status_code = 409


class SecondPersonRequiredError(KamioiError):
    """An entry above the limit (setting journal_four_eyes_limit) is posted by someone who did not write it."""

    status_code = 403


class BankOverdrawnError(KamioiError):
    """The bank has less money than this entry takes."""

    status_code = 409

    def __init__(self, *, balance: Decimal, taken: Decimal) -> None:
        shortfall = taken - balance
        self.details = {"balance": balance, "shortfall": shortfall}
        super().__init__(
            f"Bank (10100) has {money(balance)} and this entry takes {money(taken)}: {money(shortfall)} is missing."
        )


class UserChangeNotAllowedError(KamioiError):
    """This user cannot be changed in this way."""

    status_code = 403


class EmailTakenError(KamioiError):
    """This e-mail address is already registered."""

    status_code = 409


class InvalidResetTokenError(KamioiError):
    """This link is invalid or has expired. Request a new one."""


class InvalidEmailLinkError(KamioiError):
    """This link is invalid or has expired."""


class WrongPasswordError(KamioiError):
    """The current password is wrong."""


class TooManySettingsError(KamioiError):
    """No more settings can be stored."""


class TooManyGoalsError(KamioiError):
    """The maximum number of goals is reached. Delete one first."""


class MembersNotAllowedError(KamioiError):
    """Only family and business accounts have members."""

    status_code = 403


class InvitationNotPossibleError(KamioiError):
    """This person cannot be invited."""

    status_code = 409


class TooManyInvitationsError(KamioiError):
    """The limit of invitations for today is reached."""

    status_code = 429

    def __init__(self, *, wait: int) -> None:
        self.wait = wait
        super().__init__()


class InvalidInvitationError(KamioiError):
    """This invitation is invalid or has expired. Ask for a new one."""


class ErasureNotAllowedError(KamioiError):
    """This user cannot be erased now."""

    status_code = 409
