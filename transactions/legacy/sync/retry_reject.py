"""A rejected row, mended by a person and carried over after all."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from transactions.cache import TRANSACTIONS
from transactions.legacy.merchant_directory import build_merchant_directory
from transactions.legacy.source.snapshot import Snapshot
from transactions.legacy.sync.change_applier import ChangeApplier, RetryRejectError
from transactions.migration_phase import get_migration_state
from transactions.models import MigrationReject, MigrationRun, User


def retry_reject(*, reject_id: int, row: Mapping[str, Any], actor: User) -> MigrationReject:
    """Carry the row over as `row` says it, and note who mended it.

    Raises MendError (what is still wrong) and LegacySourceError; nothing is written then.
    """
    state = get_migration_state()
    if state is None:
        raise RetryRejectError("There is no migration under way.")
    with transaction.atomic(), Snapshot(state.path) as snapshot:
        reject = MigrationReject.objects.select_for_update().get(pk=reject_id)
        if reject.resolved_at is not None:
            raise RetryRejectError("The row was mended already.")
        run = MigrationRun.objects.create(
            command="mend", source=f"{reject.table_name} {reject.legacy_id}", rows_total=1
        )
        mended = {**reject.row, **row}  # what the form left out is as it was
        ChangeApplier(snapshot, run).mend(reject, mended)
        reject.row, reject.resolved_at, reject.resolved_by = mended, timezone.now(), actor
        reject.save(update_fields=["row", "resolved_at", "resolved_by"])
        run.rows_done, run.status, run.finished_at = 1, "done", timezone.now()
        run.save()
        if reject.table_name in ("transactions", "llm_mappings"):
            build_merchant_directory()
    TRANSACTIONS.clear()
    return reject
