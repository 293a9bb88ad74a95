"""Providers that propose which listed company owns a merchant, behind one small interface.

``get_provider()`` returns the configured one: ``matcher`` (embedded, offline, the default) or ``openai`` (any server
with OpenAI's chat completions API; see the package ``openai`` beside this file). The rules:

* ``propose_batch`` answers every question, in order, and never raises for failures of an external service. Where a
  model gives no valid answer, the matcher's proposal is used and ``Answer.fallback`` gives the reason.
* Every ticker that a model's provider returns is listed in the company table.
* Only answers with ``Answer.corroborated`` may be approved without a reviewer. What only a model supports is never
  corroborated, whatever its stated confidence: text in a bank statement can manipulate a model.

Providers use the network: call them outside a database transaction, so that no lock is held meanwhile and the recorded
costs survive when the caller fails.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from django.conf import settings
from django.db.models import Sum
from django.utils import timezone

from kamioi_site.errors import KamioiError
from llm_center import matcher
from llm_center.matcher import Proposal
from llm_center.models import LlmCall

MAX_BATCH = 100  # merchants per call


class ProviderConfigError(KamioiError):
    """The LLM settings are invalid."""


@dataclass(frozen=True, slots=True)
class MerchantQuestion:
    """One merchant: its key, a few raw descriptors, and the bank's category if known."""

    merchant_key: str
    samples: tuple[str, ...] = ()
    category: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The proposal for one merchant.

    ``corroborated`` is true when more than a model supports the proposal; otherwise a reviewer decides.
    ``stated_confidence`` is the model's own figure (0 to 1), kept for calibration. ``fallback`` is the reason why the
    matcher answered instead of the model; empty when it did not.
    """

    proposal: Proposal
    corroborated: bool
    stated_confidence: Decimal | None = None
    fallback: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Calls, tokens, cost and time of a batch. ``cost`` is in dollars at the configured prices.

    ``requested`` counts merchants sent to the model, ``answered`` those with a valid answer. Of the model's entries,
    ``invalid`` were malformed, ``missing`` absent, ``extra`` and ``duplicated`` not requested, and ``unlisted`` named a
    ticker that cannot be bought. ``errors`` lists the distinct reasons why calls failed or were skipped.
    """

    provider: str
    model: str = ""
    calls: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: Decimal = Decimal(0)
    milliseconds: int = 0
    requested: int = 0
    answered: int = 0
    invalid: int = 0
    missing: int = 0
    extra: int = 0
    duplicated: int = 0
    unlisted: int = 0
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchResult:
    """One answer per question, in order, and the usage."""

    answers: tuple[Answer, ...]
    usage: Usage

    @property
    def proposals(self) -> tuple[Proposal, ...]:
        return tuple(answer.proposal for answer in self.answers)


class Provider(Protocol):
    """Anything that proposes owners of merchants."""

    @property
    def name(self) -> str:
        """The provider's name in the settings."""

    def propose_batch(self, items: Sequence[MerchantQuestion], *, deadline: float | None = None) -> BatchResult:
        """Answer every question, in order.

        Args:
            items: any number of questions, repeated merchants allowed.
            deadline: `time.monotonic()` after which no new call starts; the matcher answers what remains.
        """


class MatcherProvider:
    """The embedded matcher: offline, free, deterministic."""

    name = "matcher"

    def propose_batch(self, items: Sequence[MerchantQuestion], *, deadline: float | None = None) -> BatchResult:
        """Answer every question from the catalogue, at about 0.2 ms each; the deadline is ignored."""
        started = time.perf_counter()
        answers = tuple(Answer(propose_with_matcher(item), corroborated=True) for item in items)
        elapsed = int((time.perf_counter() - started) * 1000)
        return BatchResult(answers, Usage(self.name, milliseconds=elapsed))


def propose_with_matcher(item: MerchantQuestion) -> Proposal:
    """Return the matcher's proposal, not calibrated."""
    return matcher.propose(item.merchant_key, item.samples[0] if item.samples else "", item.category)


def get_provider(
    name: str | None = None,
    *,
    model_threshold: Decimal | None = None,
    batch_size: int | None = None,
    monthly_budget: Decimal | None = None,
) -> Provider:
    """Return the configured provider; arguments take precedence over the settings.

    The same values return the same object within a process, so that its connections and circuit breaker are shared.

    Args:
        name: ``matcher`` or ``openai``.
        model_threshold: the model is used only where the matcher's confidence is lower; pass the auto-approval
        threshold.
        batch_size: merchants per call, 1 to 100.
        monthly_budget: dollars per calendar month (UTC) after which only the matcher answers; 0 means no limit.

    Raises:
        ProviderConfigError: the name is unknown or a setting is invalid.
    """
    name = settings.LLM_PROVIDER if name is None else name
    if name == MatcherProvider.name:
        return MatcherProvider()
    if name == "openai":
        # Slow to import and large; most processes never use a model.
        from llm_center.providers.openai import openai_provider  # noqa: PLC0415

        return openai_provider(model_threshold=model_threshold, batch_size=batch_size, monthly_budget=monthly_budget)
    raise ProviderConfigError(f"LLM_PROVIDER is {name!r}; it must be matcher or openai.")


def llm_spent_this_month(*, now: datetime | None = None) -> Decimal:
    """Return the dollars spent on models since the start of the calendar month (UTC)."""
    month = (now or timezone.now()).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return LlmCall.objects.filter(started_at__gte=month).aggregate(total=Sum("cost"))["total"] or Decimal(0)
