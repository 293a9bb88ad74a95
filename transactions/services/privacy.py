"""What Kamioi holds about a person: given out on demand, and taken out of the system when they are erased.

Each room declares its tables that name a person (`person_table`), with what becomes of their rows; a test insists
that no table is forgotten. Books are kept, as the law and the other side of every booking ask; whom they are about is
not: after an erasure a number is left that leads to nobody.
"""

import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from kamioi_site.cache.namespaces import clear_caches
from kamioi_site.http.downloads import csv_line, rows_in_pages
from transactions.errors import ErasureNotAllowedError, WrongPasswordError
from transactions.models import (
    ApiToken,
    AuditEvent,
    BackgroundTask,
    Goal,
    Holding,
    IdempotencyKey,
    JournalEntry,
    LedgerTransfer,
    Merchant,
    MigrationReject,
    Notification,
    Order,
    StatementImport,
    StatementReject,
    Transaction,
    TransactionDelta,
    TransactionKey,
    User,
    UserSetting,
)
from transactions.models.merchants import ReleasedTransaction
from transactions.services.background_tasks import create_task, heartbeat, run_task, send_task
from transactions.sql import load_sql

_CHUNK: Final = 2_000
EXPORT_DAYS: Final = 7
_SECRET: Final = {"password", "digest"}
_ERASE: Final = "erase_person"

ErasurePolicy = Literal["kept", "deleted", "blanked", "staff"]


@dataclass(frozen=True, slots=True)
class PersonTable:
    """A table with rows about people.

    Args:
        model: its model.
        column: that names the person by number.
        fate: what an erasure does. `kept`: books, which name nobody but by number; `deleted`: the rows go; `blanked`: the rows
            stay without what could tell who it is (`erase` does it); `staff`: rows about what members of staff did, who
            are not erased.
        erase: how rows are blanked or deleted where a plain DELETE will not do; returns how many.
    """

    model: type[Model]
    column: str
    fate: ErasurePolicy
    erase: Callable[[User], int] | None = None


_tables: list[PersonTable] = []


def person_table(
    model: type[Model], fate: ErasurePolicy, *, column: str = "user_id", erase: Callable[[User], int] | None = None
) -> None:
    """Declare a table that names people; see :class:`PersonTable`."""
    _tables.append(PersonTable(model, column, fate, erase))


def person_tables() -> tuple[PersonTable, ...]:
    """Every declared table, in the order of declaration, which is the order of erasure."""
    return tuple(_tables)


@dataclass(frozen=True, slots=True)
class ErasureResult:
    """What an erasure did: rows by table, deleted or blanked."""

    user_id: int
    rows: dict[str, int]


# --- Giving out -------------------------------------------------------------------------------------------------
def write_person_export(*, user: User, path: Path, on_progress: Callable[[int], None] = lambda _: None) -> int:
    """Write everything held about the person into a ZIP file: account.json, a CSV file a table, and their statements.

    Rows are streamed; memory does not grow with them. Returns how many rows were written.
    """
    written = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("account.json", json.dumps(_account(user), cls=DjangoJSONEncoder, indent=2))
        for table in _tables:
            if table.fate == "staff":
                continue
            columns = [field.attname for field in table.model._meta.concrete_fields if field.attname not in _SECRET]
            rows = table.model._base_manager.filter(**{table.column: user.pk})
            if not rows.exists():
                continue
            with (
                archive.open(f"{table.model._meta.db_table}.csv", "w", force_zip64=True) as raw,
                TextIOWrapper(raw, encoding="utf-8", newline="") as text,
            ):
                text.write(csv_line(columns))
                for row in rows_in_pages(rows, columns, order=("pk",), size=_CHUNK):
                    text.write(csv_line(row))
                    written += 1
                    if written % _CHUNK == 0:
                        on_progress(written)
        for held in StatementImport.objects.filter(user=user).order_by("pk"):
            if held.file and held.file.storage.exists(str(held.file.name)):
                with (
                    held.file.open("rb") as source,
                    archive.open(f"statements/{held.pk}-{Path(held.filename).name}", "w") as out,
                ):
                    while piece := source.read(1 << 20):
                        out.write(piece)
    return written


def _account(user: User) -> dict[str, Any]:
    return {
        field.attname: getattr(user, field.attname)
        for field in User._meta.concrete_fields
        if field.attname not in _SECRET
    }


