"""The provider that sends requests to a model server: batching, concurrency, budget, retries, circuit breaker."""

import logging
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import httpx2
import openai
import pybreaker
from django.conf import settings
from django.utils import timezone

from llm_center.models import LlmCall
from llm_center.providers import (
    Answer,
    BatchResult,
    MerchantQuestion,
    Usage,
    llm_spent_this_month,
    propose_with_matcher,
)
from llm_center.providers.openai.config import BATCH_SECONDS, OpenAIConfig
from llm_center.providers.openai.parsing import (
    MalformedReplyError,
    ModelEntry,
    ParsedReply,
    load_json,
    message_content,
    parse_reply,
    token_count,
)
from llm_center.providers.openai.prompt import RESPONSE_SCHEMA, build_messages
from llm_center.providers.openai.retry import is_server_healthy, retry_delay
from llm_center.providers.openai.validation import listed_companies, validate_entry

logger = logging.getLogger(__name__)

MAX_SPLITS = 2  # a malformed reply splits the request in half; at most seven calls result from one
MAX_REPLY_BYTES = 2 * 1024 * 1024
_MILLION = Decimal(1_000_000)
_MICRO = Decimal("0.000001")


def openai_provider(
    *, model_threshold: Decimal | None = None, batch_size: int | None = None, monthly_budget: Decimal | None = None
) -> "OpenAIProvider":
    """Return the provider of the settings; arguments take precedence. See `llm_center.providers.get_provider`."""
    config = OpenAIConfig(
        base_url=settings.LLM_BASE_URL,
        model=settings.LLM_MODEL,
        api_key=settings.LLM_API_KEY,
        allow_http=settings.LLM_ALLOW_HTTP or settings.DEBUG,
        timeout=settings.LLM_TIMEOUT,
        concurrency=settings.LLM_CONCURRENCY,
        batch_size=settings.LLM_BATCH_SIZE if batch_size is None else batch_size,
        price_input=settings.LLM_PRICE_INPUT,
        price_output=settings.LLM_PRICE_OUTPUT,
        monthly_budget=settings.LLM_MONTHLY_BUDGET if monthly_budget is None else monthly_budget,
    )
    return _cached_provider(config if model_threshold is None else replace(config, model_threshold=model_threshold))


@lru_cache(maxsize=4)
def _cached_provider(config: OpenAIConfig) -> "OpenAIProvider":
    return OpenAIProvider(config)


class CallSkippedError(Exception):
    """No request is sent: the budget is spent, the time is over, or the batch was cancelled."""


@dataclass(slots=True)
class _Call:
    """One call to the model, retries included; filled by the thread that makes it."""

    questions: Sequence[MerchantQuestion]
    started_at: datetime = field(default_factory=timezone.now)
    reply: ParsedReply = field(default_factory=ParsedReply)
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: Decimal = Decimal(0)
    duration_ms: int = 0
    error: str = ""

    @property
    def retries(self) -> int:
        """Requests after the first one."""
        return max(self.requests - 1, 0)


class _BatchLimits:
    """The time and money left to the calls of one batch, and whether it was cancelled. Thread-safe."""

    def __init__(self, *, deadline: float, budget: Decimal | None) -> None:
        self.deadline = deadline
        self._budget = budget
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    def check(self) -> None:
        """Raise CallSkippedError unless another request may be sent now."""
        if self._cancelled.is_set():
            raise CallSkippedError("the batch was cancelled")
        if time.monotonic() >= self.deadline:
            raise CallSkippedError("the time for this batch is over")
        with self._lock:
            if self._budget is not None and self._budget <= 0:
                raise CallSkippedError("the monthly budget is spent")

    def spend(self, cost: Decimal) -> None:
        with self._lock:
            if self._budget is not None:
                self._budget -= cost

    def pause(self, seconds: float) -> None:
        """Sleep, unless that would pass the deadline."""
        if time.monotonic() + seconds >= self.deadline:
            raise CallSkippedError("the time for this batch is over")
        self._cancelled.wait(seconds)

    def cancel(self) -> None:
        self._cancelled.set()


