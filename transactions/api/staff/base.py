"""What the views for staff share: permissions."""

from typing import Any, ClassVar

from rest_framework.permissions import SAFE_METHODS, BasePermission, IsAuthenticated
from rest_framework.request import Request

from kamioi_site.api.views import ApiView


class StaffPermission(BasePermission):
    """Allows staff with the permissions that the view requires for the method."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Whether the user has the permissions."""
        user = request.user
        return bool(user and user.is_staff and user.has_perms(view.get_required_permissions(request.method)))


class StaffView(ApiView):
    """Base of the views for staff.

    Each view sets `required_permissions`; `write_permissions` replace them for unsafe methods.
    """

    permission_classes = [IsAuthenticated, StaffPermission]
    required_permissions: ClassVar[tuple[str, ...]]
    write_permissions: ClassVar[tuple[str, ...] | None] = None

    def get_required_permissions(self, method: str | None) -> tuple[str, ...]:
        """Return the permissions for this method."""
        if method in SAFE_METHODS or self.write_permissions is None:
            return self.required_permissions
        return self.write_permissions