# --- Taking out -------------------------------------------------------------------------------------------------
def erasure_obstacle(user: User) -> str:
    """Why the person cannot be erased now; empty when they can."""
    if user.is_staff or user.is_superuser:
        return "Members of staff are not erased: what they decided must stay theirs. Close the account."
    if user.erased_at is not None:
        return "This person is erased already."
    if Order.objects.filter(user=user, status=Order.Status.QUEUED).exists():
        return "Orders wait for the market to open. Ask again when they are done."
    if Transaction.objects.filter(user=user, status__in=["pending", "mapped"]).exists():
        return "Transactions are being processed. Ask again when they are done."
    if BackgroundTask.objects.filter(user=user, status__in=["queued", "running"]).exclude(name=_ERASE).exists():
        return "Work that was asked for still goes on, such as a bank file or an export. Ask again when it is done."
    return ""


def erase_person_data(*, user_id: int) -> ErasureResult:
    """Take everything out that tells who the person is; the books stay, under a number that leads to nobody.

    The account is closed for good: nobody can log in, and nothing more is set aside. Doing it twice is refused; doing it
    again after a crash goes on, as all of it is one transaction.

    Raises:
        User.DoesNotExist: there is nobody with this number.
        ErasureNotAllowedError: says why not now.
    """
    rows: dict[str, int] = {}
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=user_id)
        if refusal := erasure_obstacle(user):
            raise ErasureNotAllowedError(refusal)
        _erase_legacy(user, rows)
        for table in _tables:
            if table.fate in ("kept", "staff"):
                continue
            if table.erase is not None:
                count = table.erase(user)
            else:
                count = table.model._base_manager.filter(**{table.column: user.pk}).delete()[0]
            if count:
                rows[table.model._meta.db_table] = rows.get(table.model._meta.db_table, 0) + count
        rows["users"] = _erase_account(user)
    clear_caches()
    return ErasureResult(user_id, rows)


def _erase_account(user: User) -> int:
    """Blank the account itself; every text column of it that is not known to be harmless."""
    harmless = {"account_type", "round_up_rule", "risk_tolerance", "password", "email"}
    for field in User._meta.concrete_fields:
        if field.get_internal_type() in ("CharField", "TextField", "EmailField") and field.name not in harmless:
            setattr(user, field.attname, None if field.null else "")
    for attempts in (AccessAttempt, AccessFailureLog, AccessLog):  # they name people by their e-mail
        attempts.objects.filter(username__iexact=user.email).delete()
    user.email = f"erased-{user.pk}@erased.invalid"
    user.set_unusable_password()
    user.is_active = user.round_up_enabled = user.marketing_agreed = False
    user.last_login, user.erased_at = None, timezone.now()
    user.save()
    # Admins see names in the history of what they changed.
    LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(User), object_id=str(user.pk)).update(
        object_repr=user.email, change_message="erased"
    )
    return 1


def _erase_legacy(user: User, rows: dict[str, int]) -> None:
    """What the migration kept of the person beside the tables: whole rows, and cells that had no new home."""
    with connection.cursor() as cursor:
        for name, sql in (
            ("legacy_rows", load_sql("erase_legacy_rows")),
            ("migration_rejects", load_sql("erase_migration_rejects")),
        ):
            cursor.execute(sql, {"user": user.pk})
            if cursor.rowcount:
                rows[name] = cursor.rowcount


def _erase_transactions(user: User) -> int:
    with connection.cursor() as cursor:
        cursor.execute(load_sql("erase_transactions"), {"user": user.pk, "now": timezone.now()})
        return int(cursor.fetchone()[0])


def _erase_statements(user: User) -> int:
    """The uploaded files go with the commit; the row stays as the history of the import."""
    imports = list(StatementImport.objects.filter(user=user))
    StatementReject.objects.filter(statement__user=user).delete()
    for held in imports:
        if held.file:
            transaction.on_commit(_deletion(held))
    StatementImport.objects.filter(user=user).update(filename="erased", file="")
    return len(imports)


def _deletion(held: StatementImport) -> Callable[[], None]:
    storage, name = held.file.storage, str(held.file.name)
    return lambda: storage.delete(name)


def _erase_tasks(user: User) -> int:
    """What they asked for; the erasure itself names them by number only, and needs that when it is run again."""
    return BackgroundTask.objects.filter(user=user).exclude(name=_ERASE).update(arguments={}, result={}, error="")


