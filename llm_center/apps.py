"""Which listed company stands behind a merchant: proposals, review, decisions."""

from django.apps import AppConfig


class LlmCenterConfig(AppConfig):
    """The room where merchants become tickers."""

    name = "llm_center"
    verbose_name = "LLM Center"
