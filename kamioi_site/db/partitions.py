"""Monthly partitions: which should exist, which do, and how the missing ones are created.

`MonthlyPartitionedModel` declares a partitioned table; a migration creates its parent table in SQL with the key
(id, …, partition column), while Django sees the single `id`. Partitions are named like `transactions_y2025m01`. Each
table has a default partition for rows of missing months; it is monitored and kept empty, because a row in it would
block the creation of its month. Old months are detached on request and never dropped.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, ClassVar

from dateutil.relativedelta import relativedelta
from django.apps import apps
from django.db import connection, models, transaction
from psqlextra.models.options import PostgresPartitionedModelOptions
from psqlextra.partitioning import (
    PostgresCurrentTimePartitioningStrategy,
    PostgresPartitioningConfig,
    PostgresPartitioningManager,
    PostgresTimePartition,
    PostgresTimePartitionSize,
)
from psqlextra.partitioning.constants import AUTO_PARTITIONED_COMMENT
from psqlextra.types import PostgresPartitioningMethod

from kamioi_site.errors import KamioiError

MONTHS_AHEAD = 3
NAME_FORMAT = "y%Ym%m"
_MONTH = PostgresTimePartitionSize(months=1)
# Held while partitions are changed: two workers must not create the same month.
_LOCK_KEY = 7_203_001


class PartitionError(KamioiError):
    """The partition cannot be changed."""


class MonthlyPartitionedModel(models.Model):
    """A table that PostgreSQL partitions by month on the column `partition_column`."""

    partition_column: ClassVar[str]
    _partitioning_meta: ClassVar[PostgresPartitionedModelOptions]

    class Meta:
        abstract = True

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Declare the partitioning to django-postgres-extra."""
        super().__init_subclass__(**kwargs)
        cls._partitioning_meta = PostgresPartitionedModelOptions(
            method=PostgresPartitioningMethod.RANGE, key=[cls.partition_column]
        )


class MonthlyStrategy(PostgresCurrentTimePartitioningStrategy):
    """The current and the next months, with bounds at midnight UTC."""

    def __init__(self, first: datetime | None = None) -> None:
        super().__init__(size=_MONTH, count=MONTHS_AHEAD + 1, name_format=NAME_FORMAT)
        self._first = first

    def get_start_datetime(self) -> datetime:
        """Return midnight; the library would use the current hour in the bounds."""
        return month_start(self._first or datetime.now(UTC))


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
    return [model for model in apps.get_models() if issubclass(model, MonthlyPartitionedModel)]


def _manager(models_: Iterable[type[MonthlyPartitionedModel]], first: datetime | None) -> PostgresPartitioningManager:
    return PostgresPartitioningManager(
        [PostgresPartitioningConfig(model=model, strategy=MonthlyStrategy(first)) for model in models_]  # type: ignore[arg-type]
    )


def plan_partitions(*, now: datetime | None = None) -> PartitionPlan:
    """Find missing partitions of this month and the next `MONTHS_AHEAD`, and rows in the default partitions."""
    plan = PartitionPlan()
    for model_plan in _manager(partitioned_models(), now).plan(skip_delete=True).model_plans:
        table = model_plan.config.model._meta.db_table
        plan.creations[table] = [
            creation.start_datetime.date()
            for creation in model_plan.creations
            if isinstance(creation, PostgresTimePartition)
        ]
    for model in partitioned_models():
        months = _default_months(model)
        if months:
            plan.strays[model._meta.db_table] = months
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

    Returns the number of partitions created. Existing months cost one catalog query and take no lock.
    """
    requested = {month_start(month) for month in months}
    existing = set(_partition_names(model._meta.db_table))
    missing = sorted(month for month in requested if _partition_name(model, month) not in existing)
    for month in missing:
        _create_partition(model, month)
    return len(missing)


def _create_partition(model: type[MonthlyPartitionedModel], month: datetime) -> None:
    """Create one month's partition.

    If the default partition has rows of the month, it is detached, the rows are moved, and it is attached again, in one
    transaction.
    """
    table = model._meta.db_table
    column, default = model.partition_column, f"{table}_default"
    name = _partition_name(model, month)
    following = month + relativedelta(months=1)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK_KEY])
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
        if cursor.fetchone()[0]:
            return  # another worker created it
        cursor.execute(
            f"SELECT EXISTS (SELECT 1 FROM {default} WHERE {column} >= %s AND {column} < %s)",  # noqa: S608
            [month, following],
        )
        stray = cursor.fetchone()[0]
        if stray:
            cursor.execute(f"ALTER TABLE {table} DETACH PARTITION {default}")
        with connection.schema_editor() as editor:
            PostgresTimePartition(_MONTH, month, NAME_FORMAT).create(
                model,  # type: ignore[arg-type]
                editor,  # type: ignore[arg-type]
                comment=AUTO_PARTITIONED_COMMENT,
            )
        if stray:
            # Identity columns refuse explicit values only when GENERATED ALWAYS; ours are BY DEFAULT.
            cursor.execute(
                f"WITH moved AS (DELETE FROM {default} WHERE {column} >= %s AND {column} < %s RETURNING *) "  # noqa: S608
                f"INSERT INTO {table} SELECT * FROM moved",
                [month, following],
            )
            cursor.execute(f"ALTER TABLE {table} ATTACH PARTITION {default} DEFAULT")


def detach_partition(model: type[MonthlyPartitionedModel], month: date) -> str:
    """Detach one old month and return the name of its table, which keeps its rows."""
    name = _partition_name(model, month_start(month))
    if name not in _partition_names(model._meta.db_table):
        raise PartitionError(f"{name} is not a partition of {model._meta.db_table}")
    if month_start(month) >= month_start(datetime.now(UTC)):
        raise PartitionError(f"{name} is not in the past; only old months are detached")
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {model._meta.db_table} DETACH PARTITION {name}")
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
        while _partition_name(model, now + relativedelta(months=ahead + 1)) in names:
            ahead += 1
        # Bounded: the default partition should be empty, and an alert needs no exact number.
        sql = f"SELECT count(*) FROM (SELECT 1 FROM {table}_default LIMIT 10000) AS stray"  # noqa: S608
        statuses.append(PartitionStatus(table, names, fetch(sql)[0][0], ahead))
    return statuses


def _partition_name(model: type[MonthlyPartitionedModel], month: datetime) -> str:
    return f"{model._meta.db_table}_{month.strftime(NAME_FORMAT)}"


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
