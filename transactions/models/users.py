"""Users: customers and staff in one table, and the API tokens of front ends.

E-mail addresses are stored as typed and unique regardless of case. A customer's round-up rule decides what is set aside
for each purchase; only `transactions.rules.money` computes the amounts.
"""

import hashlib
import secrets
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Now
from django.utils import timezone
from django.utils.crypto import salted_hmac


class UserManager(BaseUserManager["User"]):
    """Create users, and find them by e-mail regardless of case."""

    def with_email(self, email: str) -> "models.QuerySet[User, User]":
        """Filter by e-mail regardless of case, through the unique index on lower(email)."""
        return self.annotate(email_lower=Lower("email")).filter(email_lower=email.strip().lower())

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.with_email(username or "").get()

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create a user; without a password they cannot log in."""
        if not email:
            raise ValueError("a user needs an e-mail address")
        user = self.model(email=self.normalize_email(email.strip()), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A customer or a member of staff, logging in by e-mail."""

    class AccountType(models.TextChoices):
        INDIVIDUAL = "individual"
        FAMILY = "family"
        BUSINESS = "business"

    class RoundUpRule(models.TextChoices):
        """How the round-up of a purchase is computed."""

        FLAT = "flat", "whole dollars per purchase"
        NEXT_DOLLAR = "next_dollar", "to the next dollar"

    # Wider than Django's 128: werkzeug's hashes from the legacy system have 162 characters.
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
    # Database defaults, because SQL statements insert users without these columns.
    first_name = models.CharField(max_length=75, blank=True, default="", db_default="")
    last_name = models.CharField(max_length=75, blank=True, default="", db_default="")
    company_name = models.CharField(max_length=150, blank=True, default="", db_default="")
    address = models.CharField(max_length=255, blank=True, default="", db_default="")
    country = models.CharField(max_length=60, blank=True, default="", db_default="")
    time_zone = models.CharField(max_length=60, blank=True, default="", db_default="")
    risk_tolerance = models.CharField(max_length=30, blank=True, default="moderate", db_default="moderate")
    investment_goals = models.CharField(max_length=500, blank=True, default="", db_default="")
    # Verified unless the customer registered: staff and the legacy migration create known addresses.
    email_verified_at = models.DateTimeField("e-mail verified at", null=True, default=timezone.now, db_default=Now())
    # The address that replaces `email` at `email_change_at`, if it is verified by then.
    pending_email = models.EmailField("new e-mail", max_length=254, blank=True, default="", db_default="")
    pending_email_verified_at = models.DateTimeField("new e-mail verified at", null=True, editable=False)
    email_change_at = models.DateTimeField("e-mail changes at", null=True, editable=False)
    # When the customer agreed to which version of the terms, as evidence.
    terms_agreed_at = models.DateTimeField(null=True, blank=True)
    terms_version = models.CharField(max_length=20, blank=True, default="", db_default="")
    privacy_agreed_at = models.DateTimeField(null=True, blank=True)
    marketing_agreed = models.BooleanField(default=False, db_default=False)
    round_up_enabled = models.BooleanField("round-up enabled", default=True)
    round_up_rule = models.CharField("round-up rule", max_length=12, choices=RoundUpRule, default=RoundUpRule.FLAT)
    round_up_amount = models.PositiveSmallIntegerField(
        "round-up amount",
        default=1,
        help_text="Whole dollars (1 to 100) set aside for each purchase under the rule “flat”.",
    )
    is_staff = models.BooleanField("staff", default=False)
    is_active = models.BooleanField("active", default=True)
    # Part of the hash in every session: `end_all_access` ends them all by counting up.
    session_generation = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    erased_at = models.DateTimeField(null=True, editable=False, help_text="When the personal data was erased.")

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        db_table = "users"
        indexes = [
            # Admin list filters on rare values.
            models.Index(fields=["account_type", "-id"], name="idx_users_account_type"),
            models.Index(fields=["-id"], name="idx_users_staff", condition=Q(is_staff=True)),
            models.Index(fields=["-id"], name="idx_users_inactive", condition=Q(is_active=False)),
            # `apply_email_changes`.
            models.Index(
                fields=["email_change_at"],
                name="idx_users_email_change",
                condition=Q(pending_email_verified_at__isnull=False),
            ),
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

    def set_unusable_password(self) -> None:
        super().set_unusable_password()
        self._password = ""  # as `set_password` does: `save` recognises a new password by it

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        # The method behind both `get_session_auth_hash` and the hashes of retired secret keys.
        value = f"{self.password}:{self.session_generation}"
        return salted_hmac("transactions.User.session", value, secret=secret, algorithm="sha256").hexdigest()

    def get_full_name(self) -> str:
        """Return the name; Django's admin shows it."""
        return self.name


class UserSetting(models.Model):
    """A preference of a front end, stored as sent. Preferences that Kamioi itself uses are columns of `User`."""

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
    def revoke(self) -> int:
        """Revoke the tokens that are still active. Returns how many."""
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
        """Return the hash that is stored. A token has 256 random bits, so its hash needs no salt."""
        return hashlib.sha256(token.encode()).hexdigest()

    @classmethod
    def issue(cls, *, user: User) -> tuple["ApiToken", str]:
        """Create a token; return its row and the secret, which is not stored. Staff get the lifetime of a session."""
        token = secrets.token_urlsafe(32)
        now = timezone.now()
        lifetime = settings.API_TOKEN_LIFETIME
        if user.is_staff:
            lifetime = min(lifetime, settings.STAFF_SESSION_LIFETIME)
        row = cls.objects.create(user=user, digest=cls.digest_of(token), created_at=now, expires_at=now + lifetime)
        return row, token
