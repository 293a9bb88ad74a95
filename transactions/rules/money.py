"""The money rules: pure functions on `Decimal`, no database.

A purchase of `amount` dollars sets a round-up aside (whole dollars, or the distance to the next dollar), pays the
platform fee, and invests the round-up: total_debit = amount + round_up + fee, investable = round_up,
shares = investable / price to 8 places. A refund (negative amount) sets nothing aside and pays nothing.

`rounded` is the only place where anything is rounded, half-even. The statements that work on sets use the SQL twins
`kamioi_round_up`, `kamioi_shares` and `kamioi_cents`; a property test holds the two against each other.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal

CENT = Decimal("0.01")
SHARE = Decimal("0.00000001")
ZERO = Decimal("0.00")
# Wide enough that no product or quotient of amounts (14 digits) and shares (20 digits) loses a place before it is
# rounded on purpose.
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Purchase:
    """What one purchase sets aside, costs and buys. Dollars, but `shares`."""

    round_up: Decimal
    fee: Decimal
    total_debit: Decimal
    investable: Decimal
    shares: Decimal
    cost: Decimal
    rounding: Decimal
    """investable − cost: what the rounding of the shares leaves; booked to an account of its own, either sign."""


def rounded(value: Decimal, unit: Decimal) -> Decimal:
    """`value` to a multiple of `unit` (`CENT` or `SHARE`), ties to the even neighbour."""
    return value.quantize(unit, context=_EXACT)


def round_up_of(amount: Decimal, *, enabled: bool, rule: str, flat: int) -> Decimal:
    """Dollars to set aside for a purchase of `amount` dollars under the customer's rule (`flat`, `next_dollar`)."""
    if not enabled or amount <= 0:
        return ZERO
    if rule == "next_dollar":
        return amount.to_integral_value(ROUND_CEILING) - amount + ZERO
    return Decimal(flat) + ZERO


def shares_of(investable: Decimal, price: Decimal) -> Decimal:
    """Shares that `investable` dollars buy at `price` dollars a share, to 8 places.

    The division is done on integers, so the tie is a real tie and not the rounding of a rounding.
    """
    scaled = _EXACT.multiply(investable, Decimal(10**8))
    quotient = _EXACT.divide_int(scaled, price)
    twice_rest = 2 * _EXACT.subtract(scaled, _EXACT.multiply(quotient, price))
    if twice_rest > price or (twice_rest == price and quotient % 2 == 1):
        quotient += 1
    return _EXACT.multiply(quotient, SHARE).quantize(SHARE, context=_EXACT)


def purchase_of(
    amount: Decimal, *, price: Decimal, platform_fee: Decimal, enabled: bool, rule: str, flat: int
) -> Purchase:
    """All figures of one purchase. A purchase without round-up pays no fee."""
    round_up = round_up_of(amount, enabled=enabled, rule=rule, flat=flat)
    fee = platform_fee if round_up > 0 else ZERO
    shares = shares_of(round_up, price)
    cost = rounded(_EXACT.multiply(shares, price), CENT)
    return Purchase(
        round_up=round_up,
        fee=fee,
        total_debit=amount + round_up + fee,
        investable=round_up,
        shares=shares,
        cost=cost,
        rounding=round_up - cost,
    )
