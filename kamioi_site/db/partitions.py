"""Partitions by month: which should exist, which do, and how the missing ones are created.

`MonthlyPartitionedModel` declares a partitioned table; a migration creates its parent table in SQL with the key
(id, …, partition column), while Django sees the single `id`. Partitions are named like `transactions_y2025m01`; a year
before last year is one partition, `transactions_y2019`. Maintenance and the legacy migration create partitions, by the
SQL function `kamioi_create_partition`; a request never does. Each table has a default partition for rows of missing
months; it is monitored and kept empty, because creating the month of a row in it locks the table while the row moves.
Old partitions are detached on request and never dropped.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, ClassVar

from dateutil.relativedelta import relativedelta
from django.apps import apps
from django.db import connection, models

from kamioi_site.db.roles import as_owner
from kamioi_site.errors import KamioiError

MONTHS_AHEAD = 3


class PartitionError(KamioiError):
    """The partition cannot be changed."""


class MonthlyPartitionedModel(models.Model):
    """A table that PostgreSQL partitions by month on the column `partition_column`."""

    partition_column: ClassVar[str]

    class Meta:
        abstract = True


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """The partitions of one table in order, and the number of rows in its default partition."""

    table: str
    partitions: list[str]
    default_rows: int
    headroom_months: int


@dataclass(slots=True)
class PartitionPlan:
    """Missing partitions by table, and months with rows in the default partition."""

    creations: dict[str, list[date]] = field(default_factory=dict)
    strays: dict[str, list[date]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(self.creations.values()) or any(self.strays.values())


def month_start(moment: date | datetime) -> datetime:
    """Return midnight UTC of the first day of the month."""
    return datetime(moment.year, moment.month, 1, tzinfo=UTC)


def partitioned_models() -> list[type[MonthlyPartitionedModel]]:
    """List the models that are partitioned by month."""
    return [
        model for model in apps.get_models() if issubclass(model, MonthlyPartitionedModel) and not model._meta.proxy
    ]


def plan_partitions(*, now: datetime | None = None) -> PartitionPlan:
    """Find missing partitions of this month and the next `MONTHS_AHEAD`, and rows in the default partitions."""
    first = month_start(now or datetime.now(UTC))
    months = [first + relativedelta(months=ahead) for ahead in range(MONTHS_AHEAD + 1)]
    plan = PartitionPlan()
    for model in partitioned_models():
        table = model._meta.db_table
        if missing := _missing(table, months):
            plan.creations[table] = [month.date() for month in missing]
        if strays := _default_months(model):
            plan.strays[table] = strays
    return plan


def apply_partitions(*, now: datetime | None = None) -> PartitionPlan:
    """Create the missing partitions and move stray rows into their months. Returns what was done."""
    plan = plan_partitions(now=now)
    for model in partitioned_models():
        table = model._meta.db_table
        ensure_partitions(model, {*plan.creations.get(table, ()), *plan.strays.get(table, ())})
    return plan


def ensure_partitions(model: type[MonthlyPartitionedModel], months: Iterable[date | datetime]) -> int:
    """Create the missing partitions of these months and move their rows out of the default partition.

    For maintenance and the legacy migration, never in a request. Returns the number of partitions created. Existing
    months cost one catalog query and take no lock.
    """
    table = model._meta.db_table
    created = [
        _fetch("SELECT kamioi_create_partition(%s, %s)", [table, month.date()])[0][0]
        for month in _missing(table, sorted({month_start(month) for month in months}))
    ]
    return len(created) - created.count(None)


def detach_partition(model: type[MonthlyPartitionedModel], period: str) -> str:
    """Detach an old month ("2025-01") or year ("2019") and return the name of its table, which keeps its rows."""
    table = model._meta.db_table
    name = f"{table}_y{period.replace('-', 'm')}"
    if name not in _partition_names(table):
        raise PartitionError(f"{name} is not a partition of {table}")
    if period >= f"{datetime.now(UTC):%Y-%m}"[: len(period)]:
        raise PartitionError(f"{name} is not in the past; only old partitions are detached")
    with as_owner(), connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DETACH PARTITION {name}")
    return name


def partition_status(fetch: Callable[..., list[tuple[Any, ...]]] | None = None) -> list[PartitionStatus]:
    """Return each partitioned table with its partitions, rows in the default partition and months ahead.

    Args:
        fetch: runs a query with its parameters on another connection and returns the rows.
    """
    fetch = fetch or _fetch
    now = month_start(datetime.now(UTC))
    statuses = []
    for model in partitioned_models():
        table = model._meta.db_table
        names = _partition_names(table, fetch)
        ahead = 0
        while f"{table}_{now + relativedelta(months=ahead + 1):y%Ym%m}" in names:
            ahead += 1
        # Bounded: the default partition should be empty, and an alert needs no exact number.
        sql = f"SELECT count(*) FROM (SELECT 1 FROM {table}_default LIMIT 10000) AS stray"  # noqa: S608
        statuses.append(PartitionStatus(table, names, fetch(sql)[0][0], ahead))
    return statuses


def _missing(table: str, months: Iterable[datetime]) -> list[datetime]:
    names = set(_partition_names(table))
    return [month for month in months if not names & {f"{table}_{month:y%Y}", f"{table}_{month:y%Ym%m}"}]


def _partition_names(table: str, fetch: Callable[..., list[tuple[Any, ...]]] | None = None) -> list[str]:
    sql = (
        "SELECT child.relname FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid "
        "WHERE inhparent = to_regclass(%s) ORDER BY 1"
    )
    return [row[0] for row in (fetch or _fetch)(sql, [table])]


def _fetch(sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, list(parameters))
        return cursor.fetchall()


def _default_months(model: type[MonthlyPartitionedModel]) -> list[date]:
    table, column = model._meta.db_table, model.partition_column
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT DISTINCT date_trunc('month', {column} AT TIME ZONE 'UTC')::date FROM {table}_default ORDER BY 1"  # noqa: S608
        )
        return [row[0] for row in cursor.fetchall()]
