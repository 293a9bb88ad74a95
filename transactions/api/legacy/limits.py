"""The limits on what staff send to the market, as the pending panel of the LLM Center shows them."""

from typing import Any, TypedDict

from transactions.services.manual_processing import Limits


class LegacyLimits(TypedDict):
    """The limit at once under each period; there is none by day, week or month."""

    daily: dict[str, Any]
    weekly: dict[str, Any]
    monthly: dict[str, Any]


def trading_limits(limits: Limits) -> LegacyLimits:
    """Return the limits; the panel shows `($… left)`, so what remains is text with its meaning."""
    shown = {
        "max_amount": limits.max_amount,
        "max_orders": limits.max_orders,
        "amount_remaining": f"{limits.max_amount:,.0f} at once, any number of times",
        "amount_percent": 0,
        "orders_percent": 0,
    }
    return {"daily": shown, "weekly": shown, "monthly": shown}
