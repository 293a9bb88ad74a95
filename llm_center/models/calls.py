"""Calls to language models, for the cost page and the monthly budget."""

from decimal import Decimal

from django.db import models
from django.db.models import Q
from django.utils import timezone


class LlmCall(models.Model):
    """One call to a language model, including its retries. Rows are never changed."""

    started_at = models.DateTimeField(default=timezone.now)
    provider = models.CharField(max_length=20)
    model = models.CharField(max_length=100, blank=True)
    merchants = models.PositiveIntegerField(help_text="Merchants in the request.")
    prompt_tokens = models.PositiveIntegerField(default=0)
    completion_tokens = models.PositiveIntegerField(default=0)
    cost = models.DecimalField(max_digits=12, decimal_places=6, default=Decimal(0), help_text="Dollars.")
    duration_ms = models.PositiveIntegerField("duration (ms)", default=0)
    retries = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True, help_text="Why it failed; empty on success.")

    class Meta:
        db_table = "llm_calls"
        verbose_name = "LLM call"
        indexes = [models.Index(fields=["-started_at"], name="idx_llm_calls_started_at")]  # the budget sums a month
        constraints = [models.CheckConstraint(condition=Q(cost__gte=0), name="llm_calls_cost_not_negative")]

    def __str__(self) -> str:
        return f"{self.model} {self.started_at:%Y-%m-%d %H:%M}"

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens
