"""Changes of prices in percent."""

from decimal import ROUND_HALF_EVEN, Decimal

# A larger change means that one of the prices is wrong. Decimals can't be rounded beyond 28 digits.
LARGEST = Decimal(10) ** 15
_TENTH = Decimal("0.1")


def percent_of(was: Decimal, now: Decimal) -> Decimal | None:
    """Return the change in percent, with one decimal.

    Return None if the product was free, or if the percentage is too large to mean anything.
    """
    percent = (now - was) * 100 / abs(was) if was else LARGEST
    if abs(percent) >= LARGEST:
        return None
    # Adding 0 turns -0.0 into 0.0.
    return percent.quantize(_TENTH, ROUND_HALF_EVEN) + 0
