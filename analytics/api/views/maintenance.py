"""What staff run by hand: the LLM queue, the backlog, caches, indexes, duplicates."""

from typing import Annotated, Any, Literal, TypedDict
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.selectors import llm_data_api
from analytics.selectors.llm_center import mapping_totals
from analytics.selectors.review_stats import STAFF_STATS_CACHE
from kamioi_site.api.payloads import MessageOutput
from kamioi_site.cache.namespaces import clear_caches, namespaces
from llm_center.services.staff_maintenance import set_queue_enabled
from transactions.api.base import QueuedMessageOutput, accepted, current_user
from transactions.api.idempotency import idempotent
from transactions.api.staff.base import StaffView
from transactions.services.background_tasks import get_or_create_task


class DoneOutput(MessageOutput):
    """The action is done."""

    status: str
    data: dict[str, Any]


class SwitchState(TypedDict):
    is_running: bool
    task_id: UUID | None


class SwitchedOutput(MessageOutput):
    """The LLM queue was started or stopped."""

    status: Annotated[str, Literal["started", "stopped"]]
    data: SwitchState


class BacklogCounts(TypedDict):
    """Null; the task's `result` has the counts."""

    processed: int | None
    mapped: int | None
    queued: int | None
    review: int | None
    errors: int | None


class BacklogOutput(QueuedMessageOutput):
    """The backlog is processed in the background."""

    data: BacklogCounts


class DuplicateCounts(TypedDict):
    """The number of mappings; the task's `result` has the other counts."""

    duplicates_removed: int | None
    total_mappings: int
    unique_merchants: int | None


class DuplicatesOutput(QueuedMessageOutput):
    """Duplicates are removed in the background."""

    data: DuplicateCounts


class MaintenanceView(StaffView):
    """Base of views that change how the system runs."""

    required_permissions = ("transactions.change_backgroundtask",)


class SwitchView(MaintenanceView):
    on = True

    @extend_schema(request=None, responses={200: SwitchedOutput}, tags=["automation"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Let the queue run automatically, or not. Purchases of known merchants are processed in either case."""
        task = set_queue_enabled(on=self.on, actor=current_user(request))
        STAFF_STATS_CACHE.clear()
        body = SwitchedOutput(
            success=True,
            message="The LLM queue is running." if self.on else "The LLM queue is stopped.",
            status="started" if self.on else "stopped",
            data={"is_running": self.on, "task_id": task.pk if task else None},
        )
        return Response(body)


class ProcessBacklogView(MaintenanceView):
    @extend_schema(request=None, responses={202: BacklogOutput}, tags=["automation"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Process the backlog in the background; the task's `result` has the counts."""
        task = get_or_create_task(name="process_backlog", actor=current_user(request))
        counts = BacklogCounts(processed=None, mapped=None, queued=None, review=None, errors=None)
        message = "Pending transactions are being processed."
        return accepted(task, message=message, data=counts, **self.more_fields())

    def more_fields(self) -> dict[str, Any]:
        """Return further fields of the response."""
        return {}


class ClearCacheView(MaintenanceView):
    @extend_schema(request=None, responses={200: DoneOutput}, tags=["automation"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Invalidate all cached figures, in constant time."""
        clear_caches()
        names = [namespace.template for namespace in namespaces()]
        body = DoneOutput(
            success=True, message=f"{len(names)} caches cleared.", status="cleared", data={"families": names}
        )
        return Response(body)


class RebuildView(MaintenanceView):
    @extend_schema(request=None, responses={202: QueuedMessageOutput}, tags=["automation"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Rebuild broken indexes without locking and analyze the merchants; the task's `result` lists both."""
        task = get_or_create_task(name="rebuild_indexes", actor=current_user(request))
        return accepted(task, message="Broken indexes are being rebuilt.")


class DuplicatesView(MaintenanceView):
    @extend_schema(request=None, responses={202: DuplicatesOutput}, tags=["llm center"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Remove them in the background; the task's `result` has the three counts."""
        task = get_or_create_task(name="remove_duplicates", actor=current_user(request))
        counts = DuplicateCounts(duplicates_removed=None, total_mappings=mapping_totals().total, unique_merchants=None)
        message = "Exact duplicates of uploaded rows are being removed; the oldest of each remains."
        return accepted(task, message=message, data=counts)


# --- The legacy system's page on its data system ------------------------------------------------------------------
class InitializeView(MaintenanceView):
    @extend_schema(request=None, responses={200: DoneOutput}, tags=["llm data"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Do nothing, and return the state of the system."""
        body = DoneOutput(
            success=True,
            message="Nothing to initialize: migrations create tables, indexes and catalogue.",
            status="ready",
            data=dict(llm_data_api.system_status()),
        )
        return Response(body)


class RefreshFeaturesView(MaintenanceView):
    @extend_schema(request=None, responses={202: QueuedMessageOutput}, tags=["llm data"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Run in the background; the task has the result."""
        task = get_or_create_task(name="rebuild_indexes", actor=current_user(request))
        return accepted(task, message="The catalogue is being reloaded and the directory analyzed.", data={})


class ConfigureFeaturesView(MaintenanceView):
    @extend_schema(request=None, responses={200: DoneOutput}, tags=["llm data"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Do nothing; the body is ignored. The LLM queue is configured under `/api/admin/settings`."""
        body = DoneOutput(
            success=True,
            message="There are no features to configure. The LLM queue is configured under /api/admin/settings.",
            status="unchanged",
            data={},
        )
        return Response(body)
