"""The admin settings of the LLM Center."""

from decimal import Decimal
from typing import Final

from django.conf import settings

from kamioi_site.live_settings import BooleanSetting, ChoiceSetting, DecimalSetting, IntegerSetting

# Proposals of at least this confidence need no reviewer, if auto-approval is enabled.
CONFIDENCE_THRESHOLD: Final = DecimalSetting("confidence_threshold", 0.5, 1, default=lambda: Decimal("0.90"))
AUTO_APPROVAL_ENABLED: Final = BooleanSetting("auto_approval_enabled", default=lambda: True)
# Dollars of waiting round-ups from which two reviewers must agree; 0 when one is always enough.
FOUR_EYES_LIMIT: Final = DecimalSetting("four_eyes_limit", 0, 10**9, default=lambda: Decimal(0))
QUEUE_ENABLED: Final = BooleanSetting("queue_processing_enabled", default=lambda: True)
# Blank settings of the provider fall back to the environment.
PROVIDER: Final = ChoiceSetting(
    "llm_provider", ("matcher", "openai"), default=lambda: settings.LLM_PROVIDER, blank=True
)
BATCH_SIZE: Final = IntegerSetting("llm_batch_size", 1, 100, default=lambda: settings.LLM_BATCH_SIZE, blank=True)
MONTHLY_BUDGET: Final = DecimalSetting(
    "llm_monthly_budget", 0, 10**6, default=lambda: settings.LLM_MONTHLY_BUDGET, blank=True
)
# The contra account, or the assets themselves as in the legacy system.
AMORTIZATION_CREDIT_ACCOUNT: Final = ChoiceSetting(
    "amortization_credit_account", ("15100", "15200"), default=lambda: "15100", blank=True
)
