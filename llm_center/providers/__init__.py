"""Who answers the question "which share stands behind this merchant?": providers behind one small interface.

``provider()`` gives the one that the settings name: ``matcher`` (embedded, offline, the default) or ``openai`` (any server
that speaks OpenAI's chat completions; see ``openai.py`` beside this file). Rules that hold here:

* ``propose_batch`` answers every question, in order, and does not raise for what an outside service does: what a model
  does not answer, or answers badly, the matcher answers, and ``Answer.fallback`` says why;
* a ticker that leaves a model's provider is listed in the company table;
* ``Answer.corroborated`` must be true for an answer to be approved without a reviewer. What only a model says is never
  corroborated, whatever confidence it claims: text on a bank statement can talk a model into anything.

Providers talk to the network: call them outside a database transaction, so that no lock is held meanwhile and the record
of what was spent stays when the caller fails.
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

MAX_BATCH = 100
"""Merchants that a single call may ask for."""


class ProviderConfigError(KamioiError):
    """The LLM settings cannot work."""


@dataclass(frozen=True, slots=True)
class MerchantQuestion:
    """One merchant: its key, a few raw texts that banks wrote for it, and the bank's category if there is one."""

    merchant_key: str
    samples: tuple[str, ...] = ()
    category: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is proposed for one merchant.

    ``corroborated`` says that more than a model's word stands behind the proposal; without it a reviewer decides.
    ``stated_confidence`` is what the model claimed (0 to 1), for calibration; ``proposal.confidence`` is what we believe.
    ``fallback`` says why the matcher answered in a model's place; empty when that was not so.
    """

    proposal: Proposal
    corroborated: bool
    stated_confidence: Decimal | None = None
    fallback: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a batch took. ``cost`` is in dollars, by the configured prices; ``milliseconds`` is the time of the batch.

    ``asked`` counts merchants put to the model, ``answered`` those that it answered well. Of its answers, ``invalid`` were
    malformed, ``missing`` never came, ``extra`` and ``duplicated`` were not asked for, ``unlisted`` named a ticker that cannot
    be bought. ``errors`` holds each reason once why a call failed or was not made.
    """

    provider: str
    model: str = ""
    calls: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: Decimal = Decimal(0)
    milliseconds: int = 0
    asked: int = 0
    answered: int = 0
    invalid: int = 0
    missing: int = 0
    extra: int = 0
    duplicated: int = 0
    unlisted: int = 0
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchResult:
    """One answer for each question, in the order of the questions, and what they took."""

    answers: tuple[Answer, ...]
    usage: Usage

    @property
    def proposals(self) -> tuple[Proposal, ...]:
        """The proposals alone, in the order of the questions."""
        return tuple(answer.proposal for answer in self.answers)


class Provider(Protocol):
    """Anything that answers questions about merchants."""

    @property
    def name(self) -> str:
        """The name that the settings know it by."""

    def propose_batch(self, items: Sequence[MerchantQuestion], *, deadline: float | None = None) -> BatchResult:
        """Answer every question, in order.

        Args:
            items: any number of questions; the same merchant may stand in it twice.
            deadline: `time.monotonic()` after which no new call is begun; what is open then, the matcher answers.
        """


class MatcherProvider:
    """The embedded matcher: offline, free, the same answer every time."""

    name = "matcher"

    def propose_batch(self, items: Sequence[MerchantQuestion], *, deadline: float | None = None) -> BatchResult:
        """Answer every question from the catalogue; about a fifth of a millisecond each, so the deadline plays no part."""
        started = time.perf_counter()
        answers = tuple(Answer(propose_with_matcher(item), corroborated=True) for item in items)
        elapsed = int((time.perf_counter() - started) * 1000)
        return BatchResult(answers, Usage(self.name, milliseconds=elapsed))


def propose_with_matcher(item: MerchantQuestion) -> Proposal:
    """The matcher's proposal for a question."""
    return matcher.propose(item.merchant_key, item.samples[0] if item.samples else "", item.category)


def get_provider(
    name: str | None = None,
    *,
    model_threshold: Decimal | None = None,
    batch_size: int | None = None,
    monthly_budget: Decimal | None = None,
) -> Provider:
    """The provider that the settings name. What is given here goes before the settings, such as a choice in the admin.

    The same values give the same object in a process, so that its connections and its circuit breaker live on.

    Args:
        name: ``matcher`` or ``openai``.
        model_threshold: a model is only asked where the matcher's confidence is lower; give the auto-approval threshold.
        batch_size: merchants a call, 1 to 100.
        monthly_budget: dollars a calendar month (UTC) after which the matcher answers alone; 0 is no limit.

    Raises:
        ProviderMisconfigured: an unknown name, or settings that cannot work.
    """
    name = settings.LLM_PROVIDER if name is None else name
    if name == MatcherProvider.name:
        return MatcherProvider()
    if name == "openai":
        # Loads slowly and needs memory; most processes never ask a model.
        from llm_center.providers.openai import openai_provider  # noqa: PLC0415

        return openai_provider(model_threshold=model_threshold, batch_size=batch_size, monthly_budget=monthly_budget)
    raise ProviderConfigError(f"LLM_PROVIDER is {name!r}; it must be matcher or openai.")


def record_llm_call(
    *,
    provider: str,
    model: str,
    started_at: datetime,
    merchants: int,
    prompt_tokens: int,
    completion_tokens: int,
    cost: Decimal,
    duration_ms: int,
    retries: int,
    error: str = "",
) -> LlmCall:
    """Write down one call to a model, failed ones included: what it asked, took and cost (dollars)."""
    return LlmCall.objects.create(
        provider=provider,
        model=model[:100],
        started_at=started_at,
        merchants=merchants,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cost=cost,
        duration_ms=duration_ms,
        retries=retries,
        error=error[:300],
    )


def llm_spent_this_month(*, now: datetime | None = None) -> Decimal:
    """Dollars spent on models since the calendar month began (UTC)."""
    moment = now or timezone.now()
    begin = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return LlmCall.objects.filter(started_at__gte=begin).aggregate(total=Sum("cost"))["total"] or Decimal(0)
