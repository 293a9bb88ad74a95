"""Detached months of the ledger and of purchases, so that a verification is right without their rows.

A month of the ledger is detached when it is closed and sealed. Its rows may have been written on days of which other
rows are left, so the record has what is left of every such day: a verification recounts the rest of the ledger
completely, and takes the totals of the detached rows from the seals. Purchases are only recorded.
"""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Max

from kamioi_site.db.partitions import Partition, PartitionError, partition_attached, partition_detaching
from transactions.models import DetachedPartition, LedgerSeal, LedgerTransfer, PeriodClosing, Transaction
from transactions.models.seals import EXACT
from transactions.services.ledger_seals import ONE_DAY, compute_days, empty_seal, remaining_days


def attached_from(table: str) -> date | None:
    """Return the first day whose rows are attached; None when nothing is detached."""
    end: date | None = DetachedPartition.objects.filter(table=table).aggregate(end=Max("end"))["end"]
    return end


def detached_totals() -> tuple[dict[str, Decimal], Decimal, Decimal]:
    """Return the totals of the detached rows by the seals: debits less credits by account, weighted shares and cost."""
    sums, holdings, cost = dict[str, Decimal](), Decimal(0), Decimal(0)
    remaining = remaining_days()
    sealed = _sealed_contents(remaining)
    for day, left in remaining.items():
        for content, add in ((sealed[day], EXACT.add), (left, EXACT.subtract)):
            for account, amount in content.get("sums", {}).items():
                sums[account] = add(sums.get(account, Decimal(0)), Decimal(amount))
            holdings = add(holdings, Decimal(content.get("holdings", 0)))
            cost = add(cost, Decimal(content.get("cost", 0)))
    return sums, holdings, cost


def _record(sender: type[Any], partition: Partition, **_: Any) -> None:
    if sender in (LedgerTransfer, Transaction):
        remaining = _remaining(partition) if sender is LedgerTransfer else {}
        DetachedPartition.objects.create(
            table=partition.table, name=partition.name, end=partition.end.date(), remaining=remaining
        )


def _forget(sender: type[Any], partition: Partition, **_: Any) -> None:
    if sender in (LedgerTransfer, Transaction):
        later = DetachedPartition.objects.filter(table=partition.table, end__gt=partition.end.date())
        if later.exists():
            raise PartitionError(f"Attach {later.latest('end')} first.")
        DetachedPartition.objects.filter(name=partition.name).delete()


def _remaining(partition: Partition) -> dict[str, Any]:
    """Return what will be left of the days on which rows of the partition were written; the days must be right now."""
    end = partition.end.date()
    last_month = (end - ONE_DAY).replace(day=1)
    if not PeriodClosing.objects.filter(reopened_at=None, month__gte=last_month).exists():
        raise PartitionError(f"Close {last_month:%B %Y} first.")
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT DISTINCT (created_at AT TIME ZONE 'UTC')::date FROM {partition.name} ORDER BY 1"  # noqa: S608
        )
        written = [day for (day,) in cursor.fetchall()]
    last = LedgerSeal.objects.aggregate(last=Max("day"))["last"]
    if written and (last is None or written[-1] > last):
        raise PartitionError(f"{written[-1]} is not sealed yet.")
    expected, remaining = _sealed_contents(written) | remaining_days(), dict[str, Any]()
    for day in written:
        if _content(day) != expected[day]:
            raise PartitionError(f"The ledger of {day} does not match its seal, see `manage.py verify_ledger --all`.")
        remaining[f"{day}"] = _content(day, dated_from=end)
    return remaining


def _content(day: date, *, dated_from: date | None = None) -> dict[str, Any]:
    days = compute_days(day, day + ONE_DAY, dated_from=dated_from)
    return (days.get(day) or empty_seal(day)).day_content(None)


def _sealed_contents(days: Iterable[date]) -> dict[date, dict[str, Any]]:
    """Return what the seals state about these days; a missing seal is another check's problem."""
    days_before = {day: day - ONE_DAY for day in days}
    seals = {seal.day: seal for seal in LedgerSeal.objects.filter(day__in=[*days_before, *days_before.values()])}
    return {
        day: (seals.get(day) or empty_seal(day)).day_content(seals.get(before) if day in seals else None)
        for day, before in days_before.items()
    }


partition_detaching.connect(_record, dispatch_uid="detached_partitions")
partition_attached.connect(_forget, dispatch_uid="detached_partitions")
