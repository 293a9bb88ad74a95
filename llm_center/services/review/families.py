"""One decision for a merchant and for similar ones that wait, for example STARBUCKS RESERVE and STARBUCKS ROASTERY.

Each merchant is decided by `decide_merchant`, under the rules for single decisions and with its own row, so each can
be undone. All are decided in one database transaction and released by one background task.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from kamioi_site.errors import KamioiError
from llm_center.errors import DecisionNotAllowedError, MerchantChangedError
from llm_center.live_settings import FOUR_EYES_LIMIT
from llm_center.models import MappingDecision
from llm_center.selectors import FAMILY, FamilyMember, find_families
from llm_center.services.review.decisions import (
    Action,
    decide_merchant,
    find_own_waiting,
    parse_version,
    request_release,
)
from transactions.models import BackgroundTask, Merchant, User

FAMILY_ACTIONS = {Action.APPROVE, Action.CORRECT, Action.NOT_LISTED}
OWN_PURCHASES = "your own purchases wait"
SECOND_REVIEWER = "needs a second reviewer"


@dataclass(frozen=True, slots=True)
class FamilyChoice:
    """A similar merchant as the reviewer may include it, with a remark on what its decision needs."""

    member: FamilyMember
    remark: str = ""

    @property
    def is_possible(self) -> bool:
        return self.remark != OWN_PURCHASES

    @property
    def is_default(self) -> bool:
        """Whether it is decided as well unless the reviewer excludes it."""
        return self.is_possible and self.member.is_alike

    @property
    def value(self) -> str:
        """The merchant and the version of it that is shown, for `parse_choices`."""
        return f"{self.member.pk}@{self.member.updated_at.isoformat()}"


@dataclass(frozen=True, slots=True)
class FamilyResult:
    """The outcome of one decision for each merchant.

    Attributes:
        decisions: those made.
        pending: keys of merchants that need a second reviewer's approval.
        refused: a message for each merchant that was not decided.
        task: releases the waiting transactions, if there are any to release.
    """

    decisions: list[MappingDecision]
    pending: list[str]
    refused: list[str]
    task: BackgroundTask | None


def family_choices(*, merchant: Merchant, action: Action, actor: User) -> list[FamilyChoice]:
    """Return the similar merchants that this decision may settle as well; none for a rejection."""
    family = find_families([merchant])[merchant.merchant_key] if action in FAMILY_ACTIONS else []
    own = find_own_waiting(actor, [member.merchant_key for member in family])
    limit = FOUR_EYES_LIMIT.get() if family else Decimal(0)
    return [
        FamilyChoice(
            member,
            OWN_PURCHASES
            if member.merchant_key in own
            else SECOND_REVIEWER
            if limit and member.waiting_amount >= limit
            else "",
        )
        for member in family
    ]


def parse_choices(values: list[str]) -> dict[int, datetime]:
    """Return the chosen merchants and their versions. Raises MerchantChangedError for text that names none."""
    choices = {}
    for value in values:
        pk, _, version = value.partition("@")
        if not pk.isdecimal() or len(pk) > 18:
            raise MerchantChangedError
        choices[int(pk)] = parse_version(version)
    return choices


@transaction.atomic
def decide_family(
    *,
    merchant_id: int,
    action: Action,
    actor: User,
    expected_updated_at: datetime,
    others: Mapping[int, datetime],
    ticker: str = "",
    reason: str = "",
    include_booked: bool = False,
) -> FamilyResult:
    """Decide the merchant and the others that were chosen, each as if it were decided alone.

    A merchant that cannot be decided stops none of the others.

    Args:
        others: similar merchants, with `updated_at` as the reviewer saw it.
        ticker: the company they get; also for `APPROVE`, where it is the ticker that the reviewer saw.
        include_booked: correct the booked purchases of the merchant; the others are decided from now on.

    Raises:
        DecisionNotAllowedError: the action is not for families, or there are too many merchants.
    """
    if action not in FAMILY_ACTIONS:
        raise DecisionNotAllowedError("Reject proposals one by one.")
    versions = {merchant_id: expected_updated_at} | {pk: at for pk, at in others.items() if pk != merchant_id}
    if len(versions) > FAMILY + 1:
        raise DecisionNotAllowedError(f"At most {FAMILY} similar merchants can be decided together.")
    ticker = ticker.strip().upper()
    if action == Action.APPROVE and not ticker:
        raise DecisionNotAllowedError("There is no proposed ticker to approve.")
    # All at once in the order in which processing locks them, because this transaction keeps the locks.
    merchants = list(Merchant.objects.select_for_update().filter(pk__in=versions).order_by("merchant_key"))
    merchants.sort(key=lambda merchant: merchant.pk != merchant_id)
    decisions: list[MappingDecision] = []
    pending: list[str] = []
    refused: list[str] = []
    to_release: list[MappingDecision] = []
    for merchant in merchants:
        key, is_first = merchant.merchant_key, merchant.pk == merchant_id
        # Another merchant without this proposal gets the ticker by a correction.
        fits = is_first or merchant.ticker == ticker
        try:
            outcome = decide_merchant(
                merchant_id=merchant.pk,
                action=Action.CORRECT if action == Action.APPROVE and not fits else action,
                actor=actor,
                expected_updated_at=versions[merchant.pk],
                ticker=ticker,
                reason=reason,
                include_booked=include_booked and is_first,
                release=False,
            )
        except KamioiError as error:
            refused.append(str(error) if key in str(error) else f"{key}: {error}")
            continue
        if outcome.decision is None:
            pending.append(key)
            continue
        decisions.append(outcome.decision)
        if outcome.task is None:  # a correction releases as well
            to_release.append(outcome.decision)
    task = request_release(to_release, actor=actor) if to_release else None
    return FamilyResult(decisions, pending, refused, task)
