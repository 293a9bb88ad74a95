"""The matcher as a provider, and the selection of a provider."""

from decimal import Decimal

import pytest
from pytest_django import Settings

from llm_center.providers import MatcherProvider, MerchantQuestion, ProviderConfigError, get_provider
from llm_center.providers.openai import OpenAIProvider


def test_the_matcher_answers_every_question_in_order() -> None:
    result = MatcherProvider().propose_batch(
        [MerchantQuestion("STARBUCKS"), MerchantQuestion("ZZYZX QWERT"), MerchantQuestion("STARBUCKS")]
    )
    assert [proposal.ticker for proposal in result.proposals] == ["SBUX", None, "SBUX"]
    assert all(answer.corroborated and not answer.fallback for answer in result.answers)
    assert (result.usage.provider, result.usage.calls, result.usage.cost) == ("matcher", 0, 0)


def test_the_settings_select_the_provider(settings: Settings) -> None:
    assert isinstance(get_provider("matcher"), MatcherProvider)
    settings.LLM_PROVIDER, settings.LLM_MODEL = "openai", "m"
    settings.LLM_BASE_URL, settings.LLM_API_KEY = "http://127.0.0.1:9/v1", ""
    provider = get_provider(batch_size=100, model_threshold=Decimal("0.95"), monthly_budget=Decimal(3))
    assert isinstance(provider, OpenAIProvider)
    assert (provider.config.batch_size, provider.config.model_threshold) == (100, Decimal("0.95"))
    assert get_provider(batch_size=100, model_threshold=Decimal("0.95"), monthly_budget=Decimal(3)) is provider
    assert get_provider() is not provider


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LLM_PROVIDER", "oracle"),
        ("LLM_MODEL", ""),
        ("LLM_BASE_URL", "http://example.com/v1"),
        ("LLM_BATCH_SIZE", 101),
        ("LLM_BATCH_SIZE", 0),
        ("LLM_CONCURRENCY", 0),
        ("LLM_TIMEOUT", 0),
        ("LLM_PRICE_INPUT", Decimal("-1")),
        ("LLM_MONTHLY_BUDGET", Decimal("NaN")),
    ],
)
def test_invalid_settings_are_refused_by_name(settings: Settings, name: str, value: object) -> None:
    settings.LLM_PROVIDER, settings.LLM_MODEL = "openai", "m"
    setattr(settings, name, value)
    with pytest.raises(ProviderConfigError, match=name):
        get_provider()
