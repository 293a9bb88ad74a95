"""The members of an account as the legacy front end reads them, and who sees what."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.factories import api_client, make_company, make_merchant, make_transaction, make_user
from transactions.models import AccountMember, Company, User
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db

FAMILY, TEAM = "/api/family/members", "/api/business/team/members"
# As the page sends it.
NEW = {
    "id": "demo-1",
    "name": "Nell New",
    "email": "nell@example.com",
    "role": "Child",
    "permissions": "View Only",
    "status": "Pending",
    "portfolio": "$0",
    "portfolioValue": 0,
    "lastActive": "Just invited",
    "joinDate": "2026-11-01",
    "joinedAt": None,
}
SECRET = "WINE SHOP"


@pytest.fixture
def owner() -> User:
    return make_user("owner@example.com", name="Olga Owner", account_type="family")


def add_member(owner: User, name: str, *, shares_totals: bool = False, user: User | None = None) -> AccountMember:
    user = user or make_user(f"{name.lower()}@example.com")
    return AccountMember.objects.create(
        owner=owner,
        email=user.email,
        name=name,
        user=user,
        status="active",
        shares_totals=shares_totals,
        answered_at=timezone.now(),
    )


def buy(user: User, count: int = 1) -> None:
    if not Company.objects.exists():
        make_company("SBUX", "95.00")
        make_merchant(SECRET, "SBUX")
    for _ in range(count):
        make_transaction(user, SECRET)
    process_pending()


def test_the_family_page_invites_and_reads_its_words(owner: User) -> None:
    client = api_client(owner)
    reply = client.post(FAMILY, NEW, format="json")
    assert (reply.status_code, reply.json()["success"]) == (201, True)
    row = reply.json()["data"]
    shown = {"name": "Nell New", "email": "nell@example.com", "role": "Child", "status": "Pending"}
    assert row | shown | {"permissions": "View Only", "portfolio": "Not shared"} == row
    assert client.get(FAMILY).json()["members"] == [row]
    assert client.post(f"{FAMILY}/{row['id']}/invite", {"familyName": "x"}, format="json").json()["success"]
    assert client.delete(f"{FAMILY}/{row['id']}").json()["success"]
    assert client.get(FAMILY).json()["members"] == []


def test_the_team_page_invites_changes_and_reads_its_words() -> None:
    client = api_client(make_user(account_type="business"))
    form = {"name": "Nell", "email": "Nell@Example.com", "role": "employee", "permissions": []}
    assert client.post(TEAM, form, format="json").status_code == 201
    [row] = client.get(TEAM).json()["data"]["members"]
    assert (row["email"], row["role"], row["status"]) == ("nell@example.com", "employee", "pending")
    form |= {"role": "manager", "permissions": row["permissions"]}
    assert client.put(f"{TEAM}/{row['id']}", form, format="json").status_code == 200
    [row] = client.get(TEAM).json()["data"]["members"]
    assert row["role"] == "manager"


@pytest.mark.parametrize(
    ("area", "path", "role"),
    [
        *[("family", "/api/family/invite", role) for role in ("member", "admin")],
        *[("business", "/api/business/invite", role) for role in ("admin", "manager", "accountant", "member")],
        *[("family", FAMILY, role) for role in ("Parent", "Child")],
        *[("business", TEAM, role) for role in ("admin", "manager", "employee")],
    ],
)
def test_every_role_of_the_pages_is_known(area: str, path: str, role: str) -> None:
    client = api_client(make_user(account_type=area))
    reply = client.post(path, {"email": "nell@example.com", "role": role}, format="json")
    assert (reply.status_code, reply.json()["data"]["role"]) == (201, role.title() if area == "family" else role)


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ({"permissions": "Full Access"}, 501, "cannot act for the account"),
        ({"permissions": "Limited Access"}, 501, "cannot act for the account"),
        ({"email": "no address"}, 400, "email"),
        ({"email": "owner@example.com"}, 409, "account itself"),
        ({"role": "king"}, 400, "role"),
        ({"role": 7}, 400, "role"),
        ({"name": "x" * 151}, 400, "name"),
    ],
)
def test_a_refusal_has_its_reason_in_both_keys_that_the_pages_read(
    owner: User, body: dict[str, Any], code: int, text: str
) -> None:
    reply = api_client(owner).post(FAMILY, NEW | body, format="json")
    assert (reply.status_code, reply.json()["success"]) == (code, False)
    assert text in reply.json()["error"]
    assert reply.json()["message"] == reply.json()["error"]
    assert not AccountMember.objects.exists()


@pytest.mark.parametrize("area", ["individual", "unverified"])
def test_individual_accounts_cannot_invite_and_unverified_ones_wait(area: str) -> None:
    if area == "individual":
        assert api_client(make_user()).post(FAMILY, NEW, format="json").status_code == 403
    else:
        client = api_client(make_user(account_type="family", email_verified_at=None))
        assert "verify your own" in client.post(FAMILY, NEW, format="json").json()["message"]


def test_the_owner_sees_totals_of_those_who_share_and_no_purchase_of_anyone(owner: User) -> None:
    sharing, silent = add_member(owner, "Sam", shares_totals=True), add_member(owner, "Tim")
    for member, count in ((sharing, 2), (silent, 3)):
        assert member.user is not None
        buy(member.user, count)
    own = api_client(sharing.user).get("/api/user/portfolio").json()["data"]["total_value"]
    reply = api_client(owner).get(FAMILY)
    cards, rows = reply.json()["members"], reply.json()["data"]["members"]
    assert own > 0
    assert [card["portfolio"] for card in cards] == [f"${own:.2f}", "Not shared"]
    assert [row["portfolio"] for row in rows] == [own, None]
    assert [row["contribution"] for row in rows] == [2, None]
    assert [row["percentage"] for row in rows] == [100, 0]
    assert SECRET not in reply.content.decode()


def test_a_list_takes_as_many_queries_for_many_members(owner: User) -> None:
    client, counts = api_client(owner), []
    for number in range(3):
        buy(add_member(owner, f"M{number}", shares_totals=True).user or owner)
        with CaptureQueriesContext(connection) as queries:
            assert len(client.get(FAMILY).json()["members"]) == number + 1
        counts.append(len(queries))
    assert counts[0] == counts[1] == counts[2] <= 6


def test_a_member_sees_the_owner_and_names_only_and_may_leave(owner: User) -> None:
    member, other = add_member(owner, "Sam"), add_member(owner, "Tim", shares_totals=True)
    AccountMember.objects.create(owner=owner, email="invited@example.com", name="Ida")
    client = api_client(member.user)
    reply = client.get(FAMILY)
    assert reply.json()["memberships"] == [
        {"id": member.pk, "owner": "Olga Owner", "members": ["Sam", "Tim"], "shares_totals": False}
    ]
    assert reply.json()["members"] == []
    assert "@" not in reply.content.decode()
    assert client.put(f"{FAMILY}/{member.pk}", {"role": "parent"}, format="json").status_code == 404
    assert client.delete(f"{FAMILY}/{other.pk}").status_code == 404
    assert client.delete(f"{FAMILY}/{member.pk}").status_code == 200
    assert client.get(FAMILY).json()["memberships"] == []


@pytest.mark.parametrize("path", [FAMILY, TEAM])
def test_the_members_of_another_account_are_not_found(owner: User, path: str) -> None:
    member = add_member(owner, "Sam")
    client = api_client(make_user(account_type="family"))
    assert client.get(path).json()["members"] == []
    assert client.put(f"{path}/{member.pk}", {"name": "x"}, format="json").status_code == 404
    assert client.post(f"{path}/{member.pk}/invite").status_code == 404
    assert client.delete(f"{path}/{member.pk}").status_code == 404
    member.refresh_from_db()
    assert (member.name, member.status) == ("Sam", "active")
    for anonymous in (api_client().get(path), api_client().delete(f"{path}/{member.pk}")):
        assert anonymous.status_code == 401


def test_staff_with_the_permission_see_counts(owner: User) -> None:
    AccountMember.objects.create(owner=owner, email="a@example.com", role="child")
    parent = add_member(owner, "Sam")
    AccountMember.objects.filter(pk=parent.pk).update(role="parent")
    staff = make_user(is_staff=True)
    path = f"/api/admin/families/{owner.pk}/members"
    assert [api_client(user).get(path).status_code for user in (staff, owner)] == [403, 403]
    staff.user_permissions.add(Permission.objects.get(codename="view_user"))
    client = api_client(User.objects.get(pk=staff.pk))
    data = client.get(path).json()["data"]
    assert (data["totalMembers"], data["activeMembers"], data["pendingInvites"]) == (2, 1, 1)
    assert (data["familyRoles"]["admin"], data["familyRoles"]["child"]) == (1, 1)
    business = make_user(account_type="business")
    team = client.get(f"/api/admin/businesses/{business.pk}/team").json()["data"]
    assert (team["totalMembers"], team["businessRoles"]["manager"]) == (0, 0)
    assert client.get(f"/api/admin/families/{business.pk}/members").status_code == 404
