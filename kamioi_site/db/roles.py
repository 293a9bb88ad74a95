"""Two database roles: the owner of the schema, and the application, which owns nothing.

`MIGRATION_DATABASE_URL` names the owner. It runs `migrate` and the few commands that change tables (`as_owner`);
everything else connects with `DATABASE_URL`. `migrate` ends by granting the application `allowed_privileges`,
and revoking the rest. Without `MIGRATION_DATABASE_URL` one role does both.

Rows are written to a partition through its table, for which the table's privileges count. The application may only read
a partition itself, also when it is detached; so an append-only table has no way around.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import dj_database_url
from django.conf import settings
from django.db import connection

from kamioi_site.errors import KamioiError

READ: Final = frozenset({"SELECT"})
APPEND: Final = READ | {"INSERT"}
WRITE: Final = APPEND | {"UPDATE", "DELETE"}

# What the application may do with a table; `WRITE` by default.
TABLE_PRIVILEGES: Final[Mapping[str, frozenset[str]]] = {
    "amortization_entries": APPEND,
    "amortization_reversals": APPEND,
    "audit_events": APPEND,
    "broker_orders": APPEND,
    "collections": APPEND,
    "detached_partitions": READ,
    "django_migrations": READ,
    "journal_entries": APPEND,
    "journal_reversals": APPEND,
    "ledger_seals": APPEND,
    "ledger_transfers": APPEND,
    "mapping_decisions": APPEND,
    "period_closings": APPEND | {"UPDATE"},
    "platform_fees": APPEND,
}

# Matches the names of partitions; detached ones keep theirs.
PARTITION_NAME: Final = "_y[0-9]{4}(m[0-9]{2})?$"

_CONNECTION: Final = ("USER", "PASSWORD", "HOST", "PORT", "OPTIONS")

_RELATIONS: Final = """
    SELECT relname, relkind::text, relispartition OR relname ~ %s,
           coalesce(array_agg(privilege_type) FILTER (WHERE pg_get_userbyid(grantee) = %s), '{}')
    FROM pg_class LEFT JOIN LATERAL aclexplode(relacl) ON true
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
      AND pg_get_userbyid(relowner) = current_user
    GROUP BY pg_class.oid ORDER BY relname
"""
_REFUSED_FUNCTIONS: Final = """
    SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    AND pg_get_userbyid(proowner) = current_user AND NOT has_function_privilege(%s, oid, 'EXECUTE')
"""
# A member of the owner can do what the owner can; a superuser is a member of every role.
_OWNED_TABLES: Final = """
    SELECT rolsuper, (SELECT array_agg(relname::text ORDER BY relname) FROM pg_class
                      WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'm')
                        AND pg_has_role(rolname, relowner, 'MEMBER'))
    FROM pg_roles WHERE rolname = current_user
"""


class RoleError(KamioiError):
    """The two addresses do not belong together, or the role cannot be changed now."""


@dataclass(frozen=True, slots=True)
class PrivilegeDifference:
    """Privileges of the application on a table, view or sequence that are missing, or more than it may have."""

    relation: str
    is_sequence: bool
    missing: frozenset[str]
    excess: frozenset[str]


@contextmanager
def as_owner() -> Iterator[None]:
    """Connect as the owner of the schema while the block runs, if it has a separate role.

    For commands that change tables, never in a web process or a worker: it holds for all threads.

    Raises:
        RoleError: a transaction is open, or `MIGRATION_DATABASE_URL` names another database.
    """
    values = connection.settings_dict
    owner, kept = _owner(), {name: values[name] for name in _CONNECTION}
    if not owner or owner == kept:
        yield
        return
    if connection.in_atomic_block:
        raise RoleError("The owner of the schema cannot take part in a transaction of the application.")
    connection.close()
    values.update(owner)
    try:
        yield
    finally:
        connection.close()
        values.update(kept)


def connection_values(url: str) -> dict[str, Any]:
    """Return the entries of `DATABASES` for the server and the role of a URL."""
    values = dj_database_url.parse(url)
    return {name: values.get(name) or ({} if name == "OPTIONS" else "") for name in _CONNECTION}


def application_role() -> str:
    """Return the role of `DATABASE_URL`."""
    return str(dj_database_url.parse(settings.DATABASE_URL)["USER"])


def allowed_privileges(name: str, kind: str = "r", *, is_partition: bool = False) -> frozenset[str]:
    """Return what the application may do with a relation.

    Args:
        name: the relation.
        kind: as in `pg_class.relkind`.
        is_partition: whether it is a partition of another table.
    """
    if kind == "S":
        return frozenset({"USAGE"})
    allowed = READ if is_partition or kind in "vm" else TABLE_PRIVILEGES.get(name, WRITE)
    return allowed | _maintenance()


def find_wrong_privileges() -> list[PrivilegeDifference]:
    """Compare the application's grants with `allowed_privileges`; the caller is connected as the owner."""
    differences = []
    for name, kind, is_partition, granted in _rows(_RELATIONS, [PARTITION_NAME, application_role()]):
        allowed, held = allowed_privileges(name, kind, is_partition=is_partition), frozenset(granted)
        if allowed != held:
            differences.append(PrivilegeDifference(name, kind == "S", allowed - held, held - allowed))
    return differences


