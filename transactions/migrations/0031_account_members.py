"""The members of family and business accounts."""

import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from kamioi_site.db.seed import seed_roles


class Migration(migrations.Migration):
    dependencies = [("transactions", "0030_company_words")]

    operations = [
        migrations.CreateModel(
            name="AccountMember",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "email",
                    models.EmailField(
                        help_text="Invited address, in lower case.", max_length=254, verbose_name="e-mail"
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        blank=True, default="", help_text="As the owner calls the member.", max_length=150
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("parent", "Parent"),
                            ("child", "Child"),
                            ("admin", "Admin"),
                            ("manager", "Manager"),
                            ("accountant", "Accountant"),
                            ("employee", "Employee"),
                            ("member", "Member"),
                        ],
                        default="member",
                        max_length=10,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("invited", "Invited"),
                            ("active", "Active"),
                            ("removed", "removed, left or declined"),
                        ],
                        default="invited",
                        max_length=7,
                    ),
                ),
                (
                    "shares_totals",
                    models.BooleanField(
                        default=False,
                        help_text="Whether the owner sees the value of the member's holdings and the total round-ups.",
                    ),
                ),
                ("digest", models.CharField(blank=True, default="", editable=False, max_length=64)),
                ("invited_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "sent_that_day",
                    models.PositiveSmallIntegerField(
                        default=0,
                        editable=False,
                        help_text="Invitations sent to the member on the day of the newest one.",
                    ),
                ),
                ("answered_at", models.DateTimeField(editable=False, null=True)),
                ("removed_at", models.DateTimeField(editable=False, null=True)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="members", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="memberships",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "member",
                "db_table": "account_members",
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "active"), _negated=True),
                        fields=["invited_at"],
                        name="idx_account_members_expired",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "removed"), _negated=True),
                        fields=("owner", "email"),
                        name="account_members_once_per_email",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("status", "removed"), _negated=True),
                        fields=("owner", "user"),
                        name="account_members_once_per_user",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "active"), _negated=True),
                            models.Q(("answered_at__isnull", False), ("user__isnull", False)),
                            _connector="OR",
                        ),
                        name="account_members_active_agreed",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status", "active"), ("shares_totals", False), _connector="OR"),
                        name="account_members_only_active_share",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("user__isnull", True),
                            models.Q(("user", models.F("owner")), _negated=True),
                            _connector="OR",
                        ),
                        name="account_members_not_the_owner",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("email", django.db.models.functions.text.Lower("email"))),
                        name="account_members_email_lower_case",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["invited", "active", "removed"])),
                        name="account_members_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("role__in", ["parent", "child", "admin", "manager", "accountant", "employee", "member"])
                        ),
                        name="account_members_role_known",
                    ),
                ],
            },
        ),
        seed_roles({role: ["transactions.view_accountmember"] for role in ("admin", "operator")}),
    ]
