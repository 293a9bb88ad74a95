"""Changes of admin settings: validated by the registry of live settings, each change in the audit log."""

from collections.abc import Mapping

from django.db import transaction

from kamioi_site.admin.audit_log import audit_log
from kamioi_site.live_settings import LiveSetting, SettingError
from kamioi_site.numbers import parse_decimal
from transactions.models import Setting, User
from transactions.services.platform_fees import FEE_SETTINGS, announce_fee


def clean_setting(*, key: str, kind: str, text: str) -> str:
    """Return the value as it is stored. Settings of the legacy system that no code reads are checked by their type.

    Raises SettingError.
    """
    if setting := LiveSetting.registry.get(key):
        return setting.clean(text)
    value = text.strip()
    if not value:
        raise SettingError("A value is required.")
    if kind == Setting.Type.BOOLEAN:
        value = value.lower()
        if value not in {"true", "false"}:
            raise SettingError("It must be true or false.")
    elif kind == Setting.Type.DECIMAL:
        try:
            parse_decimal(value)
        except ValueError:
            raise SettingError("It must be a number.") from None
    return value


@transaction.atomic
def save_settings(*, values: Mapping[str, str], actor: User) -> list[Setting]:
    """Change settings, all or none. Types and descriptions stay; unknown keys are rejected, so a typo creates nothing.

    Raises SettingError.
    """
    rows = {row.key: row for row in Setting.objects.select_for_update().filter(key__in=values).order_by("key")}
    if unknown := sorted(set(values) - set(rows)):
        raise SettingError(f"There is no setting {unknown[0]}.")
    for key, row in rows.items():
        try:
            value = clean_setting(key=key, kind=row.type, text=values[key])
        except SettingError as error:
            raise SettingError(f"{key}: {error}") from error
        if value == row.value:
            continue
        audit_log(actor, f"{key}: {row.value!r} → {value!r}", target=row)
        row.value = value
        row.save(update_fields=["value", "updated_at"])
    if values.keys() & {*FEE_SETTINGS}:
        announce_fee(actor=actor)
    return list(rows.values())
