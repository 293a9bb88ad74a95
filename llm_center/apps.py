"""The LLM Center: which listed company owns a merchant, from proposal to review and decision."""

from django.apps import AppConfig


class LlmCenterConfig(AppConfig):
    name = "llm_center"
    verbose_name = "LLM Center"

    def ready(self) -> None:
        """Register personal data and the migration of mappings, and listen for changes of the review queue."""
        from llm_center import cache, legacy, privacy  # noqa: PLC0415  # they need the models
        from transactions.cache import review_queue_changed  # noqa: PLC0415

        privacy.declare()
        legacy.register()
        review_queue_changed.connect(cache.invalidate_review_queue, dispatch_uid="review queue")
