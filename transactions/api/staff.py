"""What every view for staff shares: who may, and what it may refuse."""

from typing import Any, ClassVar

from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request

from transactions.api.base import IdempotentView
from transactions.api.serializers import ErrorOutput


class StaffPermission(BasePermission):
    """Staff with the permissions that the view names for the method."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Whether this person may."""
        user = request.user
        return bool(user and user.is_staff and user.has_perms(view.needed(request.method)))


class StaffView(IdempotentView):
    """Base of the views for staff.

    `needs` are the permissions that reading takes, `needs_to_write` those of the other methods (the same where it is None).
    """

    permission_classes = [IsAuthenticated, StaffPermission]
    needs: ClassVar[tuple[str, ...]] = ("llm_center.view_llmmapping",)
    needs_to_write: ClassVar[tuple[str, ...] | None] = None

    def needed(self, method: str | None) -> tuple[str, ...]:
        """The permissions for this method."""
        reads = method in {"GET", "HEAD", "OPTIONS"}
        return self.needs if reads or self.needs_to_write is None else self.needs_to_write


def errors(*codes: int) -> dict[int, type[ErrorOutput]]:
    """The refusals of an address for staff, for the schema; a log-in, a permission and a rate may be missing everywhere."""
    return dict.fromkeys((*codes, 401, 403, 429), ErrorOutput)


BODY_ERRORS = (400, 413, 415)
"""What may be wrong with any body."""
