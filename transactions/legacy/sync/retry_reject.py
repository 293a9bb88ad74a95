"""A rejected row, corrected by staff in the admin and migrated again."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from kamioi_site.errors import KamioiError
from transactions.cache import TRANSACTIONS
from transactions.migration_phase import get_migration_state
from transactions.models import MigrationReject, MigrationRun, User


class RejectNotRetriableError(KamioiError):
    """The rejected row cannot be retried now."""


def retry_reject(*, reject_id: int, row: Mapping[str, Any], actor: User) -> MigrationReject:
    """Migrate the rejected row with the cells in `row`, and record who corrected it.

    Raises:
        RejectNotRetriableError: there is no migration, or the row was migrated already.
        RetryRejectError: the row is still rejected; nothing was written.
        LegacySourceError: the legacy file cannot be read.
    """
    # These import Arrow, which the admin does not need otherwise.
    from transactions.legacy import registry  # noqa: PLC0415
    from transactions.legacy.merchant_directory import build_merchant_directory  # noqa: PLC0415
    from transactions.legacy.source.snapshot import Snapshot  # noqa: PLC0415
    from transactions.legacy.sync.change_applier import ChangeApplier  # noqa: PLC0415

    state = get_migration_state()
    if state is None:
        raise RejectNotRetriableError("No migration is in progress.")
    with transaction.atomic(), Snapshot(state.path) as snapshot:
        reject = MigrationReject.objects.select_for_update().get(pk=reject_id)
        if reject.resolved_at is not None:
            raise RejectNotRetriableError("The row was migrated already.")
        run = MigrationRun.objects.create(
            command="retry", source=f"{reject.table_name} {reject.legacy_id}", rows_total=1
        )
        cells = {**reject.row, **row}  # cells that the form left out do not change
        ChangeApplier(snapshot, run).retry(reject, cells)
        reject.row, reject.resolved_at, reject.resolved_by = cells, timezone.now(), actor
        reject.save(update_fields=["row", "resolved_at", "resolved_by"])
        run.rows_done, run.status, run.finished_at = 1, "done", timezone.now()
        run.save()
        if reject.table_name in registry.bulk_tables():
            build_merchant_directory()
    TRANSACTIONS.clear()
    return reject
