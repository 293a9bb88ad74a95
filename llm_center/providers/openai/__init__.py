"""A language model behind any server with OpenAI's chat completions API: OpenAI, DeepSeek, vLLM, Ollama.

The catalogue comes first: only merchants the matcher is unsure of are sent to the model, each once per batch, in
requests of up to 100 merchants with bounded concurrency. The rules:

* Descriptors are untrusted data. They are sent as JSON, truncated, with long numbers and e-mail addresses masked.
* A reply is validated entry by entry. An entry that breaks the contract (confidence 7, a ticker for "not listed", two
  contradicting entries) is dropped, not repaired, and the matcher's proposal is used. A ticker missing from the company
  table becomes "no ticker", with the reason.
* A model alone never reaches the auto-approval threshold: unless the matcher agrees, its confidence is capped below the
  lowest threshold that can be configured (``UNCORROBORATED``).
* 429, 5xx, timeouts and broken connections are retried here and nowhere else. A circuit breaker per process stops
  calling a server that keeps failing.
* Only the calling thread uses the database. The API key and error texts written by the server are never logged.
"""

from llm_center.providers.openai.client import OpenAIProvider, openai_provider
from llm_center.providers.openai.config import OpenAIConfig, check_base_url
from llm_center.providers.openai.retry import retry_delay
from llm_center.providers.openai.validation import UNCORROBORATED

__all__ = ["UNCORROBORATED", "OpenAIConfig", "OpenAIProvider", "check_base_url", "openai_provider", "retry_delay"]
