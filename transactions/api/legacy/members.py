"""Members of family and business accounts, in the words of the legacy front end."""

from collections import Counter
from dataclasses import asdict
from typing import Any, Final

from django.http import Http404
from django.shortcuts import get_object_or_404
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.fields import EmailField
from kamioi_site.api.legacy.names import renamed
from kamioi_site.api.legacy.views import LegacyView
from kamioi_site.formatting import money
from transactions.api.base import current_user, validated
from transactions.api.legacy.base import BannerErrors, LegacyStaffView, NotOfferedError
from transactions.api.serializers import optional_text
from transactions.models import AccountMember, User
from transactions.selectors.members import MemberRow, members_of, memberships_of
from transactions.services.members import end_membership, invite_member, resend_invitation, update_member

# Our words → those of the business pages, where they differ. The family pages write them with a capital.
_WORDS: Final[dict[str, str]] = {AccountMember.Status.INVITED: "pending"}
# What the pages send for the one permission that members have.
_VIEW_ONLY: Final[tuple[Any, ...]] = (None, "", [], "view", "View Only")


class MemberInput(serializers.Serializer[Any]):
    email = EmailField(max_length=254)
    name = optional_text(length=150)
    role = serializers.ChoiceField([*AccountMember.Role.values, *AccountMember.Role.labels], required=False)
    permissions = serializers.JSONField(required=False, allow_null=True)

    def validate_permissions(self, permissions: Any) -> None:
        """Accept that members have no rights."""
        if permissions not in _VIEW_ONLY:
            raise NotOfferedError("Members cannot act for the account. Choose “View Only”.")


class _MemberView(BannerErrors, LegacyView):
    area: str = "family"

    def fields(self, request: Request, *, partial: bool = False) -> dict[str, Any]:
        """Return the fields of the body. Raises ValidationError, NotOfferedError."""
        fields = validated(MemberInput(data=request.data, partial=partial))
        return {name: value.lower() if name == "role" else value for name, value in fields.items() if value is not None}

    def row(self, row: MemberRow) -> dict[str, Any]:
        """Return the member with amounts as numbers."""
        member = row.member
        role, state = (_WORDS.get(word, word) for word in (member.role, member.status))
        return renamed("member", row) | {
            "id": member.pk,
            "name": member.name or member.email,
            "email": member.email,
            "role": role.title() if self.area == "family" else role,
            "status": state.title() if self.area == "family" else state,
            "permissions": "View Only",
            "lastActive": None,  # not shared
            "joinDate": member.answered_at and member.answered_at.date(),
        }

    def answer(self, member: AccountMember | None, message: str, code: int = status.HTTP_200_OK) -> Response:
        """Return the invited member; 404 for None."""
        if member is None:
            raise Http404
        row = _for_card(self.row(MemberRow(member)))
        return Response({"success": True, "message": message, "data": row}, status=code)


class MemberListView(_MemberView):
    def get(self, request: Request) -> Response:
        """Return the members of the caller's account, and the accounts that the caller is a member of."""
        rows = [self.row(row) for row in members_of(current_user(request))]
        memberships = [asdict(membership) for membership in memberships_of(current_user(request))]
        # Pages that compute with amounts read `data`.
        members = {"members": [_for_card(row) for row in rows], "data": {"members": rows}}
        return Response({"success": True} | members | {"memberships": memberships})

    def post(self, request: Request) -> Response:
        """Invite a member."""
        member = invite_member(owner=current_user(request), **self.fields(request))
        return self.answer(member, _message(request), status.HTTP_201_CREATED)


class MemberView(_MemberView):
    def put(self, request: Request, member_id: int) -> Response:
        """Change the name or the role."""
        owner, changes = current_user(request), self.fields(request, partial=True)
        if update_member(owner=owner, member_id=member_id, **changes) is None:
            raise Http404
        return Response({"success": True, "message": "Saved."})

    def delete(self, request: Request, member_id: int) -> Response:
        """Remove a member of the caller's account; with the id of the caller's own membership, leave."""
        if not end_membership(actor=current_user(request), member_id=member_id):
            raise Http404
        return Response({"success": True, "message": "Removed."})


class MemberInviteView(_MemberView):
    def post(self, request: Request, member_id: int) -> Response:
        """Send the invitation again."""
        return self.answer(resend_invitation(owner=current_user(request), member_id=member_id), _message(request))


class StaffMembersView(LegacyStaffView):
    area: str = "family"
    required_permissions = ("transactions.view_user",)

    def get(self, request: Request, user_id: int) -> Response:
        """Return how many members the account has, by state and role. Parents count as admins."""
        owner = get_object_or_404(User, pk=user_id, account_type=self.area)
        members = [row.member for row in members_of(owner)]
        roles, states = Counter(member.role for member in members), Counter(member.status for member in members)
        data = {"totalMembers": len(members), "activeMembers": states["active"], "pendingInvites": states["invited"]}
        counts = {role: roles[role] for role in AccountMember.Role.values} | {"admin": roles["admin"] + roles["parent"]}
        return Response({"success": True, "data": data | {f"{self.area}Roles": counts}})


def _for_card(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with the value as text, which the family's cards show as it is."""
    return row | {"portfolio": "Not shared" if row["portfolio"] is None else money(row["portfolio"], 2)}


def _message(request: Request) -> str:
    is_verified = current_user(request).email_verified_at is not None
    return "Invitation sent." if is_verified else "The invitation waits until you verify your own e-mail address."
