"""Personal data: exported on request, and removed when a user is erased.

Every app declares its tables that identify users (`personal_data_table`), with what an erasure does to their rows; a
test fails for a table that is missing. The books are kept, because the law and the other side of every posting require
them; whom they concern is not. After an erasure they carry a number that leads to no one.
"""

import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, Literal

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models import Model, Q
from django.utils import timezone
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from kamioi_site.cache.namespaces import clear_caches
from kamioi_site.http.downloads import csv_line, rows_in_pages
from kamioi_site.storage import StorageFullError, is_storage_full
from transactions.errors import ErasureNotAllowedError
from transactions.live_settings import EXPORT_EXPIRY_DAYS
from transactions.models import (
    AccountMember,
    ApiToken,
    AuditEvent,
    BackgroundTask,
    BankAccount,
    Goal,
    Holding,
    IdempotencyKey,
    ImportProfile,
    JournalDraft,
    JournalEntry,
    JournalReversal,
    LedgerTransfer,
    Merchant,
    MigrationReject,
    Notification,
    Order,
    PeriodClosing,
    PlatformFee,
    Receivable,
    StatementImport,
    StatementReject,
    Transaction,
    TransactionDelta,
    TransactionKey,
    UnmatchedRefund,
    User,
    UserSetting,
)
from transactions.services.access import end_all_access
from transactions.services.background_tasks import claim_first, create_task, heartbeat, send_task
from transactions.services.erasure_log import record_erasure, recorded_erasures
from transactions.services.processing import settle_held_purchases
from transactions.sql import load_sql

_PAGE_ROWS: Final = 2_000
_SECRETS: Final = {"password", "digest"}
_ERASE_TASK: Final = "erase_person"
_OPEN: Final = BackgroundTask.OPEN

ErasurePolicy = Literal["kept", "deleted", "blanked", "staff"]


@dataclass(frozen=True, slots=True)
class PersonalDataTable:
    """A table with rows about users.

    Args:
        model: its model.
        column: the column with the user's id.
        policy: what an erasure does. `kept`: the books, which identify users by id only; `deleted`: the rows are
        deleted;
            `blanked`: the rows stay without personal data (`erase` does it); `staff`: rows about the work of staff, who
            are not erased.
        erase: blanks or deletes the rows where a plain DELETE is not enough; returns how many.
    """

    model: type[Model]
    column: str
    policy: ErasurePolicy
    erase: Callable[[User], int] | None = None


_tables: list[PersonalDataTable] = []


def personal_data_table(
    model: type[Model], policy: ErasurePolicy, *, column: str = "user_id", erase: Callable[[User], int] | None = None
) -> None:
    """Declare a table that identifies users; see :class:`PersonalDataTable`."""
    _tables.append(PersonalDataTable(model, column, policy, erase))


def personal_data_tables() -> tuple[PersonalDataTable, ...]:
    """Return every declared table, in the order of declaration, which is the order of erasure."""
    return tuple(_tables)


@dataclass(frozen=True, slots=True)
class ErasureResult:
    """Rows that an erasure deleted or blanked, by table."""

    user_id: int
    rows: dict[str, int]


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """Users that were erased again after a restore, and the reasons why others could not be."""

    erased: list[int]
    refused: dict[int, str]


