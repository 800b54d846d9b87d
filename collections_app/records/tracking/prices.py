"""Read the prices of a slice as amounts, with their currencies."""

from dataclasses import dataclass

from collections_app.records.money import SQL_TYPE, Notation, NotationFinder, currency_named, unit_of
from collections_app.records.preview.engine import Database
from collections_app.records.tracking.keys import sql_text
from collections_app.records.tracking.kinds import Tracked
from collections_app.records.tracking.slices import SliceFile
from collections_app.records.tracking.values import scraped_value, text_of

# The most spellings of currencies in a run. The prices with other spellings have no currency.
_MOST_CURRENCIES = 1000

# What NotationFinder finds doesn't depend on the digits from 1 to 9.
_PRICES = """
SELECT DISTINCT
    CASE
        WHEN regexp_full_match({price}, '-?[0-9]{{1,18}}') THEN '1'
        WHEN regexp_full_match({price}, '-?[0-9]{{1,18}}[.][0-9]{{1,18}}') THEN '1.5'
        WHEN contains({price}, '\\') OR strlen({price}) > 100 THEN {price}
        ELSE translate({price}, '12345678', '99999999')
    END,
    {currency}
FROM read_parquet($slice) WHERE {price} IS NOT NULL
"""
_SPELLINGS = """
SELECT {spelling} AS within, coalesce({beside}, '') AS beside, any_value({price})
FROM read_parquet($slice) WHERE {price} IS NOT NULL
GROUP BY ALL LIMIT $most
"""
_CURRENCIES = """
CREATE OR REPLACE TEMP TABLE currencies AS
SELECT unnest($within::VARCHAR[]) AS within, unnest($beside::VARCHAR[]) AS beside,
    unnest($currencies::VARCHAR[]) AS currency
"""


@dataclass(frozen=True)
class SqlPrices:
    """SQL expressions for the prices of a slice. All are NULL if a price can't be read as an amount.

    `currency` refers to the table `currencies`, which is joined by `join`.
    """

    amount: str = f"NULL::{SQL_TYPE}"  # in units of the column, such as cents
    unit: int = 1  # how many of them make one unit of the currency
    currency: str = "NULL::VARCHAR"  # a code or a sign, or ""
    join: str = ""

    @classmethod
    def of(cls, database: Database, run: SliceFile, tracked: Tracked) -> "SqlPrices":
        """Find out how a run writes its prices, and create the table `currencies`."""
        notation = notation_of(database, run, tracked)
        if notation is None or tracked.price is None:
            return cls()
        price, beside = run.sql_name(tracked.price), run.sql_name(tracked.currency)
        _find_currencies(database, run, price, beside, notation)
        return cls(
            _amount(price, notation),
            unit_of(tracked.price),
            "currencies.currency",
            f"LEFT JOIN currencies ON within = {_spelling(price)} AND beside = coalesce({beside}, '')",
        )


def notation_of(database: Database, run: SliceFile, tracked: Tracked) -> Notation | None:
    """Return how a run writes its prices, or None if they are unclear."""
    if tracked.price is None:
        return None
    finder = NotationFinder()
    statement = _PRICES.format(price=run.sql_name(tracked.price), currency=run.sql_name(tracked.currency))
    for price, currency in database.rows(statement, {"slice": str(run.path)}):
        finder.add([scraped_value(price)], [scraped_value(currency)])
    return finder.notation()


def _amount(price: str, notation: Notation) -> str:
    text = sql_text(price)
    written = f"try_cast({text} AS {SQL_TYPE})" if notation.is_plain else notation.sql(text)
    number = f"try_cast({price} AS {SQL_TYPE})" if notation.decimal != "," else f"NULL::{SQL_TYPE}"
    return f"CASE WHEN starts_with({price}, '\"') THEN {written} ELSE {number} END"


def _spelling(price: str) -> str:
    """Return an SQL expression for what a price contains besides its digits."""
    return f"CASE WHEN starts_with({price}, '\"') THEN regexp_replace({price}, '[0-9]', '', 'g') ELSE '' END"


def _find_currencies(database: Database, run: SliceFile, price: str, beside: str, notation: Notation) -> None:
    """Create the table `currencies`, with the currency of each spelling and of what is named beside it."""
    statement = _SPELLINGS.format(price=price, spelling=_spelling(price), beside=beside)
    found = database.query(statement, {"slice": str(run.path), "most": _MOST_CURRENCIES})
    currencies = [_currency(notation, cell, beside) for _, beside, cell in found]
    values = {
        "within": [within for within, _, _ in found],
        "beside": [beside for _, beside, _ in found],
        "currencies": currencies,
    }
    database.query(_CURRENCIES, values)


def _currency(notation: Notation, price: str, beside: str) -> str:
    amount = notation.amount(scraped_value(price))
    return currency_named(amount.currency, text_of(beside)) if amount else ""
