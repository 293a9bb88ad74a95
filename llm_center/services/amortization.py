"""Accounting for LLM data assets: straight-line amortization, impairment, disposal.

The rules:

* An asset is amortized from the month in which it goes into service, for `useful_life_months`. Each month has the same
  charge, rounded down to the cent; the last month takes the remainder, so the total is exact.
* A change of the facts (a later cost, an impairment, another useful life) applies from its month on: the remaining
  value, less the salvage value, is spread over the remaining months. Posted months do not change.
* There is one entry per asset and month: entry and transfer are written by one statement, and the database refuses a
  second entry unless it replaces a reversed one. A run for a month also posts the months missed before it, each under
  its own date.
* Posted entries are never edited: a reversal is a separate row with a contra transfer.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_DOWN, Decimal

from dateutil.relativedelta import relativedelta
from django.db import connection, transaction
from django.db.models import Sum
from django.utils import timezone

from kamioi_site.formatting import money
from llm_center.errors import AssetOperationError
from llm_center.live_settings import AMORTIZATION_CREDIT_ACCOUNT
from llm_center.models import AmortizationEntry, AmortizationReversal, AssetEvent, LlmDataAsset
from llm_center.sql import load_sql
from transactions.models import Account, LedgerTransfer, User
from transactions.rules.money import CENT, ZERO
from transactions.services.periods import open_from, posting_on

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Charge:
    """One month of an asset: first day, dollars, the carrying amount afterwards, and whether it is posted."""

    period: date
    amount: Decimal
    carrying: Decimal
    posted: bool


@dataclass(frozen=True, slots=True)
class PostedCharge:
    """A charge that this run posted, or would post."""

    asset: LlmDataAsset
    period: date
    amount: Decimal


@dataclass(slots=True)
class AmortizationResult:
    """The charges posted, and the assets without a due charge, with the reason."""

    charges: list[PostedCharge] = field(default_factory=list)
    idle: list[tuple[LlmDataAsset, str]] = field(default_factory=list)

    @property
    def total(self) -> Decimal:
        return sum((charge.amount for charge in self.charges), ZERO)


def first_of_month(day: date) -> date:
    return date(day.year, day.month, 1)


def amortization_reference(period: date) -> str:
    """Return the ledger reference of a month's entries, in the legacy system's format."""
    return f"LLM-AMORT-{period:%Y%m}"


def schedule(
    *,
    cost: Decimal,
    salvage: Decimal,
    life: int,
    in_service: date,
    changes: Iterable[tuple[date, Decimal]] = (),
    posted: Mapping[date, Decimal] | None = None,
    until: date | None = None,
) -> list[Charge]:
    """Return every month of an asset's life. Pure.

    Args:
        cost: dollars in the first month; `changes` are later ones (cost +, impairment −) with their dates.
        posted: existing charges by the first day of the month.
        until: no charge from this month on (disposal).
    """
    posted = posted or {}
    first = first_of_month(in_service)
    later: dict[date, Decimal] = {}
    for day, amount in changes:
        month = max(first_of_month(day), first)
        later[month] = later.get(month, ZERO) + amount
    charges: list[Charge] = []
    carrying, monthly, recalculate = cost, ZERO, True
    for number in range(life):
        period = first + relativedelta(months=number)
        if until is not None and period >= first_of_month(until):
            break
        if period in later:
            carrying, recalculate = carrying + later[period], True
        left = max(carrying - salvage, ZERO)
        if recalculate:
            monthly, recalculate = (left / (life - number)).quantize(CENT, ROUND_DOWN), False
        amount = left if number == life - 1 else min(monthly, left)
        is_posted = period in posted
        if is_posted and posted[period] != amount:
            # Posted when the facts were different: continue from here with the current ones.
            amount, recalculate = posted[period], True
        carrying -= amount
        charges.append(Charge(period, amount, carrying, is_posted))
    return charges


def asset_schedule(asset: LlmDataAsset) -> list[Charge]:
    """Return the months of this asset; none while it is not in service."""
    if asset.in_service_on is None:
        return []
    events = list(asset.events.all())
    first = first_of_month(asset.in_service_on)
    late = [
        (event.dated_on, event.amount)
        for event in events
        if event.kind == AssetEvent.Kind.COST and first_of_month(event.dated_on) > first
    ]
    impairments = [(event.dated_on, -event.amount) for event in events if event.kind == AssetEvent.Kind.IMPAIRMENT]
    disposal = next((event.dated_on for event in events if event.kind == AssetEvent.Kind.DISPOSAL), None)
    posted = {entry.period: entry.amount for entry in asset.amortization.all() if not entry.is_reversed}
    return schedule(
        cost=asset.cost_basis - sum((amount for _, amount in late), ZERO),
        salvage=asset.salvage_value,
        life=asset.useful_life_months,
        in_service=asset.in_service_on,
        changes=late + impairments,
        posted=posted,
        until=disposal,
    )


def carrying_value(asset: LlmDataAsset) -> Decimal:
    """Return cost less posted amortization and impairment; 0 after disposal."""
    if asset.status == LlmDataAsset.Status.DISPOSED:
        return ZERO
    return asset.cost_basis - _amortized(asset) - _impaired(asset)


def _amortized(asset: LlmDataAsset, **filters: str) -> Decimal:
    entries = asset.amortization.filter(reversal=None, **filters)
    return entries.aggregate(total=Sum("amount"))["total"] or ZERO


def _impaired(asset: LlmDataAsset) -> Decimal:
    impairments = asset.events.filter(kind=AssetEvent.Kind.IMPAIRMENT)
    return impairments.aggregate(total=Sum("amount"))["total"] or ZERO


def amortize_month(*, month: date, dry_run: bool = False, assets: Sequence[int] | None = None) -> AmortizationResult:
    """Post all charges due up to and including `month`; repeated or concurrent runs post each charge once.

    Raises SettingError, and AssetOperationError for a month that has not begun.
    """
    last = first_of_month(month)
    if last > first_of_month(timezone.now().date()):
        raise AssetOperationError(f"{last:%Y-%m} has not begun: its charge is not due.")
    result, credit, opened = AmortizationResult(), AMORTIZATION_CREDIT_ACCOUNT.get(), open_from()
    with transaction.atomic():
        rows = LlmDataAsset.objects.select_for_update(of=("self",)).order_by("pk")
        if assets is not None:
            rows = rows.filter(pk__in=assets)
        for asset in rows.prefetch_related("events", "amortization__reversal"):
            due = [
                charge
                for charge in asset_schedule(asset)
                if not charge.posted and charge.amount > 0 and charge.period <= last
            ]
            if not due:
                result.idle.append((asset, _idle_reason(asset, last)))
            elif (first := due[0].period) < opened:
                # Later charges follow from it, so none is posted.
                result.idle.append((asset, f"{first:%Y-%m} is closed: its charge cannot be posted"))
                logger.warning("%s: the charge of %s cannot be posted, because the month is closed", asset, first)
                continue
            for charge in due:
                if dry_run or _post_charge(asset, charge, credit):
                    result.charges.append(PostedCharge(asset, charge.period, charge.amount))
    return result


def _idle_reason(asset: LlmDataAsset, last: date) -> str:
    if asset.status == LlmDataAsset.Status.DISPOSED:
        return "disposed of"
    if asset.in_service_on is None:
        return "not in service"
    if first_of_month(asset.in_service_on) > last:
        return f"in service from {asset.in_service_on:%Y-%m-%d}"
    posted_until = max((entry.period for entry in asset.amortization.all() if not entry.is_reversed), default=None)
    return f"posted up to {posted_until:%Y-%m}" if posted_until else "nothing to amortize"


def _post_charge(asset: LlmDataAsset, charge: Charge, credit: str) -> bool:
    at = datetime(charge.period.year, charge.period.month, 1, tzinfo=UTC)
    with posting_on(charge.period), connection.cursor() as cursor:
        cursor.execute(
            load_sql("post_amortization"),
            {
                "asset": asset.pk,
                "period": charge.period,
                "amount": charge.amount,
                "credit": credit,
                "date": at,
                "debit": Account.AMORTIZATION_EXPENSE.value,
                "reference": amortization_reference(charge.period),
                "now": timezone.now(),
            },
        )
        return bool(cursor.rowcount)


@transaction.atomic
def reverse_entry(*, entry_id: int, actor: User, reason: str) -> AmortizationEntry:
    """Reverse a charge with a contra entry. Only the newest of an asset: later charges were calculated from it.

    Raises AssetOperationError.
    """
    entry = AmortizationEntry.objects.get(pk=entry_id)
    LlmDataAsset.objects.select_for_update().get(pk=entry.asset_id)  # charges and reversals of an asset hold this lock
    if entry.is_reversed:
        raise AssetOperationError("This charge has already been reversed.")
    if AmortizationEntry.objects.filter(asset_id=entry.asset_id, reversal=None, period__gt=entry.period).exists():
        raise AssetOperationError("Later months of this asset are posted: reverse those first.")
    reference = f"{amortization_reference(entry.period)} reversed: {reason}"
    accounts = (entry.credit_account, Account.AMORTIZATION_EXPENSE)
    contra = _post("amort_reversal", entry.period, accounts, entry.amount, reference)
    AmortizationReversal.objects.create(entry=entry, transfer_id=contra.pk, reversed_by=actor)
    return entry


@transaction.atomic
def add_asset_cost(
    *,
    asset_id: int,
    component: str,
    amount: Decimal,
    dated_on: date,
    actor: User,
    already_posted: bool = False,
    note: str = "",
) -> AssetEvent:
    """Add a cost to an asset and post it (15200 / 10100), unless it is already in the ledger.

    Raises AssetOperationError.
    """
    asset = _lock_asset(asset_id, dated_on)
    if amount <= 0:
        raise AssetOperationError("A cost must be greater than 0.")
    asset.cost_basis += amount
    asset.save(update_fields=["cost_basis", "updated_at"])
    if not already_posted:
        accounts = (Account.LLM_DATA_ASSETS, Account.BANK)
        _post("capitalize", dated_on, accounts, amount, f"{asset.asset_name}: {component}")
    return asset.events.create(
        kind=AssetEvent.Kind.COST, component=component, amount=amount, dated_on=dated_on, note=note, created_by=actor
    )


@transaction.atomic
def impair_asset(*, asset_id: int, amount: Decimal, dated_on: date, actor: User, note: str = "") -> AssetEvent:
    """Write an asset down; the rest is spread over its remaining life. Raises AssetOperationError."""
    asset = _lock_asset(asset_id, dated_on)
    value = carrying_value(asset)
    if not 0 < amount <= value:
        raise AssetOperationError(
            f"The carrying amount is {money(value)}: an impairment must be greater than 0 and at most that."
        )
    accounts = (Account.IMPAIRMENT, Account.ACCUMULATED_AMORTIZATION)
    _post("impairment", dated_on, accounts, amount, f"{asset.asset_name}: impairment")
    return asset.events.create(
        kind=AssetEvent.Kind.IMPAIRMENT, amount=amount, dated_on=dated_on, note=note, created_by=actor
    )


@transaction.atomic
def dispose_asset(*, asset_id: int, dated_on: date, proceeds: Decimal, actor: User, note: str = "") -> AssetEvent:
    """Derecognize an asset: earlier months are charged first, the difference to the proceeds is a gain or loss.

    Raises AssetOperationError.
    """
    asset = _lock_asset(asset_id, dated_on)
    if proceeds < 0:
        raise AssetOperationError("Proceeds must be 0 or more.")
    previous_month = first_of_month(dated_on) - relativedelta(months=1)
    if asset.in_service_on and first_of_month(asset.in_service_on) <= previous_month:
        amortize_month(month=previous_month, assets=[asset.pk])
    value = carrying_value(asset)
    contra = _amortized(asset, credit_account=Account.ACCUMULATED_AMORTIZATION) + _impaired(asset)
    for debit, credit, amount in (
        (Account.ACCUMULATED_AMORTIZATION, Account.LLM_DATA_ASSETS, contra),
        (Account.BANK, Account.LLM_DATA_ASSETS, proceeds),
        (Account.DISPOSAL_LOSS, Account.LLM_DATA_ASSETS, max(value - proceeds, ZERO)),
        (Account.LLM_DATA_ASSETS, Account.DISPOSAL_GAIN, max(proceeds - value, ZERO)),
    ):
        if amount:
            _post("disposal", dated_on, (debit, credit), amount, f"{asset.asset_name}: disposal")
    asset.status = LlmDataAsset.Status.DISPOSED
    asset.save(update_fields=["status", "updated_at"])
    return asset.events.create(
        kind=AssetEvent.Kind.DISPOSAL, amount=proceeds, dated_on=dated_on, note=note, created_by=actor
    )


def _lock_asset(asset_id: int, dated_on: date) -> LlmDataAsset:
    """Return the asset, locked, if an event on that day is still possible."""
    asset = LlmDataAsset.objects.select_for_update().get(pk=asset_id)
    if asset.status == LlmDataAsset.Status.DISPOSED:
        raise AssetOperationError("The asset has been disposed of.")
    if dated_on > timezone.now().date():
        raise AssetOperationError("The date is in the future.")
    newest = asset.amortization.filter(reversal=None).order_by("-period").values_list("period", flat=True).first()
    if newest is not None and first_of_month(dated_on) <= newest:
        raise AssetOperationError(
            f"{newest:%Y-%m} is already posted: choose a later day, or reverse the charges from"
            f" {first_of_month(dated_on):%Y-%m} on."
        )
    return asset


def _post(kind: str, day: date, accounts: tuple[str, str], amount: Decimal, reference: str) -> LedgerTransfer:
    """Post a transfer between the accounts (debit, credit)."""
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    debit, credit = map(str, accounts)
    with posting_on(day):
        return LedgerTransfer.objects.create(
            user_id=0,
            date=at,
            kind=kind,
            debit_account=debit,
            credit_account=credit,
            amount=amount,
            reference=reference[:100],
        )