# --- Export -----------------------------------------------------------------------------------------------------------
def write_user_export(*, user: User, path: Path, on_progress: Callable[[int], None] = lambda _: None) -> int:
    """Write all data about the user into a ZIP file: account.json, one CSV file per table, and their statements.

    Rows are streamed, so memory does not grow with them. Returns the number of rows written.
    """
    written = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("account.json", json.dumps(_account(user), cls=DjangoJSONEncoder, indent=2))
        for table in _tables:
            if table.policy == "staff":
                continue
            name = table.model._meta.db_table + ("" if table.column == "user_id" else f"_by_{table.column}")
            columns = [field.attname for field in table.model._meta.concrete_fields if field.attname not in _SECRETS]
            rows = table.model._base_manager.filter(**{table.column: user.pk})
            if not rows.exists():
                continue
            with (
                archive.open(f"{name}.csv", "w", force_zip64=True) as raw,
                TextIOWrapper(raw, encoding="utf-8", newline="") as text,
            ):
                text.write(csv_line(columns))
                for row in rows_in_pages(rows, columns, order=("pk",), size=_PAGE_ROWS):
                    text.write(csv_line(row))
                    written += 1
                    if written % _PAGE_ROWS == 0:
                        on_progress(written)
        for statement in StatementImport.objects.filter(user=user).order_by("pk"):
            if statement.file and statement.file.storage.exists(str(statement.file.name)):
                with (
                    statement.file.open("rb") as source,
                    archive.open(f"statements/{statement.pk}-{Path(statement.filename).name}", "w") as out,
                ):
                    while chunk := source.read(1 << 20):
                        out.write(chunk)
    return written


def _account(user: User) -> dict[str, Any]:
    return {
        field.attname: getattr(user, field.attname)
        for field in User._meta.concrete_fields
        if field.attname not in _SECRETS
    }


# --- Erasure ----------------------------------------------------------------------------------------------------------
def erasure_obstacle(user: User) -> str:
    """Return why the user cannot be erased now; empty when they can."""
    if user.is_staff or user.is_superuser:
        return (
            "Staff accounts are not erased, because their decisions must stay attributable. Close the account instead."
        )
    if user.erased_at is not None:
        return "This user is already erased."
    if Order.objects.filter(user=user, status=Order.Status.QUEUED).exists():
        return "Orders wait for the market to open. Try again when they are executed."
    if Transaction.objects.filter(user=user, status__in=["pending", "mapped"]).exists():
        return "Transactions are being processed. Try again when they are done."
    if BackgroundTask.objects.filter(user=user, status__in=_OPEN).exclude(name=_ERASE_TASK).exists():
        return "A background task, such as an import or an export, is still running. Try again when it is done."
    return ""


def erase_user_data(*, user_id: int) -> ErasureResult:
    """Remove everything that identifies the user; the books stay under a number that leads to no one.

    The account is closed for good. A second erasure is refused; one that is repeated after a crash starts from the
    beginning, because all of it is one transaction.

    Raises:
        User.DoesNotExist: there is no such user.
        ErasureNotAllowedError: with the reason.
    """
    rows: dict[str, int] = {}
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=user_id)
        if obstacle := erasure_obstacle(user):
            raise ErasureNotAllowedError(obstacle)
        settle_held_purchases(user_id=user_id, cancel=True)
        _erase_legacy(user, rows)
        for table in _tables:
            if table.policy in ("kept", "staff"):
                continue
            if table.erase is not None:
                count = table.erase(user)
            else:
                count = table.model._base_manager.filter(**{table.column: user.pk}).delete()[0]
            if count:
                rows[table.model._meta.db_table] = rows.get(table.model._meta.db_table, 0) + count
        rows["users"] = _erase_account(user)
        record_erasure(user)
    clear_caches()
    return ErasureResult(user_id, rows)


def replay_erasures() -> ReplayResult:
    """Erase again whom a restored database still contains. Those with work in progress are closed and named."""
    result = ReplayResult([], {})
    recorded = set(recorded_erasures())
    users = User.objects.filter(pk__in=[pk for pk, _ in recorded], erased_at=None)
    for pk, created_at in users.values_list("pk", "created_at"):
        if (pk, created_at) not in recorded:
            continue  # another account, which got the same id after an earlier restore
        try:
            erase_user_data(user_id=pk)
            result.erased.append(pk)
        except ErasureNotAllowedError as error:
            _close_account(User.objects.get(pk=pk))
            result.refused[pk] = str(error)
    return result


def _close_account(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)
    end_all_access(user)


