"""People: customers and staff in one table, and the tokens their front ends carry.

E-mails are stored as typed and unique without regard to case. A customer's round-up rule decides what is set aside
at each purchase; the amounts themselves are computed by `transactions.rules.money` and nowhere else.
"""

import hashlib
import secrets
from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone


class UserManager(BaseUserManager["User"]):
    """Creates people and finds them by e-mail in any case."""

    def get_by_natural_key(self, username: str | None) -> "User":
        """The user with this e-mail, in any case."""
        return self.annotate(email_lower=Lower("email")).get(email_lower=(username or "").strip().lower())

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """A new user; without a password nobody can log in as them."""
        if not email:
            raise ValueError("a user needs an e-mail address")
        user = self.model(email=self.normalize_email(email.strip()), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """A new member of staff who may do everything."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A customer or a member of staff, logging in by e-mail."""

    class AccountType(models.TextChoices):
        """Kinds of account that the front ends know."""

        INDIVIDUAL = "individual"
        FAMILY = "family"
        BUSINESS = "business"

    class RoundUpRule(models.TextChoices):
        """How the round-up of a purchase is found."""

        FLAT = "flat", "whole dollars per purchase"
        NEXT_DOLLAR = "next_dollar", "to the next dollar"

    # Wider than Django's 128: the hashes that werkzeug made for the legacy system have 162 characters.
    password = models.CharField(max_length=255)
    email = models.EmailField("e-mail", max_length=254, unique=True)
    name = models.CharField(max_length=150, blank=True)
    account_type = models.CharField(max_length=20, choices=AccountType, default=AccountType.INDIVIDUAL)
    account_number = models.CharField(max_length=20, null=True, blank=True, unique=True)
    user_guid = models.CharField("user GUID", max_length=64, blank=True)
    city = models.CharField(max_length=100, blank=True)
    state = models.CharField(max_length=50, blank=True)
    zip_code = models.CharField("ZIP code", max_length=20, blank=True)
    phone = models.CharField(max_length=40, blank=True)
    # Defaults in the database too: people also come in by statements that know nothing of these columns.
    first_name = models.CharField(max_length=75, blank=True, default="", db_default="")
    last_name = models.CharField(max_length=75, blank=True, default="", db_default="")
    company_name = models.CharField(max_length=150, blank=True, default="", db_default="")
    address = models.CharField(max_length=255, blank=True, default="", db_default="")
    country = models.CharField(max_length=60, blank=True, default="", db_default="")
    time_zone = models.CharField(max_length=60, blank=True, default="", db_default="")
    risk_tolerance = models.CharField(max_length=30, blank=True, default="moderate", db_default="moderate")
    investment_goals = models.CharField(max_length=500, blank=True, default="", db_default="")
    # What was agreed to, and when: a customer and the law may ask.
    terms_agreed_at = models.DateTimeField(null=True, blank=True)
    privacy_agreed_at = models.DateTimeField(null=True, blank=True)
    marketing_agreed = models.BooleanField(default=False, db_default=False)
    round_up_enabled = models.BooleanField(default=True)
    round_up_rule = models.CharField(max_length=12, choices=RoundUpRule, default=RoundUpRule.FLAT)
    round_up_amount = models.PositiveSmallIntegerField(
        default=1, help_text="Whole dollars (1 to 100) set aside at each purchase under the rule “flat”."
    )
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    erased_at = models.DateTimeField(
        null=True, editable=False, help_text="When everything that told who it is was taken out."
    )

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        db_table = "users"
        indexes = [
            # The list of staff, by what is rare among people.
            models.Index(fields=["account_type", "-id"], name="idx_users_account_type"),
            models.Index(fields=["-id"], name="idx_users_staff", condition=Q(is_staff=True)),
            models.Index(fields=["-id"], name="idx_users_inactive", condition=Q(is_active=False)),
        ]
        constraints = [
            models.UniqueConstraint(Lower("email"), name="users_email_unique_any_case"),
            models.CheckConstraint(
                condition=Q(round_up_amount__gte=1, round_up_amount__lte=100), name="users_round_up_amount_1_to_100"
            ),
            models.CheckConstraint(
                condition=Q(round_up_rule__in=["flat", "next_dollar"]), name="users_round_up_rule_known"
            ),
        ]

    def __str__(self) -> str:
        return self.email


class UserSetting(models.Model):
    """A preference of a front end, kept for it as it was sent. What Kamioi itself acts upon is a column of `User`."""

    user = models.ForeignKey(
        User, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="settings"
    )
    setting_key = models.CharField(max_length=64)
    setting_value = models.JSONField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "user_settings"
        constraints = [models.UniqueConstraint(fields=["user", "setting_key"], name="user_settings_once_per_user")]

    def __str__(self) -> str:
        return self.setting_key


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    """Tokens."""

    def revoke(self) -> int:
        """End them now; those that ended before keep their time. Returns how many ended."""
        return self.filter(revoked_at=None).update(revoked_at=timezone.now())


class ApiToken(models.Model):
    """A bearer token of the API: only its SHA-256 is stored; it expires and can be revoked."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        db_table = "api_tokens"

    def __str__(self) -> str:
        return f"token {self.pk} of {self.user_id}"

    @staticmethod
    def digest_of(token: str) -> str:
        """What is stored of a token. The token has 256 random bits, so a plain hash needs no salt."""
        return hashlib.sha256(token.encode()).hexdigest()

    @classmethod
    def issue(cls, *, user: User, now: datetime | None = None) -> tuple["ApiToken", str]:
        """A new token for the user: the row, and the text that only the caller will ever see."""
        token = secrets.token_urlsafe(32)
        now = now or timezone.now()
        row = cls.objects.create(
            user=user, digest=cls.digest_of(token), created_at=now, expires_at=now + settings.API_TOKEN_LIFETIME
        )
        return row, token
