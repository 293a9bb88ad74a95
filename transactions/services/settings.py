"""Settings that staff change while the system runs: checked by what the program can read, each change in the audit trail."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction

from transactions.errors import SettingError
from transactions.models import Setting, User

# The range of the settings that have one.
RANGES: Final = {
    "platform_fee": (Decimal(0), Decimal(100)),
    "confidence_threshold": (Decimal("0.5"), Decimal(1)),
    "four_eyes_limit": (Decimal(0), Decimal(10**9)),
    "llm_batch_size": (Decimal(1), Decimal(100)),
    "llm_monthly_budget": (Decimal(0), Decimal(10**6)),
    "infrastructure_monthly_cost": (Decimal(0), Decimal(10**9)),
    "process_selected_max_orders": (Decimal(1), Decimal(500)),
    "process_selected_max_amount": (Decimal(0), Decimal(10**9)),
}
_WHOLE: Final = frozenset({"llm_batch_size", "process_selected_max_orders"})


def get_setting(*, key: str, kind: str, text: str) -> str:
    """The value as it is stored. Raises SettingError: the program could not read it. Settings of the LLM may be empty."""
    value = text.strip()
    if not value:
        if key.startswith("llm_"):
            return ""
        raise SettingError("A value is needed.")
    if key == "llm_provider" and value not in {"matcher", "openai"}:
        raise SettingError("It must be matcher or openai.")
    if kind == Setting.Type.BOOLEAN and value.lower() not in {"true", "false"}:
        raise SettingError("It must be true or false.")
    if kind == Setting.Type.DECIMAL or key in RANGES:
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise SettingError("It must be a number.") from None
        low, high = RANGES.get(key, (None, None))
        if not number.is_finite() or (low is not None and high is not None and not low <= number <= high):
            raise SettingError(
                f"It must be a number from {low} to {high}." if key in RANGES else "It must be a number."
            )
        if key in _WHOLE and number != int(number):
            raise SettingError("It must be a whole number.")
    return value.lower() if kind == Setting.Type.BOOLEAN else value


@transaction.atomic
def save_settings(*, values: Mapping[str, str], actor: User) -> list[Setting]:
    """Change settings, all or none. Type and description stay; unknown keys are refused, so that a slip is no new setting.

    Raises SettingError.
    """
    known = {row.key: row for row in Setting.objects.select_for_update().filter(key__in=values).order_by("key")}
    if unknown := sorted(set(values) - set(known)):
        raise SettingError(f"There is no setting {unknown[0]}.")
    kind = ContentType.objects.get_for_model(Setting)
    for key, row in known.items():
        try:
            value = get_setting(key=key, kind=row.type, text=values[key])
        except SettingError as error:
            raise SettingError(f"{key}: {error}") from error
        if value == row.value:
            continue
        LogEntry.objects.create(
            user=actor,
            content_type=kind,
            object_id=str(row.pk),
            object_repr=key[:200],
            action_flag=CHANGE,
            change_message=f"{key}: {row.value!r} → {value!r}",
        )
        row.value = value
        row.save(update_fields=["value", "updated_at"])
    return list(known.values())


def is_setting_enabled(key: str, *, default: bool = True) -> bool:
    """A setting that is true or false; `default` where nobody set it."""
    text = Setting.objects.filter(key=key).values_list("value", flat=True).first()
    return default if text is None else text.strip().lower() in {"true", "1"}


def get_decimal_setting(key: str, *, default: Decimal) -> Decimal:
    """A setting that is a number. Raises SettingError."""
    text = Setting.objects.filter(key=key).values_list("value", flat=True).first()
    if text is None or not text.strip():
        return default
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise SettingError(f"the setting {key} is {text!r}; it must be a number")
    return number
