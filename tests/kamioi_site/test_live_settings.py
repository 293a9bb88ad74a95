"""Admin settings: the same check when staff save a value and when the program reads it."""

from decimal import Decimal

import pytest

from kamioi_site.live_settings import LiveSetting, SettingError
from transactions.models import Setting
from transactions.services.settings import clean_setting

pytestmark = pytest.mark.django_db

VALID = [
    ("platform_fee", "0.25", Decimal("0.25")),
    ("platform_fee", " 100 ", Decimal(100)),
    ("confidence_threshold", "0.5", Decimal("0.5")),
    ("llm_batch_size", "100", 100),
    ("llm_provider", "openai", "openai"),
    ("auto_approval_enabled", "TRUE", True),
    ("auto_approval_enabled", "0", False),
    ("amortization_credit_account", "15200", "15200"),
    ("infrastructure_monthly_cost", "1e3", Decimal(1000)),
]
INVALID = [
    ("platform_fee", "0.255"),
    ("platform_fee", "-0.01"),
    ("platform_fee", "NaN"),
    ("platform_fee", ""),
    ("confidence_threshold", "90"),
    ("llm_batch_size", "1.5"),
    ("llm_batch_size", "101"),
    ("llm_batch_size", "Infinity"),
    ("llm_provider", "oracle"),
    ("auto_approval_enabled", "maybe"),
]


def store(key: str, value: str) -> None:
    Setting.objects.update_or_create(key=key, defaults={"value": value})


@pytest.mark.parametrize(("key", "text", "value"), VALID)
def test_a_valid_value_can_be_saved_and_read(key, text, value):
    store(key, clean_setting(key=key, kind="string", text=text))
    assert LiveSetting.registry[key].get() == value


@pytest.mark.parametrize(("key", "text"), INVALID)
def test_an_invalid_value_can_be_neither_saved_nor_read(key, text):
    with pytest.raises(SettingError):
        clean_setting(key=key, kind="string", text=text)
    store(key, text)
    with pytest.raises(SettingError, match=key):
        LiveSetting.registry[key].get()


@pytest.mark.parametrize("key", ["llm_provider", "llm_batch_size", "llm_monthly_budget"])
def test_blank_settings_of_the_provider_fall_back_to_the_environment(key, settings):
    store(key, clean_setting(key=key, kind="string", text=" "))
    assert LiveSetting.registry[key].get() == getattr(settings, key.upper())


def test_a_setting_that_is_not_stored_has_its_default(settings):
    Setting.objects.all().delete()
    assert LiveSetting.registry["platform_fee"].get() == settings.PLATFORM_FEE


@pytest.mark.parametrize(("kind", "text"), [("decimal", "much"), ("decimal", "NaN"), ("boolean", "1"), ("string", "")])
def test_settings_of_the_legacy_system_are_checked_by_their_type(kind, text):
    with pytest.raises(SettingError):
        clean_setting(key="legacy_only", kind=kind, text=text)
