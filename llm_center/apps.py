"""The LLM Center: which listed company owns a merchant, from proposal to review and decision."""

from typing import Any

from django.apps import AppConfig

from kamioi_site.messaging.wake import wake

MATCHER_WAKE = "matcher"


def wake_matcher(**_: Any) -> None:
    """Receive `transactions.cache.merchants_waiting`: ask the matcher as soon as the purchases are stored."""
    wake("match_merchants", key=MATCHER_WAKE)


class LlmCenterConfig(AppConfig):
    name = "llm_center"
    verbose_name = "LLM Center"

    def ready(self) -> None:
        """Register personal data and the migration of mappings, and listen for waiting purchases."""
        from llm_center import cache, legacy, privacy  # noqa: PLC0415  # they need the models
        from transactions.cache import merchants_waiting, review_queue_changed  # noqa: PLC0415

        privacy.declare()
        legacy.register()
        review_queue_changed.connect(cache.invalidate_review_queue, dispatch_uid="review queue")
        merchants_waiting.connect(wake_matcher, dispatch_uid="matcher")
