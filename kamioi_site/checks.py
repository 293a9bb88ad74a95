"""What should hold where Kamioi is in production; `manage.py check --deploy` says what does not."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register


@register(Tags.security, deploy=True)
def staff_second_factor(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Staff should need more than a password."""
    if settings.STAFF_OTP_REQUIRED:
        return []
    return [
        Warning(
            "Staff may log in with a password alone.",
            hint="Set STAFF_OTP_REQUIRED=true once everybody has been told to set up two-factor.",
            id="kamioi.W001",
        )
    ]
