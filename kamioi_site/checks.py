"""System checks for production, run by `manage.py check --deploy`."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register


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
