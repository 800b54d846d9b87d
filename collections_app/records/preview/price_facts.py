"""Facts about the prices of a run's records, for each currency: their range and a histogram."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

import msgspec

from collections_app.records.column_roles import Role, columns_of, currency_column
from collections_app.records.money import currency_named, unit_of
from collections_app.records.numeric_text import Kind
from collections_app.records.preview import number_sql
from collections_app.records.preview.column_facts import Column
from collections_app.records.preview.engine import Database
from collections_app.records.preview.table import Table

BARS = 16
# The number of currencies that are shown, the most common first.
_MOST_CURRENCIES = 6
# The number of different texts that name them.
_MOST_TEXTS = 1000
# The most digits of a DECIMAL in DuckDB that can be subtracted from another one, and Python's for averages.
_MOST_DIGITS = 37
_PRECISION = 100
# The decimals of a number that a DOUBLE tells from others.
_DECIMALS = 15

_TEXTS = """
SELECT {text} AS naming, any_value({example}), count(*) FROM read_parquet($table) WHERE {amount} IS NOT NULL
GROUP BY naming ORDER BY count(*) DESC, naming LIMIT $most
"""
_PRICES = """
SELECT {what} FROM (SELECT {amount} AS price, coalesce({text}, '') AS naming FROM read_parquet($table))
WHERE price IS NOT NULL AND (len($texts::VARCHAR[]) = 0 OR list_contains($texts::VARCHAR[], naming))
GROUP BY {group}
"""
_RANGE = """
count(*), min(price), max(price), quantile_disc(price, 0.5), -quantile_disc(-price, 0.5),
quantile_disc(price, 0.98)
"""
_NO_TEXT = "''"
# Prices don't contain it.
_BETWEEN = "chr(31)"
_BAR = "least(greatest(floor((price - $low)::DOUBLE / $width), 0), $last)::INTEGER"
_EXTENT = "SELECT {extent} FROM read_parquet($table) WHERE trim({column}) <> ''"


class Bar(msgspec.Struct, frozen=True):
    """The number of prices from `low` to the next bar. The last bar has no upper limit."""

    low: Decimal
    count: int


class Prices(msgspec.Struct, frozen=True):
    """The range of the prices in a currency, in its main unit. The currency is a code, a sign, or ""."""

    column: str
    currency: str
    low: Decimal
    median: Decimal
    high: Decimal
    count: int
    bars: list[Bar]


class PriceFacts(msgspec.Struct, frozen=True):
    """The prices in each currency, the most common first, or why there are none."""

    prices: list[Prices] = []
    more_currencies: int = 0  # than are listed
    column: str = ""  # "" if no column has the name of a price
    problem: str = ""


@dataclass(frozen=True)
class _Source:
    """A column of prices, and the SQL of its amounts and of the texts that name their currencies."""

    column: str
    amount: str
    text: str
    example: str  # such a text, with the price
    unit: int


def prices_in(database: Database, table: Table, columns: Sequence[Column]) -> PriceFacts:
    """Return the facts about the best column of prices that contains money."""
    filled = {column.name: column for column in columns if column.filled}
    candidates = columns_of(Role.PRICE, filled)
    name = next((name for name in candidates if _is_money(table, filled[name])), None)
    if name is None:
        return _problem(table, candidates)
    amount = _sql_amount(database, table, name)
    if not amount:
        return PriceFacts(column=name, problem="Its amounts have too many digits to summarize.")
    source = _source(table, name, amount)
    by_currency = _texts_by_currency(database, table, source)
    if by_currency is None:
        return PriceFacts(column=name, problem="Its currencies are written in too many ways.")
    shown = list(by_currency.items())[:_MOST_CURRENCIES]
    prices = [_prices(database, table, source, currency, texts) for currency, texts in shown]
    return PriceFacts(prices, len(by_currency) - len(shown), name)


def _is_money(table: Table, column: Column) -> bool:
    return column.name in table.notations or (column.low is not None and not table.not_money.get(column.name))


def _problem(table: Table, candidates: Sequence[str]) -> PriceFacts:
    if not candidates:
        return PriceFacts()
    return PriceFacts(column=candidates[0], problem=table.not_money.get(candidates[0], ""))


def _sql_amount(database: Database, table: Table, name: str) -> str:
    """Return the SQL of a column's amounts, or "" if they have too many digits."""
    if name in table.notations:
        return table.sql_amount(name)
    column = table.sql_name(name)
    decimals = _DECIMALS
    if table.kind(name) == Kind.LONG_NUMBERS:
        statement = _EXTENT.format(extent=number_sql.extent(column), column=column)
        ((before, after),) = database.query(statement, {"table": str(table.path)})
        if before + after > _MOST_DIGITS:
            return ""
        decimals = int(after)
    return f"try_cast({column} AS DECIMAL({_MOST_DIGITS}, {decimals}))"


