"""System checks for production, run by `manage.py check --deploy`."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import OperationalError

from kamioi_site.db.roles import find_role_problem


@register(Tags.security, deploy=True)
def staff_second_factor(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Check that staff must use a second factor."""
    if settings.STAFF_OTP_REQUIRED:
        return []
    return [
        Warning(
            "Staff can log in with a password alone.",
            hint="Set STAFF_OTP_REQUIRED=true after asking all staff to set up two-factor authentication.",
            id="kamioi.W001",
        )
    ]


@register(Tags.security, deploy=True)
def price_provider(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Check that quotes come from somewhere."""
    if settings.PRICE_PROVIDER:
        return []
    return [
        Warning(
            "There is no source of prices: nothing is bought, and purchases wait for a price.",
            hint="Set PRICE_PROVIDER=http and PRICE_API_URL, or csv and PRICE_CSV_PATH. See docs/prices.md.",
            id="kamioi.W003",
        )
    ]


@register(Tags.security, deploy=True)
def database_role(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Check that the application's database role owns nothing; a server that does not answer is no complaint."""
    try:
        problem = find_role_problem()
    except OperationalError:
        return []
    if not problem:
        return []
    return [
        Warning(
            problem,
            hint="Let another role own the database and run the migrations (MIGRATION_DATABASE_URL), and connect with "
            "a role that owns nothing. See `Roles` in docs/deployment.md.",
            id="kamioi.W002",
        )
    ]
