"""The money rules: pure functions on `Decimal`.

A purchase of `amount` dollars sets a round-up aside (whole dollars, or the distance to the next dollar), pays the
platform fee, and invests the round-up: total_debit = amount + round_up + fee, investable = round_up, shares =
investable / price to 8 places. A refund (negative amount) sets nothing aside and pays no fee.

The fee is at most a share of the round-up, rounded down to the cent; everything else is rounded half-even. SQL
statements use the functions `kamioi_round_up`, `kamioi_fee` and `kamioi_shares`; a property test checks that they agree
with this module.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal

CENT = Decimal("0.01")
SHARE = Decimal("0.00000001")
ZERO = Decimal("0.00")
# Precise enough that no product or quotient of amounts (14 digits) and shares (20 digits) is rounded implicitly.
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Purchase:
    """What one purchase sets aside, costs and buys, in dollars except `shares`."""

    round_up: Decimal
    fee: Decimal
    total_debit: Decimal
    investable: Decimal
    shares: Decimal


def rounded(value: Decimal, unit: Decimal) -> Decimal:
    """Round `value` to a multiple of `unit` (`CENT` or `SHARE`), ties to even."""
    return value.quantize(unit, context=_EXACT)


def round_up_of(amount: Decimal, *, enabled: bool, rule: str, flat: int) -> Decimal:
    """Return the dollars to set aside for a purchase of `amount` dollars by the customer's rule."""
    if not enabled or amount <= 0:
        return ZERO
    if rule == "next_dollar":
        return amount.to_integral_value(ROUND_CEILING) - amount + ZERO
    return Decimal(flat) + ZERO


def fee_of(round_up: Decimal, *, platform_fee: Decimal, max_share: Decimal) -> Decimal:
    """Return the fee of a purchase: the platform fee, but at most this share of the round-up."""
    return min(platform_fee, _EXACT.multiply(round_up, max_share).quantize(CENT, ROUND_DOWN, _EXACT))


def shares_of(investable: Decimal, price: Decimal) -> Decimal:
    """Return the shares that `investable` dollars buy at `price` dollars per share, to 8 places.

    The division uses integers, so that nothing is rounded twice.
    """
    scaled = _EXACT.multiply(investable, Decimal(10**8))
    quotient = _EXACT.divide_int(scaled, price)
    twice_remainder = 2 * _EXACT.subtract(scaled, _EXACT.multiply(quotient, price))
    if twice_remainder > price or (twice_remainder == price and quotient % 2 == 1):
        quotient += 1
    return _EXACT.multiply(quotient, SHARE).quantize(SHARE, context=_EXACT)


def purchase_of(
    amount: Decimal, *, price: Decimal, platform_fee: Decimal, max_share: Decimal, enabled: bool, rule: str, flat: int
) -> Purchase:
    """Return all amounts of one purchase."""
    round_up = round_up_of(amount, enabled=enabled, rule=rule, flat=flat)
    fee = fee_of(round_up, platform_fee=platform_fee, max_share=max_share)
    return Purchase(
        round_up=round_up,
        fee=fee,
        total_debit=amount + round_up + fee,
        investable=round_up,
        shares=shares_of(round_up, price),
    )
