"""Partitions by month: which should exist, which do, and how the missing ones are created.

`MonthlyPartitionedModel` declares a partitioned table; a migration creates its parent table in SQL with the key
(id, …, partition column), while Django sees the single `id`. Partitions are named like `transactions_y2025m01`; a year
before last year is one partition, `transactions_y2019`. Maintenance and the legacy migration create partitions, by the
SQL function `kamioi_create_partition`; a request never does. Each table has a default partition for rows of missing
months; it is monitored and kept empty, because creating the month of a row in it locks the table while the row moves.
Old partitions are detached on request, the oldest first, and never dropped; they are attached again in reverse order.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, ClassVar

from dateutil.relativedelta import relativedelta
from django.apps import apps
from django.db import DatabaseError, connection, models, transaction
from django.dispatch import Signal

from kamioi_site.db.roles import PARTITION_NAME, as_owner
from kamioi_site.errors import KamioiError

MONTHS_AHEAD = 3
# Sent within the transaction, before the rows disappear and when they are back: `partition`, a `Partition`.
partition_detaching = Signal()
partition_attached = Signal()


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


@dataclass(frozen=True, slots=True)
class Partition:
    """A month or a year of a table: its name, and its bounds."""

    table: str
    name: str
    start: datetime
    end: datetime

    @classmethod
    def of(cls, model: type[MonthlyPartitionedModel], period: str) -> "Partition":
        """Return the partition of a month ("2025-01") or a year ("2019")."""
        table, year, month = model._meta.db_table, int(period[:4]), int(period[5:] or 1)
        start = datetime(year, month, 1, tzinfo=UTC)
        length = relativedelta(months=1) if "-" in period else relativedelta(years=1)
        return cls(table, f"{table}_y{period.replace('-', 'm')}", start, start + length)


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
    """Detach the oldest rows, a month ("2025-01") or a year ("2019"); return their table, which keeps them.

    Raises PartitionError.
    """
    partition = Partition.of(model, period)
    if partition.name not in _partition_names(partition.table):
        raise PartitionError(f"{partition.name} is not a partition of {partition.table}")
    if partition.end > month_start(datetime.now(UTC)):
        raise PartitionError(f"{partition.name} is not in the past; only old partitions are detached")
    if model._base_manager.filter(**{f"{model.partition_column}__lt": partition.start}).exists():
        raise PartitionError(f"{partition.table} has older rows than {partition.name}: detach those first")
    with as_owner(), transaction.atomic(), connection.cursor() as cursor:
        partition_detaching.send(sender=model, partition=partition)
        cursor.execute(f"ALTER TABLE {partition.table} DETACH PARTITION {partition.name}")
    return partition.name


def attach_partition(model: type[MonthlyPartitionedModel], period: str) -> str:
    """Attach the partition that was detached last; it gets the present checks of its table. Returns its name.

    PostgreSQL reads the rows to check them. Raises PartitionError.
    """
    partition = Partition.of(model, period)
    table, name = partition.table, partition.name
    [(last,)] = _fetch(_LAST_DETACHED, [f"^{table}{PARTITION_NAME}"])
    if last != name:
        raise PartitionError(f"{name} is not detached" if not last or last < name else f"Attach {last} first.")
    try:
        with as_owner(), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_DIFFERENT_CHECKS, {"table": table, "name": name})
            for constraint, definition in cursor.fetchall():
                cursor.execute(f"ALTER TABLE {name} DROP CONSTRAINT IF EXISTS {constraint}")
                if definition:
                    cursor.execute(f"ALTER TABLE {name} ADD CONSTRAINT {constraint} {definition}")
            bounds = [partition.start, partition.end]
            cursor.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM (%s) TO (%s)", bounds)
            partition_attached.send(sender=model, partition=partition)
    except DatabaseError as error:
        raise PartitionError(f"{name} cannot be attached: {str(error).strip()}") from error
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


_LAST_DETACHED = """
    SELECT max(relname) FROM pg_class
    WHERE relkind = 'r' AND NOT relispartition AND relnamespace = 'public'::regnamespace AND relname ~ %s
"""
# Checks that a detached partition lacks, or has otherwise or in addition: (name, definition of the table or NULL).
_DIFFERENT_CHECKS = """
    SELECT quote_ident(conname), max(definition) FILTER (WHERE is_of_table)
    FROM (
        SELECT conname, pg_get_constraintdef(oid) AS definition, conrelid = to_regclass(%(table)s) AS is_of_table
        FROM pg_constraint WHERE contype = 'c' AND conrelid IN (to_regclass(%(table)s), to_regclass(%(name)s))
    ) AS checks
    GROUP BY conname HAVING count(DISTINCT definition) <> 1 OR count(*) <> 2
"""


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
