"""The members of family and business accounts."""

import hashlib

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils import timezone


class AccountMemberQuerySet(models.QuerySet["AccountMember"]):
    def live(self) -> "AccountMemberQuerySet":
        """Leave out the members who were removed, left or declined."""
        return self.exclude(status=AccountMember.Status.REMOVED)


class AccountMember(models.Model):
    """A person whom the owner of a family or business account invited by e-mail.

    The role is a label that gives no rights. A member sees the owner and the names of the other members. The owner
    sees this row and, with `shares_totals`, two sums of the member; never the member's transactions.
    """

    class Role(models.TextChoices):
        PARENT = "parent"
        CHILD = "child"
        ADMIN = "admin"
        MANAGER = "manager"
        ACCOUNTANT = "accountant"
        EMPLOYEE = "employee"
        MEMBER = "member"

    class Status(models.TextChoices):
        INVITED = "invited"
        ACTIVE = "active"
        REMOVED = "removed", "removed, left or declined"

    owner = models.ForeignKey("transactions.User", on_delete=models.PROTECT, related_name="members")
    email = models.EmailField("e-mail", max_length=254, help_text="Invited address, in lower case.")
    name = models.CharField(max_length=150, blank=True, default="", help_text="As the owner calls the member.")
    role = models.CharField(max_length=10, choices=Role, default=Role.MEMBER)
    status = models.CharField(max_length=7, choices=Status, default=Status.INVITED)
    user = models.ForeignKey(
        "transactions.User", null=True, on_delete=models.PROTECT, related_name="memberships", editable=False
    )
    shares_totals = models.BooleanField(
        default=False, help_text="Whether the owner sees the value of the member's holdings and the total round-ups."
    )
    # Of the token in the newest e-mail. Named like that of `ApiToken`: exports leave it out.
    digest = models.CharField(max_length=64, blank=True, default="", editable=False)
    invited_at = models.DateTimeField(default=timezone.now, editable=False)
    sent_that_day = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text="Invitations sent to the member on the day of the newest one."
    )
    answered_at = models.DateTimeField(null=True, editable=False)
    removed_at = models.DateTimeField(null=True, editable=False)

    objects = AccountMemberQuerySet.as_manager()

    class Meta:
        db_table = "account_members"
        verbose_name = "member"
        indexes = [
            models.Index(fields=["invited_at"], name="idx_account_members_expired", condition=~Q(status="active"))
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "email"], name="account_members_once_per_email", condition=~Q(status="removed")
            ),
            models.UniqueConstraint(
                fields=["owner", "user"], name="account_members_once_per_user", condition=~Q(status="removed")
            ),
            models.CheckConstraint(
                condition=~Q(status="active") | Q(user__isnull=False, answered_at__isnull=False),
                name="account_members_active_agreed",
            ),
            models.CheckConstraint(
                condition=Q(status="active") | Q(shares_totals=False), name="account_members_only_active_share"
            ),
            models.CheckConstraint(
                condition=Q(user__isnull=True) | ~Q(user=F("owner")), name="account_members_not_the_owner"
            ),
            models.CheckConstraint(condition=Q(email=Lower("email")), name="account_members_email_lower_case"),
            models.CheckConstraint(
                condition=Q(status__in=["invited", "active", "removed"]), name="account_members_status_known"
            ),
            models.CheckConstraint(
                condition=Q(role__in=["parent", "child", "admin", "manager", "accountant", "employee", "member"]),
                name="account_members_role_known",
            ),
        ]

    def __str__(self) -> str:
        return self.email

    @staticmethod
    def digest_of(token: str) -> str:
        """Return the hash that is stored. The token has 256 random bits, so its hash needs no salt."""
        return hashlib.sha256(token.encode()).hexdigest()
