"""What the owner of a family or business account sees of its members, and members of each other."""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

from transactions.models import AccountMember, User
from transactions.rules.money import ZERO
from transactions.selectors.portfolio import holding_values, percent, round_up_totals


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member as the owner sees it. `value` and `round_ups` are dollars; None unless the member shares them.

    `share` is the percentage of all round-ups that members share.
    """

    member: AccountMember
    value: Decimal | None = None
    round_ups: Decimal | None = None
    share: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Membership:
    """What a member sees of the account: its owner and the names of those who accepted."""

    id: int
    owner: str
    members: list[str]
    shares_totals: bool


def members_of(owner: User) -> list[MemberRow]:
    """Return those who are invited or accepted, oldest first; three queries for any number of them."""
    members = list(AccountMember.objects.live().filter(owner=owner).order_by("pk"))
    sharing = [member.user_id for member in members if member.user_id is not None and member.shares_totals]
    values, round_ups = holding_values(sharing), round_up_totals(sharing)
    total = sum(round_ups.values(), ZERO)

    def row(member: AccountMember) -> MemberRow:
        if member.user_id is None or not member.shares_totals:
            return MemberRow(member)
        own = round_ups.get(member.user_id, ZERO)
        return MemberRow(member, values.get(member.user_id, ZERO), own, percent(own, total))

    return [row(member) for member in members]


@dataclass(frozen=True, slots=True)
class MemberCounts:
    """How many are invited, how many accepted, and how many of both have each role."""

    invited: int
    active: int
    by_role: dict[str, int]

    @property
    def total(self) -> int:
        return self.invited + self.active


def member_counts(owner: User) -> MemberCounts:
    members = AccountMember.objects.live().filter(owner=owner).values_list("status", "role")
    states, roles = Counter(status for status, _ in members), Counter(role for _, role in members)
    by_role = {role: roles[role] for role in AccountMember.Role.values}
    return MemberCounts(states[AccountMember.Status.INVITED], states[AccountMember.Status.ACTIVE], by_role)


def memberships_of(user: User) -> list[Membership]:
    """Return the accounts of others that the user is a member of."""
    own = list(AccountMember.objects.filter(user=user, status="active").select_related("owner").order_by("pk"))
    names: dict[int, list[str]] = {}
    if own:
        active = AccountMember.objects.filter(owner__in=[row.owner_id for row in own], status="active").order_by("pk")
        for owner_id, name in active.values_list("owner_id", "name"):
            names.setdefault(owner_id, []).append(name)
    return [
        Membership(row.pk, row.owner.name or row.owner.email, names[row.owner_id], row.shares_totals) for row in own
    ]