# What this room holds. `TransactionDelta` is taken up and gone within the hour.
person_table(Transaction, "blanked", erase=_erase_transactions)
person_table(LedgerTransfer, "kept")
person_table(Holding, "kept")
person_table(Order, "kept")
person_table(TransactionKey, "kept")
person_table(ReleasedTransaction, "kept")
person_table(TransactionDelta, "kept")
person_table(StatementImport, "blanked", erase=_erase_statements)
person_table(BackgroundTask, "blanked", erase=_erase_tasks)
person_table(Notification, "deleted")
person_table(Goal, "deleted")
person_table(UserSetting, "deleted")
person_table(IdempotencyKey, "deleted")
person_table(ApiToken, "deleted")
person_table(TOTPDevice, "deleted")
person_table(StaticDevice, "deleted")
person_table(AuditEvent, "staff")
person_table(LogEntry, "staff")
person_table(MigrationReject, "staff", column="resolved_by_id")
person_table(Merchant, "staff", column="decided_by_id")
person_table(JournalEntry, "staff", column="created_by_id")
person_table(JournalEntry, "staff", column="reversed_by_id")


# --- Asked for --------------------------------------------------------------------------------------------------
def request_export(*, person: User, actor: User) -> BackgroundTask:
    """Make the file of everything held about a person in the background; one that is under way is not asked for twice."""
    under_way = BackgroundTask.objects.filter(
        name="export_person", user=actor, status__in=["queued", "running"], arguments__user_id=person.pk
    ).first()
    if under_way is not None:
        return under_way
    with transaction.atomic():
        task = create_task(name="export_person", user=actor, arguments={"user_id": person.pk})
        send_task(task=task)
    return task


def run_export(*, task_id: UUID | str) -> None:
    """Write the file that was asked for."""
    with run_task(task_id=task_id) as task:
        if task is None:
            return
        exports_sweep()
        person = User.objects.get(pk=task.arguments["user_id"])
        path = export_path(task)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        rows = write_person_export(
            user=person, path=part, on_progress=lambda written: heartbeat(task=task, progress=written)
        )
        part.replace(path)
        task.progress = task.total = rows
        task.result = {"rows": rows, "bytes": path.stat().st_size}


def export_path(task: BackgroundTask) -> Path:
    """Where the file of this task stands, until it is swept."""
    return Path(settings.MEDIA_ROOT) / "exports" / f"{task.pk}.zip"


def exports_sweep() -> None:
    """Delete files that were made longer than `EXPORT_DAYS` ago."""
    oldest = time.time() - EXPORT_DAYS * 86_400
    for path in (Path(settings.MEDIA_ROOT) / "exports").glob("*"):
        if path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)


def request_erasure(*, person: User, actor: User, reason: str) -> BackgroundTask:
    """Close the account now and erase the person in the background; an erasure that is under way is not asked for twice.

    Raises:
        ErasureNotAllowedError: says why not now.
    """
    with transaction.atomic():
        person = User.objects.select_for_update().get(pk=person.pk)
        under_way = BackgroundTask.objects.filter(
            name=_ERASE, status__in=["queued", "running"], arguments__user_id=person.pk
        ).first()
        if under_way is not None:
            return under_way
        if refusal := erasure_obstacle(person):
            raise ErasureNotAllowedError(refusal)
        # Nothing new may come in meanwhile.
        User.objects.filter(pk=person.pk).update(is_active=False)
        ApiToken.objects.filter(user=person).revoke()
        task = create_task(name=_ERASE, user=actor, arguments={"user_id": person.pk, "reason": reason[:500]})
        send_task(task=task)
    return task


def request_own_erasure(*, user: User, password: str) -> BackgroundTask:
    """The person asks for it themselves, and shows by the password that it is them. Everybody is logged out of the account.

    Raises:
        WrongPasswordError: it is not theirs.
        ErasureNotAllowedError: says why not now.
    """
    if not user.check_password(password):
        raise WrongPasswordError
    return request_erasure(person=user, actor=user, reason="asked for by the person")


def run_erasure(*, task_id: UUID | str) -> None:
    """Erase the person of the task."""
    with run_task(task_id=task_id) as task:
        if task is None:
            return
        try:
            done = erase_person_data(user_id=task.arguments["user_id"])
        except ErasureNotAllowedError:
            if User.objects.filter(pk=task.arguments["user_id"], erased_at=None).exists():
                raise
            return  # a worker before this one did it and died before it could say so
        task.progress = task.total = sum(done.rows.values())
        task.result = {"rows": done.rows}
