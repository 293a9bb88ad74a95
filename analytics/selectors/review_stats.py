"""What the staff API reads besides the other selectors: proposal accuracy, thresholds in force, and its caches."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.conf import settings

from kamioi_site.cache.namespaces import CacheNamespace
from kamioi_site.live_settings import SettingError
from llm_center import matcher
from llm_center.cache import LLM
from llm_center.live_settings import CONFIDENCE_THRESHOLD, PROVIDER
from llm_center.models import CalibrationFit
from llm_center.services.learning_stats import get_learning_stats
from llm_center.services.proposal_queue import auto_approval_threshold

DASHBOARD_CACHE: Final = CacheNamespace("llm:dashboard:{user_id}", ttl=900, generation=LLM)
ANALYTICS_CACHE: Final = CacheNamespace("llm:analytics:{date}", ttl=3600, generation=LLM)
STAFF_STATS_CACHE: Final = CacheNamespace("staff:figures:{name}", ttl=30)
# A count of all customers is worth a minute, and for an hour an older one while it is counted again.
CUSTOMERS_CACHE: Final = CacheNamespace("staff:customers", ttl=60, stale=3600)
ACCOUNT_TYPES_CACHE: Final = CacheNamespace("staff:account_types", ttl=3600)


@dataclass(frozen=True, slots=True)
class ProposalAccuracy:
    """Reviewers' verdicts on proposals among the newest fifty thousand decisions; accuracy in percent."""

    reviewed: int
    accuracy: float | None
    last_fit: datetime | None


def proposal_accuracy() -> ProposalAccuracy:
    result = get_learning_stats()
    fitted_at = CalibrationFit.objects.order_by("-id").values_list("fitted_at", flat=True).first()
    accuracy = round(result.right * 100 / result.count, 2) if result.count else None
    return ProposalAccuracy(result.count, accuracy, fitted_at)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Confidence from 0 to 1 at which proposals are approved automatically (None: never), and its configuration."""

    auto_approve: Decimal | None
    configured: str
    enabled: bool
    high: Decimal = matcher.PREFIX
    medium: Decimal = matcher.DOUBTFUL


def thresholds() -> Thresholds:
    """Return the thresholds in force; `auto_approve` is None if the setting is invalid."""
    configured = CONFIDENCE_THRESHOLD.stored() or str(CONFIDENCE_THRESHOLD.default())
    try:
        limit = auto_approval_threshold()
    except SettingError:
        limit = None
    return Thresholds(limit, configured, limit is not None)


def models_in_use() -> list[str]:
    """Return the sources of proposals in the order in which they are asked."""
    name = PROVIDER.stored() or PROVIDER.default()
    return ["matcher"] if name == "matcher" else ["matcher", settings.LLM_MODEL or name]
