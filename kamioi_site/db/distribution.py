"""The placement of every table on a Citus cluster, and the SQL that distributes them.

Each app declares its own tables in its `distribution.py`, as one of:
- **reference**: a full copy on every node; joined by most queries, small and rarely written.
- **distributed**: sharded by a column that every unique key contains; tables with the same column are colocated.
- **local**: on the coordinator only, with a reason: small, or written by one process.

`find_distribution_problems` checks the rules of Citus: no trigger on a distributed table; foreign keys from it only to
reference tables or to a table colocated by that column; no foreign key to it from other tables.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from django.apps import apps
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    DataError,
    IntegrityError,
    InternalError,
    connection,
    connections,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import ForeignKey

from kamioi_site.db.roles import PARTITION_NAME, as_owner
from kamioi_site.errors import KamioiError

_ERRORS_OF_ROWS: Final = {" violates ": IntegrityError, "numeric field overflow": DataError}
_HAS_CITUS: Final = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"
# Seconds after which a running process notices the extension.
_ASK_AGAIN: Final = 60.0
_citus, _asked_at = False, float("-inf")

APPS = ("kamioi_site", "transactions", "llm_center", "analytics")


class DistributionError(KamioiError):
    """The database cannot be distributed as it is."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Placement of tables: `distributed` maps a table to its column, `local` a table to the reason.

    Reference tables are ordered so that a table follows those that it references.
    """

    reference: Sequence[str] = ()
    distributed: Mapping[str, str] = field(default_factory=dict)
    local: Mapping[str, str] = field(default_factory=dict)
    # SQL functions that queries over distributed tables call: `name(types)`.
    functions: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One SQL command and its description."""

    description: str
    sql: str


def distribution() -> Distribution:
    """Return the placements declared by all apps."""
    modules = [import_module(f"{app}.distribution") for app in APPS if find_spec(f"{app}.distribution")]
    parts: list[Distribution] = [module.DISTRIBUTION for module in modules]
    return Distribution(
        reference=[table for part in parts for table in part.reference],
        distributed={table: column for part in parts for table, column in part.distributed.items()},
        local={table: reason for part in parts for table, reason in part.local.items()},
        functions=[function for part in parts for function in part.functions],
    )


def application_tables() -> list[str]:
    """List the tables and materialized views of our apps, without partitions."""
    library_tables = {
        model._meta.db_table
        for config in apps.get_app_configs()
        if config.name not in APPS
        for model in config.get_models(include_auto_created=True)
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'm') "
            "AND NOT relispartition AND relname !~ %s "
            "AND relname NOT LIKE 'citus%%' AND relname <> 'django_migrations' ORDER BY 1",
            [PARTITION_NAME],
        )
        return [row[0] for row in cursor.fetchall() if row[0] not in library_tables]


def plan_distribution() -> list[Step]:
    """Return the steps that are still missing, in order."""
    target = distribution()
    done, functions = _placed_tables(), _distributed_functions()
    steps = [
        Step(f"create {function} on every node", f"SELECT create_distributed_function('{function}')")
        for function in target.functions
        if function.split("(")[0] not in functions
    ]
    undistributed = [table for table in target.distributed if table not in done]
    # Citus would turn every local table that references a reference table into a managed one, without need.
    steps += [
        Step(
            f"drop foreign key {name} of {table} until it is distributed", f"ALTER TABLE {table} DROP CONSTRAINT {name}"
        )
        for table, name in _foreign_keys(undistributed)
    ]
    steps += [
        Step(f"copy {table} to every node", f"SELECT create_reference_table('{table}')")
        for table in target.reference
        if table not in done
    ]
    first: dict[str, str] = {}
    for table, column in target.distributed.items():
        colocated = first.setdefault(column, table)
        if table in done:
            continue
        steps += _primary_key_steps(table, column)
        colocate_with = "none" if colocated == table else colocated
        steps.append(
            Step(
                f"distribute {table} by {column}" + ("" if colocated == table else f", colocated with {colocated}"),
                f"SELECT create_distributed_table('{table}', '{column}', colocate_with => '{colocate_with}')",
            )
        )
        steps.append(
            Step(
                f"remove the coordinator's copy of {table}",
                f"SELECT truncate_local_data_after_distributing_table('{table}')",
            )
        )
    kept = {table for table, _ in _foreign_keys([table for table in target.distributed if table in done])}
    steps += [
        Step(
            f"restore the foreign key from {table} to {referenced}",
            f"ALTER TABLE {table} ADD CONSTRAINT {table}_{column}_fk_{referenced} FOREIGN KEY ({column}) "
            f"REFERENCES {referenced} ({key})",
        )
        for table, column, referenced, key in _model_foreign_keys()
        if table in target.distributed and table not in kept
    ]
    steps += _sequence_steps(interrupted=not steps)
    [(is_sequential, database)] = _rows(_IS_SEQUENTIAL)
    if not is_sequential:
        steps.append(
            Step(
                "let a transaction write reference tables after it has read shards: one connection to each machine",
                f"ALTER DATABASE {database} SET citus.multi_shard_modify_mode = 'sequential'",
            )
        )
    return steps


