"""URLs that only the legacy front end calls, all outside the documented API."""

from typing import Any, Final

from kamioi_site.api.legacy.views import legacy_path
from transactions.api.legacy import accounts, members, portfolio, staff, transactions
from transactions.api.legacy.forms import SECTIONS

_VIEWS: Final[dict[str, Any]] = {
    "auth/check-all": accounts.CheckAllView.as_view(),
    "user/auth/check-email": accounts.check_email,
    "user/auth/complete-registration": accounts.DetailsView.as_view(),
    "user/registration/complete": accounts.DetailsView.as_view(),
    "user/preferences": accounts.DetailsView.as_view(),
    "user/security/change-password": accounts.ChangePasswordView.as_view(),
    **{f"business/settings/{name}": accounts.SectionView.as_view(section=name) for name in SECTIONS},
    "downloads/<str:claim>": transactions.DownloadView.as_view(),
    "individual/export/transactions": transactions.ExportView.as_view(schema=None),
    "business/notifications/export": transactions.NotificationExportView.as_view(),
    "transactions/process": transactions.ProcessView.as_view(),
    "stock/prices": portfolio.quotes,
    "business/dashboard/overview": portfolio.OverviewView.as_view(),
    "admin/investments/process-single": staff.ProcessSingleView.as_view(),
    "admin/employees": staff.EmployeesView.as_view(),
    "admin/settings/system": staff.SettingsView.as_view(held=staff.SYSTEM),
    "admin/settings/business": staff.SettingsView.as_view(held=staff.BUSINESS),
}
urlpatterns = [legacy_path(route, view) for route, view in _VIEWS.items()]
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
