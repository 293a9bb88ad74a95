"""URLs that only the legacy front end calls, all outside the documented API."""

from typing import Any

from django.urls import path

from transactions.api.legacy import members

urlpatterns: list[Any] = []
# Area → where its pages expect the members, and where staff do.
for _area, _path, _staff in (
    ("family", "family/members", "admin/families/<int:user_id>/members"),
    ("business", "business/team/members", "admin/businesses/<int:user_id>/team"),
):
    _list, _one = (view.as_view(area=_area) for view in (members.MemberListView, members.MemberView))
    urlpatterns += [
        path(_path, _list, name=f"api-legacy-{_area}-members"),
        path(f"{_path}/<int:member_id>", _one, name=f"api-legacy-{_area}-member"),
        path(
            f"{_path}/<int:member_id>/invite",
            members.MemberInviteView.as_view(area=_area),
            name=f"api-legacy-{_area}-member-invite",
        ),
        path(
            f"{_area}/invite",
            members.MemberListView.as_view(area=_area, http_method_names=["post", "options"]),
            name=f"api-legacy-{_area}-invite",
        ),
        path(_staff, members.StaffMembersView.as_view(area=_area), name=f"api-legacy-{_area}-staff-members"),
    ]