def _sequence_steps(*, interrupted: bool) -> list[Step]:
    """Continue the ids where they were: Citus starts those of a table at 1 again that refers to a reference table.

    Args:
        interrupted: only the sequences that are behind their table.
    """
    steps = []
    for table, column, sequence, last in _rows(_SEQUENCES):
        [(highest,)] = _rows(f"SELECT coalesce(max({column}), 0) FROM {table}")  # noqa: S608
        if max(last, highest) > (last if interrupted else 0):
            next_ = f"greatest({max(last, highest)}, max({column}))"
            sql = f"SELECT setval('{sequence}', {next_}) FROM {table}"  # noqa: S608
            steps.append(Step(f"continue the ids of {table}", sql))
    return steps


def apply_distribution(steps: Sequence[Step]) -> Iterator[Step]:
    """Run the steps one by one, yielding each when it is done; an interrupted one is in the next plan.

    Raises:
        DistributionError: Citus is not installed, or the schema breaks one of its rules.
    """
    if not has_citus():
        raise DistributionError(
            "The extension citus is not installed in this database. On the coordinator and every worker: "
            "shared_preload_libraries = 'citus', then CREATE EXTENSION citus; then citus_add_node for each worker."
        )
    problems = find_distribution_problems()
    if problems:
        raise DistributionError("The tables cannot be distributed:\n" + "\n".join(problems))
    with as_owner():
        for step in steps:
            with connection.cursor() as cursor:
                cursor.execute(step.sql)
            yield step


def has_citus(connection: BaseDatabaseWrapper = connection) -> bool:
    """Whether this database has the extension citus."""
    with connection.cursor() as cursor:
        cursor.execute(_HAS_CITUS)
        return bool(cursor.fetchone()[0])


def on_citus() -> bool:
    """Whether this process uses the statements for Citus; it asks a plain database again after `_ASK_AGAIN`."""
    global _citus, _asked_at
    if not _citus and time.monotonic() - _asked_at > _ASK_AGAIN:
        connection.ensure_connection()
        with connection.connection.cursor() as cursor:  # not a query of the caller
            cursor.execute(_HAS_CITUS)
            _citus, _asked_at = cursor.fetchone()[0], time.monotonic()
    return _citus


