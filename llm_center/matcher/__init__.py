"""The embedded matcher: from a merchant key to the share of the company that owns the merchant, or to none.

A wrong purchase is worse than none, so a match is worth what it proves. What only moves money (a card payment, a
transfer, a loan, a tax; `transactions.statements.row_classes`) is closed first, whatever name it contains. Then, in
order:

1. The whole key is a known spelling (``exact``), or its web address is one (``domain``).
2. The key starts with a known spelling (``prefix``). The longest one applies, so DELTA DENTAL is never Delta Air Lines.
   The following words must fit: STARBUCKS PLUMBING is not a coffee shop, and a spelling that is also a common word
   (SHELL, TARGET, APPLE) counts only before words that fit that kind of brand (SHELL OIL, TARGET STORE) or a place.
3. The key is a known spelling that the bank truncated (``truncated``) or wrote without spaces (``compact``).
4. The key contains a known spelling, or is a typo away from one (``inside``, ``fuzzy``): shown to a reviewer, never
   trusted.

Confidence is a probability: 0.95 means wrong at most once in twenty. Below 0.90 a reviewer decides. The functions here
are pure and never use the database; the index is built once per process from `llm_center.catalogue`. Application code
calls `llm_center.services.matching`, which uses the current catalogue and calibrates the confidence.
"""

from llm_center.matcher.engine import propose, propose_descriptor
from llm_center.matcher.index import clear_index
from llm_center.matcher.proposal import DOUBTFUL, MAX_ALTERNATIVES, NOTHING, PREFIX, Alternative, Proposal

__all__ = [
    "DOUBTFUL",
    "MAX_ALTERNATIVES",
    "NOTHING",
    "PREFIX",
    "Alternative",
    "Proposal",
    "clear_index",
    "propose",
    "propose_descriptor",
]
