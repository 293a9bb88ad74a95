"""A rejected row, mended by a person and carried over after all."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from transactions.cache import TRANSACTIONS
from transactions.legacy.apply import Applier, MendError
from transactions.legacy.directory import directory_build
from transactions.legacy.source import Snapshot
from transactions.legacy.state import state_read
from transactions.models import MigrationReject, MigrationRun, User


def reject_mend(*, reject_id: int, row: Mapping[str, Any], actor: User) -> MigrationReject:
    """Carry the row over as `row` says it, and note who mended it.

    Raises MendError (what is still wrong) and LegacySourceError; nothing is written then.
    """
    state = state_read()
    if state is None:
        raise MendError("There is no migration under way.")
    with transaction.atomic(), Snapshot(state.path) as snapshot:
        reject = MigrationReject.objects.select_for_update().get(pk=reject_id)
        if reject.resolved_at is not None:
            raise MendError("The row was mended already.")
        run = MigrationRun.objects.create(
            command="mend", source=f"{reject.table_name} {reject.legacy_id}", rows_total=1
        )
        mended = {**reject.row, **row}  # what the form left out is as it was
        Applier(snapshot, run).mend(reject, mended)
        reject.row, reject.resolved_at, reject.resolved_by = mended, timezone.now(), actor
        reject.save(update_fields=["row", "resolved_at", "resolved_by"])
        run.rows_done, run.status, run.finished_at = 1, "done", timezone.now()
        run.save()
        if reject.table_name in ("transactions", "llm_mappings"):
            directory_build()
    TRANSACTIONS.clear()
    return reject
