"""The prices of records as a run's page shows them, so that a search finds what people see."""

from collections.abc import Mapping
from functools import lru_cache

from collections_app.records.formats.flatten import FlatRecord, KeyPath
from collections_app.records.formats.json_records import Number
from collections_app.records.money import currency_of, possible_amounts, unit_of
from collections_app.records.number_format import formatted_number

_DECIMALS = 2
_AMOUNTS = {int, Number, str}
_LONGEST = 64


def shown_prices(record: FlatRecord, currencies: Mapping[KeyPath, KeyPath | None]) -> list[str]:
    """Return the prices of a record as its page may show them, such as "AUD 1,299.00" for 1299.

    `currencies` are the columns of prices, each with the one that names its currency.
    """
    prices = currencies.keys() & record.keys()
    return [text for price in prices for text in _texts_of(record, price, currencies[price])]


def _texts_of(record: FlatRecord, price: KeyPath, named: KeyPath | None) -> tuple[str, ...]:
    value, beside = record[price], None if named is None else record.get(named)
    if type(value) not in _AMOUNTS or (type(value) is str and len(value) > _LONGEST):
        return ()
    return _texts(value, beside if isinstance(beside, str) and len(beside) <= _LONGEST else "", price)


@lru_cache(8192)
def _texts(value: object, beside: str, price: KeyPath) -> tuple[str, ...]:
    currency, unit = currency_of(beside), unit_of(price if isinstance(price, str) else ".".join(price))
    texts = (formatted_number(amount / unit, _DECIMALS) for amount in possible_amounts(value))
    return tuple(f"{currency} {text}".strip() for text in texts)