def _erase_account(user: User) -> int:
    """Blank every text column of the account that is not known to be harmless."""
    harmless = {"account_type", "round_up_rule", "risk_tolerance", "password", "email"}
    for field in User._meta.concrete_fields:
        if field.get_internal_type() in ("CharField", "TextField", "EmailField") and field.name not in harmless:
            setattr(user, field.attname, None if field.null else "")
    for attempts in (AccessAttempt, AccessFailureLog, AccessLog):  # they identify users by e-mail
        attempts.objects.filter(username__iexact=user.email).delete()
    user.email = f"erased-{user.pk}@erased.invalid"
    user.set_unusable_password()
    user.is_active = user.round_up_enabled = user.marketing_agreed = False
    user.last_login, user.erased_at = None, timezone.now()
    user.save()
    # The admin's log contains the names of changed users.
    LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(User), object_id=str(user.pk)).update(
        object_repr=user.email, change_message="erased"
    )
    return 1


def _erase_legacy(user: User, rows: dict[str, int]) -> None:
    """Erase what the migration stores beside the tables: whole rows, and cells that have no new column."""
    with connection.cursor() as cursor:
        for table in ("legacy_rows", "migration_rejects"):
            cursor.execute(load_sql(f"erase_{table}"), {"user": user.pk})
            if cursor.rowcount:
                rows[table] = cursor.rowcount


def _erase_transactions(user: User) -> int:
    with connection.cursor() as cursor:
        cursor.execute(load_sql("erase_transactions"), {"user": user.pk, "now": timezone.now()})
        return int(cursor.fetchone()[0])


def _erase_statements(user: User) -> int:
    """Delete the uploaded files on commit; the rows stay as the history of imports."""
    imports = list(StatementImport.objects.filter(user=user))
    StatementReject.objects.filter(statement__user=user).delete()
    # The log of staff contains the names of the files.
    content_type = ContentType.objects.get_for_model(StatementImport)
    entries = LogEntry.objects.filter(content_type=content_type, object_id__in=[str(row.pk) for row in imports])
    entries.update(object_repr="erased")
    for statement in imports:
        if statement.file:
            transaction.on_commit(_file_deletion(statement))
    StatementImport.objects.filter(user=user).update(filename="erased", file="", bank_account=None)
    return len(imports)


def _file_deletion(statement: StatementImport) -> Callable[[], None]:
    storage, name = statement.file.storage, str(statement.file.name)
    return lambda: storage.delete(name)


def _erase_fingerprints(user: User) -> int:
    """Delete the hashes of requests, from which somebody might guess what was bought."""
    return TransactionKey.objects.filter(user=user, fingerprint__isnull=False).update(fingerprint=None)


def _erase_tasks(user: User) -> int:
    """Blank the user's tasks; the erasure itself contains only their id, which it needs when it is run again."""
    return BackgroundTask.objects.filter(user=user).exclude(name=_ERASE_TASK).update(arguments={}, result={}, error="")


def _erase_memberships(user: User) -> int:
    """Delete the memberships of the user and every invitation to the address."""
    return AccountMember.objects.filter(Q(user=user) | Q(email=user.email.lower())).delete()[0]


