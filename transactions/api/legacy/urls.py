"""URLs that only the legacy front end calls, all outside the documented API."""

from typing import Any

from kamioi_site.api.legacy.views import legacy_path
from transactions.api.legacy import accounts, members, portfolio, staff, transactions
from transactions.api.legacy.forms import SECTIONS

_VIEWS: dict[str, Any] = {
    "auth/check-all": accounts.check_all,
    "user/auth/check-email": accounts.check_email,
    "user/auth/complete-registration": accounts.DetailsView.as_view(),
    "user/registration/complete": accounts.DetailsView.as_view(),
    "user/preferences": accounts.DetailsView.as_view(),
    "user/security/change-password": accounts.ChangePasswordView.as_view(),
    **{f"business/settings/{name}": accounts.SectionView.as_view(section=name) for name in SECTIONS},
    "downloads/<str:claim>": transactions.DownloadView.as_view(),
    "individual/export/transactions": transactions.ExportView.as_view(schema=None),
    "business/notifications/export": transactions.notifications_link,
    "transactions/process": transactions.process,
    "stock/prices": portfolio.quotes,
    "business/dashboard/overview": portfolio.OverviewView.as_view(),
    "admin/investments/process-single": staff.process_single,
    "admin/employees": staff.employees,
    "admin/settings/system": staff.SettingsView.as_view(held=staff.SYSTEM),
    "admin/settings/business": staff.SettingsView.as_view(held=staff.BUSINESS),
    "admin/families/<int:user_id>/members": members.StaffMembersView.as_view(area="family"),
    "admin/businesses/<int:user_id>/team": members.StaffMembersView.as_view(area="business"),
}
for _area, _path in (("family", "family/members"), ("business", "business/team/members")):
    _VIEWS |= {
        _path: members.MemberListView.as_view(),
        f"{_path}/<int:member_id>": members.MemberView.as_view(),
        f"{_path}/<int:member_id>/invite": members.MemberInviteView.as_view(),
        f"{_area}/invite": members.MemberListView.as_view(http_method_names=["post", "options"]),
    }
urlpatterns = [legacy_path(route, view) for route, view in _VIEWS.items()]