def grant_privileges() -> None:
    """Give the application what it may do, and take the rest; nothing happens where one role does both.

    The caller is connected as the owner. Tables and partitions that the owner creates later may be read at once.
    """
    quote, name = connection.ops.quote_name, application_role()
    if not _owner() or _owner()["USER"] == name:
        return
    role, privileges = quote(name), ", ".join(sorted(READ | _maintenance()))
    statements = [f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {privileges} ON TABLES TO {role}"]
    for difference in find_wrong_privileges():
        relation = f"{'SEQUENCE' if difference.is_sequence else 'TABLE'} {quote(difference.relation)}"
        if difference.missing:
            statements.append(f"GRANT {', '.join(sorted(difference.missing))} ON {relation} TO {role}")
        if difference.excess:
            statements.append(f"REVOKE {', '.join(sorted(difference.excess))} ON {relation} FROM {role}")
    statements += [
        f"GRANT EXECUTE ON FUNCTION {function} TO {role}" for (function,) in _rows(_REFUSED_FUNCTIONS, [name])
    ]
    # Databases of PostgreSQL 14 and older let everybody create tables.
    [(may_use, may_create)] = _rows(
        "SELECT has_schema_privilege(%s, 'public', 'USAGE'), has_schema_privilege(%s, 'public', 'CREATE')", [name, name]
    )
    if not may_use:
        statements.append(f"GRANT USAGE ON SCHEMA public TO {role}")
    if may_create:
        statements.append(f"REVOKE CREATE ON SCHEMA public FROM PUBLIC, {role}")
    with connection.cursor() as cursor:
        cursor.execute("; ".join(statements))


def find_role_problem() -> str:
    """Return why the connected role has more rights than the application needs; empty when it has not."""
    [(is_superuser, tables)] = _rows(_OWNED_TABLES)
    role = connection.settings_dict["USER"]
    if is_superuser:
        return f"The application connects to PostgreSQL as the superuser {role}."
    if tables:
        return (
            f"The application's database role {role} owns {len(tables)} tables, or belongs to the role that owns them: "
            f"{', '.join(tables[:3])}{' …' if len(tables) > 3 else ''}."
        )
    return ""


def _owner() -> dict[str, Any]:
    """Return how to connect as the owner; empty without `MIGRATION_DATABASE_URL`."""
    if not settings.MIGRATION_DATABASE_URL:
        return {}
    owned, used = (
        dj_database_url.parse(url)["NAME"] for url in (settings.MIGRATION_DATABASE_URL, settings.DATABASE_URL)
    )
    if owned != used:
        raise RoleError(f"MIGRATION_DATABASE_URL names the database {owned}, DATABASE_URL the database {used}.")
    return connection_values(settings.MIGRATION_DATABASE_URL)


def _maintenance() -> frozenset[str]:
    """Return the privilege to rebuild indexes and refresh statistics; before PostgreSQL 17 only the owner may."""
    with connection.cursor() as cursor:
        version: int = cursor.connection.server_version
    return frozenset({"MAINTAIN"} if version >= 170_000 else ())


def _rows(sql: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()