def _source(table: Table, name: str, amount: str) -> _Source:
    notation = table.notations.get(name)
    unit = unit_of(name)
    named = currency_column(name, table.columns)
    beside = f"coalesce({table.sql_name(named)}, '')" if named else _NO_TEXT
    within = f"regexp_replace({table.sql_name(name)}, '[0-9]', '', 'g')"
    is_within = notation is not None and any(notation.currencies)
    text = (
        f"{beside} || {_BETWEEN} || {within if is_within else _NO_TEXT}" if named or is_within else _NO_TEXT
    )
    return _Source(name, amount, text, f"{beside} || {_BETWEEN} || {table.sql_name(name)}", unit)


def _texts_by_currency(database: Database, table: Table, source: _Source) -> Mapping[str, list[str]] | None:
    """Return the texts that name each currency, or None if there are too many.

    {"": []} is all prices, without a currency.
    """
    if source.text == _NO_TEXT:
        return {"": []}
    statement = _TEXTS.format(text=source.text, example=source.example, amount=source.amount)
    rows = database.query(statement, {"table": str(table.path), "most": _MOST_TEXTS + 1})
    if len(rows) > _MOST_TEXTS:
        return None
    counts: dict[str, int] = {}
    found: dict[str, list[str]] = {}
    for text, example, count in rows:
        currency = _currency(table, source, example)
        found.setdefault(currency, []).append(text or "")
        counts[currency] = counts.get(currency, 0) + count
    return {currency: found[currency] for currency in sorted(found, key=lambda each: -counts[each])}


def _currency(table: Table, source: _Source, example: str) -> str:
    """Return the currency that the price names, unless only the text beside it is clear."""
    beside, _, price = example.rpartition("\x1f")
    notation = table.notations.get(source.column)
    amount = notation.amount(price) if notation else None
    return currency_named(amount.currency if amount else "", beside)


def _prices(database: Database, table: Table, source: _Source, currency: str, texts: Sequence[str]) -> Prices:
    values = {"table": str(table.path), "texts": list(texts)}
    statement = _PRICES.format(what=_RANGE, amount=source.amount, text=source.text, group="ALL")
    ((count, *row),) = database.query(statement, values)
    with localcontext(prec=_PRECISION):
        low, high, middle, upper_middle, nearly_all = row
        # A few very high prices would put all others into the first bar.
        top = nearly_all if high > 2 * nearly_all > 0 else high
        return Prices(
            column=source.column,
            currency=currency,
            low=low / source.unit,
            median=_rounded((middle + upper_middle) / 2 / source.unit, low / source.unit, high / source.unit),
            high=high / source.unit,
            count=count,
            bars=_bars(database, source, values, low, top) or [Bar(low / source.unit, count)],
        )


def _rounded(median: Decimal, *prices: Decimal) -> Decimal:
    """Return a median, which may be between two prices, with as many decimals as prices have."""
    exponents = (price.normalize().as_tuple().exponent for price in prices)
    return round(median, max(2, *(-exponent for exponent in exponents if isinstance(exponent, int))))


def _bars(
    database: Database, source: _Source, values: Mapping[str, object], low: Decimal, top: Decimal
) -> list[Bar]:
    """Return the histogram of prices, or nothing if all are the same."""
    width = float((top - low) / BARS)
    if not width:
        return []
    statement = _PRICES.format(
        what=f"{_BAR} AS bar, count(*)", amount=source.amount, text=source.text, group="bar"
    )
    counts = dict(database.query(statement, {**values, "low": low, "width": width, "last": BARS - 1}))
    decimals = _decimals(width / source.unit)
    between = [round((low + bar * (top - low) / BARS) / source.unit, decimals) for bar in range(1, BARS)]
    return [Bar(edge, counts.get(bar, 0)) for bar, edge in enumerate([low / source.unit, *between])]


def _decimals(width: float) -> int:
    """Return how many decimals it takes to distinguish the edges of bars of this width."""
    return max(0, 2 - math.floor(math.log10(width)))
