"""Bases of views for the legacy front end, and errors as it shows them."""

from collections.abc import Callable
from typing import Any

from rest_framework import exceptions, status
from rest_framework.response import Response

from kamioi_site.api.legacy.views import LegacyView, Reply, replying
from kamioi_site.api.views import ApiView
from transactions.api.staff.base import StaffView


class NotOfferedError(exceptions.APIException):
    """The page shows an action that does not exist here; its banner shows the reason."""

    status_code = status.HTTP_501_NOT_IMPLEMENTED


class MoreMethods(ApiView):
    """A documented view with methods that only the legacy front end calls, and that `Allow` leaves out."""

    undocumented: tuple[str, ...] = ()

    @property
    def allowed_methods(self) -> list[str]:
        return [method for method in super().allowed_methods if method not in self.undocumented]


class BannerErrors(ApiView):
    """Repeats the text of an error as `message`, the only key that some banners read."""

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        if response.status_code != status.HTTP_401_UNAUTHORIZED and "error" in (response.data or {}):
            response.data["message"] = response.data["error"]
        return response


class LegacyStaffView(LegacyView, StaffView):
    """Base of a view that only the old admin calls."""


def staff_reply(*permissions: str, **options: Any) -> Callable[[Reply], Any]:
    """Return the decorator `replying` for a view that only staff with these permissions call."""
    return replying(LegacyStaffView, required_permissions=permissions, **options)
