"""The base of views that only the old admin calls."""

from collections.abc import Callable
from typing import Any

from kamioi_site.api.legacy.views import LegacyView, Reply, replying
from transactions.api.staff.base import StaffView


class LegacyStaffView(LegacyView, StaffView):
    """Base of a view that only the old admin calls."""


def staff_reply(*permissions: str, **options: Any) -> Callable[[Reply], Any]:
    """Return the decorator `replying` for a view that only staff with these permissions call."""
    return replying(LegacyStaffView, required_permissions=permissions, **options)