personal_data_table(Transaction, "blanked", erase=_erase_transactions)
personal_data_table(LedgerTransfer, "kept")
personal_data_table(Holding, "kept")
personal_data_table(Receivable, "kept")
personal_data_table(Order, "kept")
personal_data_table(TransactionKey, "blanked", erase=_erase_fingerprints)
personal_data_table(TransactionDelta, "kept")  # consumed within the hour
personal_data_table(StatementImport, "blanked", erase=_erase_statements)
personal_data_table(ImportProfile, "deleted")
personal_data_table(BankAccount, "deleted")
personal_data_table(BackgroundTask, "blanked", erase=_erase_tasks)
personal_data_table(UnmatchedRefund, "deleted")
personal_data_table(Notification, "deleted")
personal_data_table(Goal, "deleted")
personal_data_table(AccountMember, "deleted", column="owner_id")
personal_data_table(AccountMember, "deleted", erase=_erase_memberships)
personal_data_table(UserSetting, "deleted")
personal_data_table(IdempotencyKey, "deleted")
personal_data_table(ApiToken, "deleted")
personal_data_table(TOTPDevice, "deleted")
personal_data_table(StaticDevice, "deleted")
personal_data_table(AuditEvent, "staff")
personal_data_table(LogEntry, "staff")
personal_data_table(MigrationReject, "staff", column="resolved_by_id")
personal_data_table(Merchant, "staff", column="decided_by_id")
personal_data_table(JournalDraft, "staff", column="created_by_id")
personal_data_table(JournalDraft, "staff", column="changed_by_id")
personal_data_table(JournalEntry, "staff", column="created_by_id")
personal_data_table(JournalEntry, "staff", column="changed_by_id")
personal_data_table(JournalEntry, "staff", column="posted_by_id")
personal_data_table(JournalReversal, "staff", column="reversed_by_id")
personal_data_table(PlatformFee, "staff", column="set_by_id")
personal_data_table(PeriodClosing, "staff", column="closed_by_id")
personal_data_table(PeriodClosing, "staff", column="requested_by_id")
personal_data_table(PeriodClosing, "staff", column="reopened_by_id")


# --- Background tasks -------------------------------------------------------------------------------------------------
def request_export(*, user: User, actor: User) -> BackgroundTask:
    """Export all data about a user in the background. Returns the open task of an earlier request if there is one."""
    task = BackgroundTask.objects.filter(
        name="export_person", user=actor, status__in=_OPEN, arguments__user_id=user.pk
    ).first()
    if task is not None:
        return task
    with transaction.atomic():
        task = create_task(name="export_person", user=actor, arguments={"user_id": user.pk})
        send_task(task=task)
    return task


@claim_first
def run_export(task: BackgroundTask) -> None:
    """Write the export of this background task."""
    delete_expired_exports()
    path = export_path(task)
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = write_user_export(
            user=User.objects.get(pk=task.arguments["user_id"]),
            path=part,
            on_progress=lambda written: heartbeat(task=task, progress=written),
        )
        part.replace(path)
    except OSError as error:
        raise StorageFullError if is_storage_full(error) else error from error
    finally:
        part.unlink(missing_ok=True)
    task.progress = task.total = rows
    task.result = {"rows": rows, "bytes": path.stat().st_size}


def export_path(task: BackgroundTask) -> Path:
    """Return where the export of this task is stored until it expires."""
    return Path(settings.MEDIA_ROOT) / "exports" / f"{task.pk}.zip"


def delete_expired_exports() -> None:
    """Delete exports that are older than the setting allows."""
    oldest = time.time() - EXPORT_EXPIRY_DAYS.get() * 86_400
    for path in (Path(settings.MEDIA_ROOT) / "exports").glob("*"):
        if path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)


def request_erasure(*, user: User, actor: User, reason: str) -> BackgroundTask:
    """Close the account now and erase the user in the background. Returns an open erasure of the user if there is one.

    Raises:
        ErasureNotAllowedError: with the reason.
    """
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=user.pk)
        task = BackgroundTask.objects.filter(name=_ERASE_TASK, status__in=_OPEN, arguments__user_id=user.pk).first()
        if task is not None:
            return task
        if obstacle := erasure_obstacle(user):
            raise ErasureNotAllowedError(obstacle)
        _close_account(user)  # nothing new may arrive meanwhile
        task = create_task(name=_ERASE_TASK, user=actor, arguments={"user_id": user.pk, "reason": reason[:500]})
        send_task(task=task)
    return task


@claim_first
def run_erasure(task: BackgroundTask) -> None:
    """Erase the user of this background task."""
    try:
        result = erase_user_data(user_id=task.arguments["user_id"])
    except ErasureNotAllowedError:
        if User.objects.filter(pk=task.arguments["user_id"], erased_at=None).exists():
            raise
        return  # an earlier worker erased the user and died before it could finish the task
    task.progress = task.total = sum(result.rows.values())
    task.result = {"rows": result.rows}
