"""LLM data assets in the books: straight-line amortization, impairment, disposal.

Rules that hold here:

* An asset is charged from the month in which it goes into service, for `useful_life_months`. Each month takes the same
  amount, rounded down to the cent; the last one takes the remainder, so the life adds up exactly.
* What changes the amount (a later cost, an impairment, another life) counts from its month on: what is left, less the
  salvage value, is spread anew over the months that are left. Months that are booked stay as they are.
* One entry an asset and month, whatever happens: entry and transfer are written by one statement, and the database refuses a
  second entry that was not reversed. A run for a month books the months missed before it too, each under its own date.
* Nothing booked is edited: a reversal is a contra entry.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_DOWN, Decimal

from dateutil.relativedelta import relativedelta
from django.db import connection, transaction
from django.db.models import Sum
from django.utils import timezone

from kamioi_site.db.partitions import ensure_partitions
from llm_center.errors import AssetOperationError
from llm_center.live_settings import AMORTIZATION_CREDIT_ACCOUNT
from llm_center.models import AmortizationEntry, AssetEvent, LlmDataAsset
from transactions.models import Account, LedgerTransfer, User
from transactions.rules.money import CENT, ZERO


@dataclass(frozen=True, slots=True)
class Charge:
    """One month of an asset: first day of the month, dollars, what the asset stands at afterwards, whether it is booked."""

    period: date
    amount: Decimal
    carrying: Decimal
    booked: bool


@dataclass(frozen=True, slots=True)
class BookedCharge:
    """A charge that this run booked, or would book."""

    asset: LlmDataAsset
    period: date
    amount: Decimal


@dataclass(slots=True)
class AmortizationResult:
    """What a run did: charges booked, and assets of which nothing was due, with the reason."""

    charges: list[BookedCharge] = field(default_factory=list)
    idle: list[tuple[LlmDataAsset, str]] = field(default_factory=list)

    @property
    def total(self) -> Decimal:
        """Dollars of all charges."""
        return sum((charge.amount for charge in self.charges), ZERO)


def first_of_month(day: date) -> date:
    """The first day of the month."""
    return date(day.year, day.month, 1)


def amortization_reference(period: date) -> str:
    """What the books call the entries of a month, as the legacy system did."""
    return f"LLM-AMORT-{period:%Y%m}"


def schedule(
    *,
    cost: Decimal,
    salvage: Decimal,
    life: int,
    in_service: date,
    changes: Iterable[tuple[date, Decimal]] = (),
    booked: Mapping[date, Decimal] | None = None,
    until: date | None = None,
) -> list[Charge]:
    """Every month of an asset's life. Pure.

    Args:
        cost: dollars at the first month; `changes` are later ones (cost +, impairment −) with their dates.
        booked: charges that stand in the books, by first day of the month.
        until: no charge from this month on (disposal).
    """
    booked = booked or {}
    first = first_of_month(in_service)
    later: dict[date, Decimal] = {}
    for day, amount in changes:
        month = max(first_of_month(day), first)
        later[month] = later.get(month, ZERO) + amount
    charges: list[Charge] = []
    carrying, monthly, plan_anew = cost, ZERO, True
    for number in range(life):
        period = first + relativedelta(months=number)
        if until is not None and period >= first_of_month(until):
            break
        if period in later:
            carrying, plan_anew = carrying + later[period], True
        left = max(carrying - salvage, ZERO)
        if plan_anew:
            monthly, plan_anew = (left / (life - number)).quantize(CENT, ROUND_DOWN), False
        amount = left if number == life - 1 else min(monthly, left)
        is_booked = period in booked
        if is_booked and booked[period] != amount:
            # The facts were others when it was booked: from here on by those of today.
            amount, plan_anew = booked[period], True
        carrying -= amount
        charges.append(Charge(period, amount, carrying, is_booked))
    return charges


def asset_schedule(asset: LlmDataAsset) -> list[Charge]:
    """The months of this asset; nothing while it is not in service."""
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
    booked = {entry.period: entry.amount for entry in asset.amortization.all() if entry.reversed_at is None}
    return schedule(
        cost=asset.cost_basis - sum((amount for _, amount in late), ZERO),
        salvage=asset.salvage_value,
        life=asset.useful_life_months,
        in_service=asset.in_service_on,
        changes=late + impairments,
        booked=booked,
        until=disposal,
    )


def carrying_value(asset: LlmDataAsset) -> Decimal:
    """Cost less what was written off and booked so far; nothing once it is disposed of."""
    if asset.status == LlmDataAsset.Status.DISPOSED:
        return ZERO
    written_off = asset.amortization.filter(reversed_at=None).aggregate(total=Sum("amount"))["total"] or ZERO
    impaired = asset.events.filter(kind=AssetEvent.Kind.IMPAIRMENT).aggregate(total=Sum("amount"))["total"] or ZERO
    return asset.cost_basis - written_off - impaired


# Entry and transfer at once: whoever is second finds the entry and writes neither.
_BOOK = """
WITH wanted AS (
    SELECT %(asset)s::bigint AS asset_id, %(period)s::date AS period, %(amount)s::numeric(14, 2) AS amount,
           nextval(pg_get_serial_sequence('ledger_transfers', 'id')) AS transfer_id
), entry AS (
    INSERT INTO amortization_entries (asset_id, period, amount, credit_account, transfer_id, created_at)
    SELECT asset_id, period, amount, %(credit)s, transfer_id, %(now)s FROM wanted
    ON CONFLICT (asset_id, period) WHERE reversed_at IS NULL DO NOTHING
    RETURNING amount, transfer_id
)
INSERT INTO ledger_transfers (id, user_id, date, kind, debit_account, credit_account, amount, reference, created_at)
SELECT transfer_id, 0, %(date)s, 'amortization', %(debit)s, %(credit)s, amount, %(reference)s, %(now)s FROM entry
"""


def amortize_month(*, month: date, dry_run: bool = False, assets: Sequence[int] | None = None) -> AmortizationResult:
    """Book what is due up to and including `month`, missed months too. Twice, or by two workers, it books once.

    Raises SettingError, and AssetOperationError for a month that has not begun.
    """
    last = first_of_month(month)
    if last > first_of_month(timezone.now().date()):
        raise AssetOperationError(f"{last:%Y-%m} has not begun: its charge is not due.")
    done, credit = AmortizationResult(), AMORTIZATION_CREDIT_ACCOUNT.get()
    with transaction.atomic():
        rows = LlmDataAsset.objects.select_for_update(of=("self",)).order_by("pk")
        if assets is not None:
            rows = rows.filter(pk__in=assets)
        for asset in rows.prefetch_related("events", "amortization"):
            due = [
                charge
                for charge in asset_schedule(asset)
                if not charge.booked and charge.amount > 0 and charge.period <= last
            ]
            if not due:
                done.idle.append((asset, _why_nothing(asset, last)))
            for charge in due:
                if dry_run or _book(asset, charge, credit):
                    done.charges.append(BookedCharge(asset, charge.period, charge.amount))
    return done


def _why_nothing(asset: LlmDataAsset, last: date) -> str:
    if asset.status == LlmDataAsset.Status.DISPOSED:
        return "disposed of"
    if asset.in_service_on is None:
        return "not in service"
    if first_of_month(asset.in_service_on) > last:
        return f"in service from {asset.in_service_on:%Y-%m-%d}"
    booked_until = max((entry.period for entry in asset.amortization.all() if entry.reversed_at is None), default=None)
    return f"booked up to {booked_until:%Y-%m}" if booked_until else "nothing to write off"


def _book(asset: LlmDataAsset, charge: Charge, credit: str) -> bool:
    at = datetime(charge.period.year, charge.period.month, 1, tzinfo=UTC)
    ensure_partitions(LedgerTransfer, [at])
    with connection.cursor() as cursor:
        cursor.execute(
            _BOOK,
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


def reverse_entry(*, entry_id: int, actor: User, reason: str) -> AmortizationEntry:
    """Take a charge back by a contra entry. Only the newest of an asset: what came after it was planned upon it.

    Raises AssetOperationError.
    """
    with transaction.atomic():
        entry = AmortizationEntry.objects.select_for_update().select_related("asset").get(pk=entry_id)
        LlmDataAsset.objects.select_for_update().get(pk=entry.asset_id)
        if entry.reversed_at is not None:
            raise AssetOperationError("This charge is reversed already.")
        if AmortizationEntry.objects.filter(
            asset_id=entry.asset_id, reversed_at=None, period__gt=entry.period
        ).exists():
            raise AssetOperationError("Later months of this asset are booked: reverse those first.")
        _transfer(
            "amort_reversal",
            entry.period,
            entry.credit_account,
            Account.AMORTIZATION_EXPENSE.value,
            entry.amount,
            f"{amortization_reference(entry.period)} reversed: {reason}"[:100],
        )
        entry.reversed_at, entry.reversed_by = timezone.now(), actor
        entry.save(update_fields=["reversed_at", "reversed_by"])
    return entry


def add_asset_cost(
    *,
    asset_id: int,
    component: str,
    amount: Decimal,
    dated_on: date,
    actor: User,
    in_books: bool = False,
    note: str = "",
) -> AssetEvent:
    """Add a cost to an asset, and book it (15200 / 10100) unless it stands in the books already. Raises AssetOperationError."""
    with transaction.atomic():
        asset = _open_asset(asset_id, dated_on)
        if amount <= 0:
            raise AssetOperationError("A cost is more than nothing.")
        asset.cost_basis += amount
        asset.save(update_fields=["cost_basis", "updated_at"])
        if not in_books:
            _transfer("capitalize", dated_on, Account.LLM_DATA_ASSETS, Account.BANK, amount, _named(asset, component))
        return AssetEvent.objects.create(
            asset=asset,
            kind=AssetEvent.Kind.COST,
            component=component,
            amount=amount,
            dated_on=dated_on,
            note=note,
            created_by=actor,
        )


def impair_asset(*, asset_id: int, amount: Decimal, dated_on: date, actor: User, note: str = "") -> AssetEvent:
    """Write an asset down at once; what is left is spread over the rest of its life. Raises AssetOperationError."""
    with transaction.atomic():
        asset = _open_asset(asset_id, dated_on)
        value = carrying_value(asset)
        if not 0 < amount <= value:
            raise AssetOperationError(
                f"The asset stands at ${value:,}: an impairment is more than nothing and no more than that."
            )
        _transfer(
            "impairment",
            dated_on,
            Account.IMPAIRMENT,
            Account.ACCUMULATED_AMORTIZATION,
            amount,
            _named(asset, "impairment"),
        )
        return AssetEvent.objects.create(
            asset=asset, kind=AssetEvent.Kind.IMPAIRMENT, amount=amount, dated_on=dated_on, note=note, created_by=actor
        )


def dispose_asset(*, asset_id: int, dated_on: date, proceeds: Decimal, actor: User, note: str = "") -> AssetEvent:
    """Take an asset out of the books: months before are charged first, the difference to the proceeds is gain or loss.

    Raises AssetOperationError.
    """
    with transaction.atomic():
        asset = _open_asset(asset_id, dated_on)
        if proceeds < 0:
            raise AssetOperationError("Proceeds are nothing or more.")
        before = first_of_month(dated_on) - relativedelta(months=1)
        if asset.in_service_on and first_of_month(asset.in_service_on) <= before:
            amortize_month(month=before, assets=[asset.pk])
        value = carrying_value(asset)
        contra = (
            asset.amortization.filter(reversed_at=None, credit_account=Account.ACCUMULATED_AMORTIZATION).aggregate(
                total=Sum("amount")
            )["total"]
            or ZERO
        )
        contra += asset.events.filter(kind=AssetEvent.Kind.IMPAIRMENT).aggregate(total=Sum("amount"))["total"] or ZERO
        named = _named(asset, "disposal")
        assets = Account.LLM_DATA_ASSETS
        for debit, credit, amount in (
            (Account.ACCUMULATED_AMORTIZATION, assets, contra),
            (Account.BANK, assets, proceeds),
            (Account.DISPOSAL_LOSS, assets, max(value - proceeds, ZERO)),
            (assets, Account.DISPOSAL_GAIN, max(proceeds - value, ZERO)),
        ):
            if amount:
                _transfer("disposal", dated_on, debit, credit, amount, named)
        asset.status = LlmDataAsset.Status.DISPOSED
        asset.save(update_fields=["status", "updated_at"])
        return AssetEvent.objects.create(
            asset=asset, kind=AssetEvent.Kind.DISPOSAL, amount=proceeds, dated_on=dated_on, note=note, created_by=actor
        )


def _open_asset(asset_id: int, dated_on: date) -> LlmDataAsset:
    """The asset, locked, if something may still happen to it on that day."""
    asset = LlmDataAsset.objects.select_for_update().get(pk=asset_id)
    if asset.status == LlmDataAsset.Status.DISPOSED:
        raise AssetOperationError("The asset is disposed of.")
    if dated_on > timezone.now().date():
        raise AssetOperationError("The day lies ahead.")
    newest = asset.amortization.filter(reversed_at=None).order_by("-period").values_list("period", flat=True).first()
    if newest is not None and first_of_month(dated_on) <= newest:
        raise AssetOperationError(
            f"{newest:%Y-%m} is booked already: choose a day after it, or reverse the charges from {first_of_month(dated_on):%Y-%m} on."
        )
    return asset


def _named(asset: LlmDataAsset, what: str) -> str:
    return f"{asset.asset_name}: {what}"[:100]


def _transfer(kind: str, day: date, debit: str, credit: str, amount: Decimal, reference: str) -> None:  # noqa: PLR0917
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    ensure_partitions(LedgerTransfer, [at])
    LedgerTransfer.objects.create(
        user_id=0,
        date=at,
        kind=kind,
        debit_account=str(debit),
        credit_account=str(credit),
        amount=amount,
        reference=reference,
    )
