"""Which listed company stands behind a merchant: proposals, review, decisions."""

from django.apps import AppConfig


class LlmCenterConfig(AppConfig):
    """The room where merchants become tickers."""

    name = "llm_center"
    verbose_name = "LLM Center"

    def ready(self) -> None:
        """Say what is held about people here."""
        from llm_center import privacy  # noqa: PLC0415  # it needs the models

        privacy.declare()
