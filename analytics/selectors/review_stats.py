"""What the API for staff shows beside `analytics.selectors.figures`: what people taught, the thresholds in force, and the caches of all."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.conf import settings

from kamioi_site.cache.namespaces import CacheNamespace
from kamioi_site.live_settings import SettingError
from llm_center import matcher
from llm_center.cache import LLM
from llm_center.models import CalibrationFit
from llm_center.services.learning_stats import get_learning_stats
from llm_center.services.proposal_queue import auto_approval_threshold
from transactions.models import Setting

DASHBOARD: Final = CacheNamespace("llm:dashboard:{user_id}", ttl=900, generation=LLM)
ANALYTICS: Final = CacheNamespace("llm:analytics:{date}", ttl=3600, generation=LLM)
STAFF: Final = CacheNamespace("staff:figures:{name}", ttl=30)
ACCOUNT_TYPES: Final = CacheNamespace("staff:account_types", ttl=3600)


@dataclass(frozen=True, slots=True)
class Taught:
    """What people made of proposals, among the newest fifty thousand decisions; accuracy in percent."""

    judged: int
    accuracy: float | None
    last_fit: datetime | None


def taught() -> Taught:
    """How often proposals were right."""
    found = get_learning_stats()
    fit = CalibrationFit.objects.order_by("-id").values_list("fitted_at", flat=True).first()
    return Taught(found.count, round(found.right * 100 / found.count, 2) if found.count else None, fit)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Confidence, 0 to 1, from which proposals are decided without a person (None: none is), and whether they may be."""

    auto_approve: Decimal | None
    configured: str
    enabled: bool
    high: Decimal = matcher.PREFIX
    medium: Decimal = matcher.DOUBTFUL


def thresholds() -> Thresholds:
    """The thresholds in force; None where a setting cannot be read."""
    configured = Setting.objects.filter(key="confidence_threshold").values_list("value", flat=True).first() or "0.90"
    try:
        limit = auto_approval_threshold()
    except SettingError:
        limit = None
    return Thresholds(limit, configured, limit is not None)


def models_in_use() -> list[str]:
    """What proposes owners, in the order in which it is asked."""
    name = Setting.objects.filter(key="llm_provider").values_list("value", flat=True).first() or settings.LLM_PROVIDER
    return ["matcher"] if name == "matcher" else ["matcher", settings.LLM_MODEL or name]
