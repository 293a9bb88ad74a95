"""Which table goes where on Citus, and the statements that take it there.

Each app says so of its own tables in its `distribution.py`. Three places are possible:
- **reference**: a whole copy on every machine; what every look-up joins with, small beside the rest, written seldom.
- **distributed**: split over the machines by a column that every unique key contains; tables by the same column lie together.
- **local**: on the coordinator only, with a reason: small, or written by one process.

Rules that Citus makes, and `find_distribution_problems` looks for: no trigger on a distributed table; foreign keys from one only
to reference tables, or to a table that lies together with it by that column; none to one from elsewhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.db import connection
from django.db.models import ForeignKey

from kamioi_site.errors import KamioiError

APPS = ("kamioi_site", "transactions", "llm_center", "analytics")


class DistributionError(KamioiError):
    """The database cannot be distributed as it is."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Where tables go. `distributed` is table → column, `local` is table → why; reference tables in the order of their keys."""

    reference: Sequence[str] = ()
    distributed: Mapping[str, str] = field(default_factory=dict)
    local: Mapping[str, str] = field(default_factory=dict)
    # SQL functions that statements over distributed tables call: `name(types)`.
    functions: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One statement and what it is for."""

    what: str
    sql: str


def distribution() -> Distribution:
    """What all the rooms say, together."""
    found = [import_module(f"{room}.distribution") for room in APPS if find_spec(f"{room}.distribution")]
    parts: list[Distribution] = [module.DISTRIBUTION for module in found]
    return Distribution(
        reference=[table for part in parts for table in part.reference],
        distributed={table: column for part in parts for table, column in part.distributed.items()},
        local={table: why for part in parts for table, why in part.local.items()},
        functions=[function for part in parts for function in part.functions],
    )


def own_tables() -> list[str]:
    """Every table and materialized view of the database that no library made, partitions left out."""
    foreign = {
        model._meta.db_table
        for config in apps.get_app_configs()
        if config.name not in APPS
        for model in config.get_models(include_auto_created=True)
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'm') "
            "AND NOT relispartition AND relname NOT LIKE 'citus%' AND relname <> 'django_migrations' ORDER BY 1"
        )
        return [row[0] for row in cursor.fetchall() if row[0] not in foreign]


def plan_distribution() -> list[Step]:
    """The statements that are still missing, in order. Empty when everything is where it belongs."""
    wanted = distribution()
    done, functions = _done(), _functions_done()
    steps = [
        Step(f"{function} on every machine", f"SELECT create_distributed_function('{function}')")
        for function in wanted.functions
        if function.split("(")[0] not in functions
    ]
    waiting = [table for table in wanted.distributed if table not in done]
    # Citus would turn every local table that refers to a reference table into one of its own kind, for nothing.
    steps += [
        Step(f"{table}: its foreign keys wait until it is distributed", f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        for table, name in _foreign_keys(waiting)
    ]
    steps += [
        Step(f"{table} whole on every machine", f"SELECT create_reference_table('{table}')")
        for table in wanted.reference
        if table not in done
    ]
    first: dict[str, str] = {}
    for table, column in wanted.distributed.items():
        beside = first.setdefault(column, table)
        if table in done:
            continue
        steps += _key_steps(table, column)
        together = "none" if beside == table else beside
        steps.append(
            Step(
                f"{table} by {column}" + ("" if beside == table else f", beside {beside}"),
                f"SELECT create_distributed_table('{table}', '{column}', colocate_with => '{together}')",
            )
        )
        steps.append(
            Step(
                f"the coordinator's own copy of {table} goes",
                f"SELECT truncate_local_data_after_distributing_table('{table}')",
            )
        )
    kept = {table for table, _ in _foreign_keys([table for table in wanted.distributed if table in done])}
    steps += [
        Step(
            f"{table} refers to {target} again",
            f"ALTER TABLE {table} ADD CONSTRAINT {table}_{column}_fk_{target} FOREIGN KEY ({column}) REFERENCES {target} ({key})",
        )
        for table, column, target, key in _declared_keys()
        if table in wanted.distributed and table not in kept
    ]
    return steps


def apply_distribution(steps: Sequence[Step]) -> Iterator[Step]:
    """Run the steps, each on its own: one that was interrupted is found missing by the next plan. Yields what is done.

    Raises:
        DistributionError: there is no Citus, or something stands in the way.
    """
    if not citus_is_there():
        raise DistributionError(
            "The extension citus is not in this database. On the coordinator and every worker: "
            "shared_preload_libraries = 'citus', then CREATE EXTENSION citus; then citus_add_node for each worker."
        )
    problems = find_distribution_problems()
    if problems:
        raise DistributionError("It cannot be distributed as it is:\n" + "\n".join(problems))
    for step in steps:
        with connection.cursor() as cursor:
            cursor.execute(step.sql)
        yield step


def citus_is_there() -> bool:
    """Whether this database has the extension."""
    return bool(_rows("SELECT 1 FROM pg_extension WHERE extname = 'citus'"))


def find_distribution_problems() -> list[str]:
    """What Citus would refuse, or nobody has decided: one sentence each."""
    wanted = distribution()
    placed = [*wanted.reference, *wanted.distributed, *wanted.local]
    ours = own_tables()
    problems = [
        f"{table}: nobody says whether it is a reference table, distributed or local (distribution.py of its app)"
        for table in ours
        if table not in placed
    ]
    problems += [f"{table}: it has a place, and does not exist" for table in placed if table not in ours]
    if problems:
        return problems
    problems += [f"{table}: it has two places" for table in {t for t in placed if placed.count(t) > 1}]
    for table, trigger in _rows(
        "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal AND tgname NOT LIKE 'citus%%' "
        "AND tgrelid = ANY (%s::regclass[])",
        [*wanted.distributed],
    ):
        problems.append(f"{table}: trigger {trigger}; an outbox of dual-write goes with `migrate_from_sqlite finish`")
    for name, table, target, own, others in _rows(
        "SELECT conname, conrelid::regclass::text, confrelid::regclass::text, "
        " (SELECT array_agg(attname::text ORDER BY attname) FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey)), "
        " (SELECT array_agg(attname::text ORDER BY attname) FROM pg_attribute WHERE attrelid = confrelid AND attnum = ANY (confkey)) "
        "FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 "
        "AND (conrelid = ANY (%s::regclass[]) OR confrelid = ANY (%s::regclass[]))",
        [*wanted.distributed],
        [*wanted.distributed],
    ):
        column = wanted.distributed.get(table)
        if target in wanted.reference or (
            column is not None and wanted.distributed.get(target) == column and column in own and column in others
        ):
            continue
        problems.append(f"{table}: foreign key {name} to {target}")
    for table, key in _rows(
        "SELECT confrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 "
        "AND conrelid = ANY (%s::regclass[]) AND NOT confrelid = ANY (%s::regclass[])",
        [*wanted.reference],
        [*wanted.reference],
    ):
        problems.append(f"{table}: a reference table refers to it by {key}, so it has to be one too")
    for table, column in wanted.distributed.items():
        problems += [
            f"{table}: unique key {name} without {column}"
            for name, primary, columns in _unique_keys(table)
            if column not in columns and not (primary and columns == ["id"])
        ]
    return problems


def _foreign_keys(tables: Sequence[str]) -> list[tuple[str, str]]:
    return [
        (table, name)
        for table, name in _rows(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint "
            "WHERE contype = 'f' AND conparentid = 0 AND conrelid = ANY (%s::regclass[]) ORDER BY 1, 2",
            list(tables),
        )
    ]


def _declared_keys() -> Iterator[tuple[str, str, str, str]]:
    """(table, column, target, its column) of every foreign key that a model wants in the database."""
    for model in apps.get_models(include_auto_created=True):
        for field_ in model._meta.local_fields:
            if isinstance(field_, ForeignKey) and getattr(field_, "db_constraint", True) and model._meta.managed:
                target = field_.target_field
                yield model._meta.db_table, field_.column, target.model._meta.db_table, str(target.column)


def _key_steps(table: str, column: str) -> list[Step]:
    """A primary key of `id` alone takes the column in: ids come from one sequence, so they stay as unique as they were."""
    return [
        Step(
            f"{table}: its primary key takes {column} in",
            f"ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} PRIMARY KEY (id, {column})",
        )
        for name, primary, columns in _unique_keys(table)
        if primary and column not in columns
    ]


def _unique_keys(table: str) -> list[tuple[str, bool, list[str]]]:
    return [
        (name, primary, columns)
        for name, primary, columns in _rows(
            "SELECT indexrelid::regclass::text, indisprimary, "
            " (SELECT coalesce(array_agg(attname::text ORDER BY attnum), '{}') FROM pg_attribute "
            "  WHERE attrelid = indrelid AND attnum = ANY (indkey)) "
            "FROM pg_index WHERE indisunique AND indrelid = to_regclass(%s) ORDER BY 1",
            table,
        )
    ]


def _done() -> set[str]:
    if not citus_is_there():
        return set()
    # A local table that refers to a reference table is in the metadata too, without being distributed.
    return {
        row[0]
        for row in _rows(
            "SELECT table_name::text FROM citus_tables WHERE citus_table_type IN ('reference', 'distributed')"
        )
    }


def _functions_done() -> set[str]:
    if not citus_is_there():
        return set()
    return {
        row[0]
        for row in _rows(
            "SELECT proname::text FROM pg_catalog.pg_dist_object JOIN pg_proc ON pg_proc.oid = objid "
            "WHERE classid = 'pg_proc'::regclass"
        )
    }


def _rows(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return cursor.fetchall()
