"""A local server with the chat completions API that replies as scripted."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from llm_center.providers import BatchResult, MerchantQuestion
from llm_center.providers.openai import OpenAIConfig, OpenAIProvider

KEY = "sk-very-secret-4711"
EVERYTHING = Decimal("1.01")  # request even merchants the matcher is sure of


@dataclass
class Reply:
    """One HTTP reply of the local server; `body` may be a text that is not JSON."""

    status: int = 200
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    drip: float = 0  # seconds between two bytes


def completion(entries: object, **over: Any) -> Reply:
    """Return a well-formed chat completion with these entries, or with this text."""
    text = entries if isinstance(entries, str) else json.dumps({"merchants": entries})
    body = {
        "id": "c1",
        "object": "chat.completion",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200},
    }
    return Reply(body=body | over)


def entry(number: int, ticker: str | None = None, **over: Any) -> dict[str, Any]:
    """Return a valid entry for one merchant."""
    owner = "listed" if ticker else "not_listed"
    return {
        "id": number,
        "owner": owner,
        "ticker": ticker,
        "company": "Some Company",
        "confidence": 0.97,
        "reason": "well known",
        "alternatives": [],
    } | over


@dataclass
class ModelServer:
    """The local server: `script` answers the requests in turn, its last entry all later ones."""

    url: str
    script: list[Reply | Callable[[list[dict[str, Any]]], Reply]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    busy: int = 0
    most_busy: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def merchants(self, number: int) -> list[dict[str, Any]]:
        """Return the merchants of a request."""
        return json.loads(self.requests[number]["messages"][1]["content"])["untrusted_merchants"]


def reply_to_all(ticker: str | None = None, **over: Any) -> Callable[[list[dict[str, Any]]], Reply]:
    """Return a model that gives the same answer for every merchant."""
    return lambda merchants: completion([entry(merchant["id"], ticker, **over) for merchant in merchants])


def propose(server: ModelServer, *keys: str | MerchantQuestion, **config: Any) -> BatchResult:
    return make_provider(server, **config).propose_batch(
        [key if isinstance(key, MerchantQuestion) else MerchantQuestion(key, (key,)) for key in keys]
    )


def make_provider(server: ModelServer, **config: Any) -> OpenAIProvider:
    values: dict[str, Any] = {
        "base_url": server.url,
        "model": "test-model",
        "api_key": KEY,
        "timeout": 30,
        "backoff": 0.01,
        "price_input": Decimal("0.15"),
        "price_output": Decimal("0.60"),
        "model_threshold": EVERYTHING,
    }
    return OpenAIProvider(OpenAIConfig(**(values | config)))