@contextmanager
def limits_per_shard(using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """On Citus, let every shard apply the LIMIT of a LATERAL subquery; without this, Citus refuses the statement.

    The statement must have a LIMIT or an aggregate outside, because each shard returns its own first rows. Citus plans
    none of its subqueries separately meanwhile.
    """
    if not on_citus():
        yield
        return
    with transaction.atomic(using), connections[using].cursor() as cursor:
        cursor.execute("SET LOCAL citus.subquery_pushdown = on")
        yield
        cursor.execute("SET LOCAL citus.subquery_pushdown = off")


@contextmanager
def restored_error_codes() -> Iterator[None]:
    """Raise the error of a row as what it is: Citus reports one of rows that it moves as an internal error."""
    try:
        yield
    except InternalError as error:
        known = next((kind for text, kind in _ERRORS_OF_ROWS.items() if text in str(error)), None)
        if known is None or not on_citus():
            raise
        raise known(str(error)) from error.__cause__


def violated_constraint(error: DatabaseError) -> str:
    """Return the constraint that a write violates; Citus names it in the message only, with the number of the shard."""
    name = getattr(getattr(error.__cause__, "diag", None), "constraint_name", None)
    found = re.search(r'constraint "(\w+)"', str(error))
    return re.sub(r"_[0-9]{6,}$", "", str(name or (found[1] if found else "")))


def find_distribution_problems() -> list[str]:
    """List what Citus would reject and which tables have no placement, one sentence each."""
    target = distribution()
    placed = [*target.reference, *target.distributed, *target.local]
    existing = application_tables()
    problems = [
        f"{table}: declared neither reference, distributed nor local in its app's distribution.py"
        for table in existing
        if table not in placed
    ]
    problems += [f"{table}: declared, but does not exist" for table in placed if table not in existing]
    if problems:
        return problems
    problems += [f"{table}: declared twice" for table in {t for t in placed if placed.count(t) > 1}]
    for table, trigger in _rows(
        "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal AND tgname NOT LIKE 'citus%%' "
        "AND tgrelid = ANY (%s::regclass[])",
        [*target.distributed],
    ):
        problems.append(
            f"{table}: trigger {trigger}; `migrate_from_sqlite finish` removes the outbox triggers of dual writing"
        )
    for name, table, referenced, own, others in _rows(
        "SELECT conname, conrelid::regclass::text, confrelid::regclass::text, "
        " (SELECT array_agg(attname::text ORDER BY attname) FROM pg_attribute"
        "  WHERE attrelid = conrelid AND attnum = ANY (conkey)), "
        " (SELECT array_agg(attname::text ORDER BY attname) FROM pg_attribute"
        "  WHERE attrelid = confrelid AND attnum = ANY (confkey)) "
        "FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 "
        "AND (conrelid = ANY (%s::regclass[]) OR confrelid = ANY (%s::regclass[]))",
        [*target.distributed],
        [*target.distributed],
    ):
        column = target.distributed.get(table)
        if referenced in target.reference or (
            column is not None and target.distributed.get(referenced) == column and column in own and column in others
        ):
            continue
        problems.append(f"{table}: foreign key {name} to {referenced}")
    for table, key in _rows(
        "SELECT confrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 "
        "AND conrelid = ANY (%s::regclass[]) AND NOT confrelid = ANY (%s::regclass[])",
        [*target.reference],
        [*target.reference],
    ):
        problems.append(f"{table}: referenced by a reference table ({key}), so it must be one too")
    for table, column in target.distributed.items():
        problems += [
            f"{table}: unique key {name} without {column}"
            for name, primary, columns in _unique_keys(table)
            if column not in columns and not (primary and len(columns) == 1)
        ]
    return problems


_IS_SEQUENTIAL: Final = """
    SELECT EXISTS (
        SELECT FROM pg_db_role_setting
        WHERE setdatabase = pg_database.oid AND 'citus.multi_shard_modify_mode=sequential' = ANY (setconfig)
    ), quote_ident(datname)
    FROM pg_database WHERE datname = current_database()
"""
_SEQUENCES: Final = """
    SELECT tables.relname::text, attname::text, objid::regclass::text, coalesce(pg_sequence_last_value(objid), 0)
    FROM pg_depend JOIN pg_class AS tables ON tables.oid = refobjid AND tables.relnamespace = 'public'::regnamespace
    JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
    WHERE classid = 'pg_class'::regclass AND deptype = 'i' AND attidentity <> '' ORDER BY 1
"""


def _foreign_keys(tables: Sequence[str]) -> list[tuple[str, str]]:
    sql = (
        "SELECT conrelid::regclass::text, conname FROM pg_constraint "
        "WHERE contype = 'f' AND conparentid = 0 AND conrelid = ANY (%s::regclass[]) ORDER BY 1, 2"
    )
    return [(table, name) for table, name in _rows(sql, list(tables))]


def _model_foreign_keys() -> Iterator[tuple[str, str, str, str]]:
    """Yield (table, column, referenced table, its column) for every foreign key of the models."""
    for model in apps.get_models(include_auto_created=True):
        for field_ in model._meta.local_fields:
            if isinstance(field_, ForeignKey) and getattr(field_, "db_constraint", True) and model._meta.managed:
                referenced = field_.target_field
                yield model._meta.db_table, field_.column, referenced.model._meta.db_table, str(referenced.column)


def _primary_key_steps(table: str, column: str) -> list[Step]:
    """Add the column to a primary key of one id; ids stay unique because they come from one sequence."""
    return [
        Step(
            f"add {column} to the primary key of {table}",
            f"ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} PRIMARY KEY ({columns[0]}, {column})",
        )
        for name, primary, columns in _unique_keys(table)
        if primary and column not in columns
    ]


def _unique_keys(table: str) -> list[tuple[str, bool, list[str]]]:
    sql = (
        "SELECT indexrelid::regclass::text, indisprimary, "
        " (SELECT coalesce(array_agg(attname::text ORDER BY attnum), '{}') FROM pg_attribute "
        "  WHERE attrelid = indrelid AND attnum = ANY (indkey)) "
        "FROM pg_index WHERE indisunique AND indrelid = to_regclass(%s) ORDER BY 1"
    )
    return [(name, primary, columns) for name, primary, columns in _rows(sql, table)]


def _placed_tables() -> set[str]:
    if not has_citus():
        return set()
    # A local table that references a reference table is in the metadata too, without being distributed.
    sql = "SELECT table_name::text FROM citus_tables WHERE citus_table_type IN ('reference', 'distributed')"
    return {table for (table,) in _rows(sql)}


def _distributed_functions() -> set[str]:
    if not has_citus():
        return set()
    sql = (
        "SELECT proname::text FROM pg_catalog.pg_dist_object JOIN pg_proc ON pg_proc.oid = objid "
        "WHERE classid = 'pg_proc'::regclass"
    )
    return {function for (function,) in _rows(sql)}


def _rows(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return cursor.fetchall()
