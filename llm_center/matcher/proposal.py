"""The matcher's result, and levels of confidence."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from llm_center.catalogue import Brand, load_companies

MONEY = Decimal("0.99")
PREFIX = Decimal("0.95")
DOUBTFUL = Decimal("0.80")
GUESS = Decimal("0.40")
NOTHING = Decimal("0.00")
MAX_ALTERNATIVES = 3


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another company that a reviewer may choose."""

    ticker: str
    company_name: str
    brand: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """The proposed owner of one merchant.

    ``listed`` is True with a ticker, False when it is known that nothing can be bought, None when nothing is known.
    ``confidence`` is the probability, 0 to 1, that ticker (or "not listed") is right, ``bound`` its lower bound, which
    automatic approval looks at. ``stated_confidence`` is the figure before calibration, if it was calibrated.
    """

    ticker: str | None
    listed: bool | None
    company_name: str
    category: str
    confidence: Decimal
    method: str
    reason: str
    alternatives: tuple[Alternative, ...] = ()
    stated_confidence: Decimal | None = None
    bound: Decimal | None = None

    @property
    def proven(self) -> Decimal:
        """The confidence that automatic approval looks at."""
        return self.confidence if self.bound is None else self.bound

    @property
    def source(self) -> str:
        """What made the proposal: `llm` or `matcher`."""
        return "llm" if self.method == "llm" else "matcher"


NO_MATCH = Proposal(None, None, "", "", NOTHING, "none", "No brand in the catalogue matches.")


def brand_proposal(
    brand: Brand,
    confidence: Decimal,
    method: str,
    reason: str,
    *,
    bound: Decimal,
    alternatives: tuple[Alternative, ...] = (),
) -> Proposal:
    """Propose a brand: its ticker, "not listed" if that is known, or only its category if nothing is."""
    if brand.ticker:
        company = load_companies()[brand.ticker]
        reason = f"{reason} {brand.name} belongs to {brand.owner or company.name} ({brand.ticker})."
        return Proposal(
            brand.ticker,
            True,
            company.name,
            brand.category,
            confidence,
            method,
            reason,
            alternatives=alternatives,
            bound=bound,
        )
    if brand.is_unknown:
        reason = f"{reason} The owner of {brand.name} is unknown."
        confidence, bound = min(confidence, GUESS), min(bound, GUESS)
        return Proposal(
            None, None, "", brand.category, confidence, method, reason, alternatives=alternatives, bound=bound
        )
    reason = f"{reason} {brand.name} cannot be bought: {brand.reason} ({brand.owner})."
    return Proposal(
        None, False, brand.owner, brand.category, confidence, method, reason, alternatives=alternatives, bound=bound
    )


def brand_alternatives(brands: Iterable[Brand], ticker: str | None) -> tuple[Alternative, ...]:
    """Return the other listed owners among these brands, without the proposed ticker."""
    alternatives: dict[str, Alternative] = {}
    for brand in brands:
        if brand.ticker and brand.ticker != ticker and brand.ticker not in alternatives:
            alternatives[brand.ticker] = Alternative(brand.ticker, load_companies()[brand.ticker].name, brand.name)
    return tuple(alternatives.values())[:MAX_ALTERNATIVES]
