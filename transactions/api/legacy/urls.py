"""URLs that only the legacy front end calls, all outside the documented API."""

from typing import Any, Final

from kamioi_site.api.legacy.views import legacy_path
from transactions.api.legacy import accounts, members, portfolio, staff, transactions
from transactions.api.legacy.forms import SECTIONS

_VIEWS: Final[dict[str, Any]] = {
    "auth/check-all": accounts.CheckAllView,
    "user/auth/check-email": accounts.CheckEmailView,
    "user/auth/complete-registration": accounts.DetailsView,
    "user/registration/complete": accounts.DetailsView,
    "user/preferences": accounts.DetailsView,
    "user/security/change-password": accounts.ChangePasswordView,
    "downloads/<str:claim>": transactions.DownloadView,
    "individual/export/transactions": transactions.LinkedExportView,
    "business/notifications/export": transactions.NotificationExportView,
    "transactions/process": transactions.ProcessView,
    "stock/prices": portfolio.QuotesView,
    "business/dashboard/overview": portfolio.OverviewView,
    "admin/investments/process-single": staff.ProcessSingleView,
    "admin/employees": staff.EmployeesView,
}
urlpatterns = [
    *(legacy_path(route, view.as_view()) for route, view in _VIEWS.items()),
    *(legacy_path(f"business/settings/{name}", accounts.SectionView.as_view(section=name)) for name in SECTIONS),
    legacy_path("admin/settings/system", staff.SettingsView.as_view(held=staff.SYSTEM)),
    legacy_path("admin/settings/business", staff.SettingsView.as_view(held=staff.BUSINESS)),
]
# Area → where its pages expect the members, and where staff do.
for _area, _path, _staff in (
    ("family", "family/members", "admin/families/<int:user_id>/members"),
    ("business", "business/team/members", "admin/businesses/<int:user_id>/team"),
):
    _list, _one = (view.as_view(area=_area) for view in (members.MemberListView, members.MemberView))
    urlpatterns += [
        legacy_path(_path, _list),
        legacy_path(f"{_path}/<int:member_id>", _one),
        legacy_path(f"{_path}/<int:member_id>/invite", members.MemberInviteView.as_view(area=_area)),
        legacy_path(
            f"{_area}/invite", members.MemberListView.as_view(area=_area, http_method_names=["post", "options"])
        ),
        legacy_path(_staff, members.StaffMembersView.as_view(area=_area)),
    ]
