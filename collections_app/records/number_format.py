"""Format numbers for people, without rounding them."""

from collections.abc import Sequence
from decimal import Decimal

# Longer numbers are written with an exponent.
_LONGEST = 100
_DECIMALS_OF_MONEY = 2


def formatted_number(number: Decimal, decimals: int = 0) -> str:
    """Return a number with thousands separators and at least this many decimals."""
    integer, _, fraction = f"{number or 0:,f}".partition(".")
    fraction = fraction.rstrip("0").ljust(decimals, "0")
    text = f"{integer}.{fraction}" if fraction else integer
    return text if len(text) <= _LONGEST else _with_exponent(number)


def _with_exponent(number: Decimal) -> str:
    sign, digits, _ = number.as_tuple()
    kept = "".join(map(str, digits)).rstrip("0")
    point = "." if kept[1:] else ""
    return f"{'-' * sign}{kept[:1]}{point}{kept[1:]}E{number.adjusted():+}"


def price_texts(prices: Sequence[Decimal], currency: str) -> list[str]:
    """Return prices with their currency. If any of them has decimals, all have at least two."""
    decimals = 0 if all(price == price.to_integral_value() for price in prices) else _DECIMALS_OF_MONEY
    return [f"{currency} {formatted_number(price, decimals)}".strip() for price in prices]
