"""The limits on what staff send to the market, as the pending panel of the LLM Center shows them."""

from typing import TypedDict

from transactions.services.manual_processing import Limits


class LegacyLimits(TypedDict):
    """The limit at once under each period; there is none by day, week or month."""

    daily: dict[str, str]
    weekly: dict[str, str]
    monthly: dict[str, str]


def trading_limits(limits: Limits) -> LegacyLimits:
    """Return the limits; the panel shows `($… left)`, so what remains is text with its meaning."""
    shown = {"amount_remaining": f"{limits.max_amount:,.0f} at once, any number of times"}
    return {"daily": shown, "weekly": shown, "monthly": shown}