class OpenAIProvider:
    """Requests the owners that the matcher is unsure of from a language model. Thread-safe."""

    name = "openai"

    def __init__(self, config: OpenAIConfig) -> None:
        self.config = config
        self.breaker = pybreaker.CircuitBreaker(
            fail_max=config.breaker_failures,
            reset_timeout=config.breaker_seconds,
            exclude=[is_server_healthy],
            throw_new_error_on_trip=False,
            name="openai",
        )
        self._client = openai.OpenAI(
            base_url=config.base_url,
            api_key=config.api_key or "none",  # a local server needs none; never fall back to OPENAI_API_KEY
            max_retries=0,  # retries are made in _send_with_retries
            timeout=httpx2.Timeout(config.timeout, connect=min(config.timeout, 10)),
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
        )
        # Switched off when the server rejects them.
        self._use_json_schema = True
        self._use_temperature = True

    def propose_batch(self, items: Sequence[MerchantQuestion], *, deadline: float | None = None) -> BatchResult:
        """Answer every question, in order; see `llm_center.providers.Provider`.

        Takes at most about ``BATCH_SECONDS`` plus one timeout. Each call is recorded when it ends.
        """
        started = time.monotonic()
        latest = started + BATCH_SECONDS
        proposals = [propose_with_matcher(item) for item in items]
        unsure: dict[str, MerchantQuestion] = {}
        for item, proposal in zip(items, proposals, strict=True):
            if proposal.listed is None or proposal.proven < self.config.model_threshold:
                unsure.setdefault(item.merchant_key, item)
        calls, refusal = self._call_all(
            list(unsure.values()), deadline=latest if deadline is None else min(deadline, latest)
        )
        entries: dict[str, ModelEntry] = {}
        errors: dict[str, str] = {}
        for call in calls:
            entries |= call.reply.entries
            if call.error:
                errors |= {question.merchant_key: call.error for question in call.questions}
        listed = listed_companies(entries.values(), proposals)
        answers = []
        for item, proposal in zip(items, proposals, strict=True):
            key = item.merchant_key
            if key not in unsure:
                answers.append(Answer(proposal, corroborated=True))
            elif key in entries:
                answers.append(validate_entry(entries[key], proposal, listed, model=self.config.model))
            else:
                missing = "the model's answer for this merchant was missing or malformed"
                answers.append(Answer(proposal, corroborated=True, fallback=errors.get(key) or refusal or missing))
        usage = Usage(
            provider=self.name,
            model=self.config.model,
            calls=sum(1 for call in calls if call.requests),
            retries=sum(call.retries for call in calls),
            prompt_tokens=sum(call.prompt_tokens for call in calls),
            completion_tokens=sum(call.completion_tokens for call in calls),
            cost=sum((call.cost for call in calls), Decimal(0)),
            milliseconds=int((time.monotonic() - started) * 1000),
            requested=len({question.merchant_key for call in calls if call.requests for question in call.questions}),
            answered=len(entries),
            invalid=sum(call.reply.invalid for call in calls),
            missing=sum(call.reply.missing for call in calls),
            extra=sum(call.reply.extra for call in calls),
            duplicated=sum(call.reply.duplicated for call in calls),
            unlisted=sum(1 for entry in entries.values() if entry.ticker and entry.ticker not in listed),
            errors=tuple(dict.fromkeys(filter(None, (refusal, *(call.error for call in calls))))),
        )
        return BatchResult(tuple(answers), usage)

    def _call_all(self, questions: Sequence[MerchantQuestion], *, deadline: float) -> tuple[list[_Call], str]:
        """Return the calls of a batch, or the reason why none was made."""
        if not questions:
            return [], ""
        budget: Decimal | None = None
        if self.config.monthly_budget:
            spent = llm_spent_this_month()
            budget = self.config.monthly_budget - spent
            if budget <= 0:
                reason = f"the monthly budget of ${self.config.monthly_budget} is spent (${spent:.2f})"
                logger.warning("model requests are skipped: %s", reason)
                return [], reason
        size = self.config.batch_size
        chunks = [questions[start : start + size] for start in range(0, len(questions), size)]
        limits = _BatchLimits(deadline=deadline, budget=budget)
        calls: list[_Call] = []
        if self.breaker.current_state != pybreaker.STATE_CLOSED:
            # Probe with one call whether the server is back before the others start.
            calls += self._record(self._call(chunks.pop(0), limits))
        executor = ThreadPoolExecutor(self.config.concurrency, thread_name_prefix="llm")
        try:
            for future in as_completed([executor.submit(self._call, chunk, limits) for chunk in chunks]):
                calls += self._record(future.result())
        finally:
            limits.cancel()
            executor.shutdown(cancel_futures=True)
        return calls, ""

    def _record(self, calls: list[_Call]) -> list[_Call]:
        for call in calls:
            if call.error:
                logger.warning("the model request for %d merchants failed: %s", len(call.questions), call.error)
            if call.requests:
                LlmCall.objects.create(
                    provider=self.name,
                    model=self.config.model[:100],
                    started_at=call.started_at,
                    merchants=len(call.questions),
                    prompt_tokens=call.prompt_tokens,
                    completion_tokens=call.completion_tokens,
                    cost=call.cost,
                    duration_ms=call.duration_ms,
                    retries=call.retries,
                    error=call.error[:300],
                )
        return calls

    def _call(self, questions: Sequence[MerchantQuestion], limits: _BatchLimits, splits: int = 0) -> list[_Call]:
        """Make one call, with retries; after a malformed reply, one for each half. Never raises."""
        call = _Call(questions)
        started = time.monotonic()
        halves: list[_Call] = []
        malformed = False
        try:
            self._send_with_retries(call, limits)
        except MalformedReplyError as error:
            call.error, malformed = f"malformed answer: {error}", True
        except pybreaker.CircuitBreakerError:
            call.error = "the circuit breaker is open: the server failed too often"
        except CallSkippedError as error:
            call.error = str(error)
        except (openai.OpenAIError, httpx2.HTTPError, TimeoutError) as error:
            call.error = self._error_message(error)
        except Exception as error:  # a failed thread must not fail the whole batch
            logger.exception("the model request failed")
            call.error = f"unexpected {type(error).__name__}"
        call.duration_ms = int((time.monotonic() - started) * 1000)
        if malformed and len(questions) > 1 and splits < MAX_SPLITS:
            middle = len(questions) // 2
            for half in (questions[:middle], questions[middle:]):
                halves += self._call(half, limits, splits + 1)
        return [call, *halves]

    def _send_with_retries(self, call: _Call, limits: _BatchLimits) -> None:
        for attempt in range(self.config.max_retries + 1):
            limits.check()
            options = self._options()
            try:
                with self.breaker.calling():
                    self._send(call, limits, options)
            except (openai.APIError, httpx2.HTTPError, TimeoutError) as error:
                if self._disable_unsupported_option(error, options):
                    continue
                delay = retry_delay(error, attempt, base=self.config.backoff)
                if delay is None or attempt == self.config.max_retries:
                    raise
                logger.info("retrying the model request in %.1f s: %s", delay, self._error_message(error))
                try:
                    limits.pause(delay)
                except CallSkippedError:
                    raise error from None
            else:
                return
        raise CallSkippedError("the server rejects the format of the request")

    def _send(self, call: _Call, limits: _BatchLimits, options: dict[str, Any]) -> None:
        """Send one HTTP request; add its reply, tokens and cost to the call."""
        call.requests += 1
        deadline = time.monotonic() + self.config.timeout
        body = bytearray()
        with self._client.chat.completions.with_streaming_response.create(
            model=self.config.model, messages=build_messages(call.questions), **options
        ) as response:
            if response.status_code != 200:
                raise MalformedReplyError(f"HTTP {response.status_code}")
            for part in response.iter_bytes():
                body += part
                if len(body) > MAX_REPLY_BYTES:
                    raise MalformedReplyError(f"longer than {MAX_REPLY_BYTES:,} bytes")
                if time.monotonic() > deadline:  # the client's own timeout restarts with every byte
                    raise TimeoutError
        reply = load_json(body)
        self._add_usage(call, limits, reply.get("usage"))
        call.reply = parse_reply(call.questions, message_content(reply))

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"temperature": 0} if self._use_temperature else {}
        if self._use_json_schema:
            schema = {"name": "merchant_owners", "strict": True, "schema": RESPONSE_SCHEMA}
            options["response_format"] = {"type": "json_schema", "json_schema": schema}
        else:
            options["response_format"] = {"type": "json_object"}
        return options

    def _disable_unsupported_option(self, error: Exception, options: dict[str, Any]) -> bool:
        """Stop sending what this server rejects: JSON schemas (DeepSeek) or a temperature (some models).

        Returns whether the failed request used the option, so that a retry makes sense; another thread may have
        disabled it already.
        """
        if not isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError):
            return False
        text = f"{error.param} {error.message}".lower()
        if options["response_format"]["type"] == "json_schema" and ("response_format" in text or "json_schema" in text):
            self._use_json_schema = False
            return True
        if "temperature" in options and "temperature" in text:
            self._use_temperature = False
            return True
        return False

    def _add_usage(self, call: _Call, limits: _BatchLimits, usage: object) -> None:
        tokens = usage if isinstance(usage, dict) else {}
        prompt, completion = token_count(tokens.get("prompt_tokens")), token_count(tokens.get("completion_tokens"))
        dollars = (prompt * self.config.price_input + completion * self.config.price_output) / _MILLION
        cost = dollars.quantize(_MICRO)
        call.prompt_tokens += prompt
        call.completion_tokens += completion
        call.cost += cost
        limits.spend(cost)

    def _error_message(self, error: Exception) -> str:
        """Describe an error without any text that the server wrote, except its error code."""
        if isinstance(error, openai.APIStatusError):
            code = error.code or ""
            is_safe = re.fullmatch(r"[a-z0-9_]{1,60}", code) and (
                not self.config.api_key or self.config.api_key not in code
            )
            return f"HTTP {error.status_code}{f' {code}' if is_safe else ''}"
        if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException | TimeoutError):
            return f"no answer within {self.config.timeout:g} s"
        cause = error.__cause__ or error
        return f"no connection: {type(cause).__name__}"
