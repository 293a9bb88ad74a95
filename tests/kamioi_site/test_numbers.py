"""Numbers from outside are written in ASCII digits, without separators of thousands, wherever they are read."""

import importlib
import re
from decimal import Decimal
from typing import Any

import pytest
from django import forms
from django.core.exceptions import ImproperlyConfigured
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from kamioi_site.api.pagination import dollars
from kamioi_site.live_settings import SettingError
from kamioi_site.numbers import is_number, parse_decimal
from kamioi_site.settings import env
from llm_center.admin.assets import AssetEventForm
from llm_center.admin.review import BulkForm
from llm_center.mapping_file import _parse_confidence
from llm_center.providers.openai.retry import _retry_after
from tests.factories import api_client, make_user
from transactions.live_settings import PLATFORM_FEE, UPLOADS_RUNNING
from transactions.market.price_providers import QuoteError, _parse_quote
from transactions.models import Transaction

DECEPTIVE = ["１２", "1_000", "１_0", "٣", "1２", "१.५", "0.１"]


@pytest.mark.parametrize("text", [*DECEPTIVE, "", "NaN", "Infinity", "0x10", "1 000", "1,5", "--1", "1e9999"])
def test_what_is_no_number_for_a_reader_is_refused(text: str) -> None:
    assert not is_number(text)
    with pytest.raises(ValueError, match=rf"^{re.escape(text)}$"):
        parse_decimal(text)


@pytest.mark.parametrize("text", ["12", " 12.50 ", "-0.5", "+3", ".5", "5.", "1e3", "1E-2"])
def test_ordinary_numbers_are_read(text: str) -> None:
    assert parse_decimal(text) == Decimal(text.strip())


@pytest.mark.django_db
@pytest.mark.parametrize("text", DECEPTIVE)
def test_no_entry_reads_such_a_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = api_client(make_user())
    reply = client.post("/api/transactions", {"merchant": "SHOP", "amount": text}, format="json")
    assert reply.status_code == 400
    assert client.put("/api/user/profile", {"roundUpAmount": text}, format="json").status_code == 400
    assert not Transaction.objects.exists()
    with pytest.raises(ValidationError):
        dollars(Request(APIRequestFactory().get("/", {"min": text})), "min")
    for setting in (PLATFORM_FEE, UPLOADS_RUNNING):
        with pytest.raises(SettingError):
            setting.clean(text)
    monkeypatch.setenv("KAMIOI_NUMBER", text)
    with pytest.raises(ImproperlyConfigured):
        env.env_int("KAMIOI_NUMBER", 1)
    with pytest.raises(ImproperlyConfigured):
        env.env_decimal("KAMIOI_NUMBER", "1")
    assert isinstance(_parse_quote("SBUX", text, "2026-01-05T12:00:00+00:00"), QuoteError)
    with pytest.raises(ValueError, match="not a number"):
        _parse_confidence(text)
    assert _retry_after({"retry-after": text}) is None
    assert "amount" in AssetEventForm({"amount": text}, what="x").errors
    assert "confidence" in BulkForm({"confidence": text}).errors


def _subclasses(base: type[Any]) -> set[type[Any]]:
    return {base}.union(*(_subclasses(each) for each in base.__subclasses__()))


def test_every_number_field_of_our_serializers_and_forms_refuses_such_text() -> None:
    for app in ("transactions.api", "transactions.api.staff", "llm_center.api", "analytics.api"):
        importlib.import_module(f"{app}.serializers")
    ours = ("transactions.", "llm_center.", "analytics.", "kamioi_site.")
    checked = 0
    for base, kinds, read in (
        (serializers.Serializer, (serializers.DecimalField, serializers.IntegerField), "run_validation"),
        (forms.Form, (forms.DecimalField, forms.IntegerField), "clean"),
    ):
        for each in _subclasses(base):
            fields = getattr(each, "_declared_fields", None) or getattr(each, "declared_fields", {})
            for name, field in fields.items():
                inner = getattr(field, "child", field)
                if each.__module__.startswith(ours) and isinstance(inner, kinds):
                    with pytest.raises((ValidationError, forms.ValidationError)):
                        getattr(inner, read)("１２")
                    checked += 1
                    assert name
    assert checked > 8
