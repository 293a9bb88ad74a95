"""Configuration of the model server, validated when the provider is created."""

from dataclasses import dataclass, field
from decimal import Decimal

from kamioi_site.http.outbound_urls import OutboundURLError, check_outbound_url
from llm_center.providers import MAX_BATCH, ProviderConfigError

BATCH_SECONDS = 180.0  # no request starts later than this; the Celery task may run for 270


@dataclass(frozen=True, slots=True)
class OpenAIConfig:
    """Address, prices and limits of a model server. Prices are dollars per million tokens, times are seconds.

    Raises:
        ProviderConfigError: a value is out of range.
    """

    base_url: str
    model: str
    api_key: str = field(default="", repr=False)
    allow_http: bool = False
    timeout: float = 60
    concurrency: int = 4
    batch_size: int = 25
    price_input: Decimal = Decimal(0)
    price_output: Decimal = Decimal(0)
    monthly_budget: Decimal = Decimal(0)
    model_threshold: Decimal = Decimal("0.90")
    max_retries: int = 3
    backoff: float = 0.5
    breaker_failures: int = 5
    breaker_seconds: float = 60

    def __post_init__(self) -> None:
        check_base_url(self.base_url, allow_http=self.allow_http)
        if not self.model:
            raise ProviderConfigError("LLM_MODEL is not set.")
        if not 1 <= self.batch_size <= MAX_BATCH:
            raise ProviderConfigError(f"LLM_BATCH_SIZE is {self.batch_size}; it must be 1 to {MAX_BATCH}.")
        if not 1 <= self.concurrency <= 64:
            raise ProviderConfigError(f"LLM_CONCURRENCY is {self.concurrency}; it must be 1 to 64.")
        if not 0 < self.timeout <= BATCH_SECONDS:
            raise ProviderConfigError(f"LLM_TIMEOUT is {self.timeout}; it must be up to {BATCH_SECONDS:.0f} seconds.")
        for name, amount in (
            ("LLM_PRICE_INPUT", self.price_input),
            ("LLM_PRICE_OUTPUT", self.price_output),
            ("LLM_MONTHLY_BUDGET", self.monthly_budget),
        ):
            if not (amount.is_finite() and amount >= 0):
                raise ProviderConfigError(f"{name} is {amount}; it must be an amount in dollars, 0 or more.")


def check_base_url(url: str, *, allow_http: bool = False) -> None:
    """Refuse an address that must not receive the API key and customers' merchants.

    Raises:
        ProviderConfigError: see `kamioi_site.http.outbound_urls.check_outbound_url`.
    """
    try:
        check_outbound_url(url, name="LLM_BASE_URL", allow_http=allow_http)
    except OutboundURLError as error:
        raise ProviderConfigError(str(error)) from error
