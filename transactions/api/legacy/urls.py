"""URLs that only the legacy front end calls, all outside the documented API."""

from kamioi_site.api.legacy.views import legacy_path
from transactions.api.legacy import members, staff

urlpatterns = [
    legacy_path("admin/investments/process-single", staff.ProcessSingleView.as_view()),
    legacy_path("admin/employees", staff.EmployeesView.as_view()),
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
