"""Compare numbers exactly in SQL, whatever their size and precision.

The columns of a table are text. A DOUBLE tells numbers of up to 15 digits apart; others are compared by
their sign, the position of their first digit, and their digits.
"""

from collections_app.records.numeric_text import SQL_NUMBER, Kind

_IS_NUMBER = "regexp_full_match({column}, '" + SQL_NUMBER + "')"
_WHOLE = "regexp_extract({column}, '^-?([0-9]+)', 1)"
_FRACTION = r"regexp_extract({column}, '\.([0-9]+)', 1)"
_EXPONENT = "coalesce(try_cast(regexp_extract({column}, '[eE](.+)$', 1) AS DOUBLE), 0)"
_DIGITS = f"ltrim({_WHOLE} || {_FRACTION}, '0')"
# The power of ten of the first digit that isn't 0, plus 1.
_POWER = f"(length({_DIGITS}) - length({_FRACTION}) + {_EXPONENT})"
_SIGN = f"CASE WHEN {_DIGITS} = '' THEN 0 WHEN {{column}} LIKE '-%' THEN -1 ELSE 1 END"

_BY_DOUBLE = "try_cast({column} AS DOUBLE) {direction} NULLS LAST"
_EXACTLY = f"""
{_SIGN} {{direction}},
({_SIGN}) * {_POWER} {{direction}},
CASE WHEN {{column}} NOT LIKE '-%' THEN rtrim({_DIGITS}, '0') END {{direction}},
CASE WHEN {{column}} LIKE '-%' THEN rtrim({_DIGITS}, '0') END {{opposite}}
"""
_BY_TEXT = "lower(nullif({column}, '')) {direction} NULLS LAST"

# A double may be the same for different numbers, and 0 or infinite for others.
_COMPARISON = """
CASE
    WHEN {double} IS NULL THEN NULL
    WHEN {double} <> {other_double} THEN {double} {operator} {other_double}
    WHEN {sign} <> {other_sign} THEN {sign} {operator} {other_sign}
    WHEN {sign} < 0 THEN {other_digits} {operator} {digits}
    ELSE {digits} {operator} {other_digits}
END
"""

_EXTENT = f"""
max(greatest(length({_WHOLE}) + {_EXPONENT}, 0)), max(greatest(length({_FRACTION}) - {_EXPONENT}, 0))
"""


def order(column: str, kind: Kind, *, descending: bool = False) -> str:
    """Return an ORDER BY list for a column: numbers first, then text without regard to case."""
    if kind == Kind.NUMBERS:
        return _ordered(_BY_DOUBLE, column, descending=descending)
    by_text = _ordered(_BY_TEXT, column, descending=descending)
    if kind == Kind.TEXT:
        return by_text
    number = f"CASE WHEN {_IS_NUMBER.format(column=column)} THEN {column} END"
    return f"({number}) IS NULL, {exact_order(f'({number})', descending=descending)}, {by_text}"


def exact_order(column: str, *, descending: bool = False) -> str:
    """Return an ORDER BY list for a column of numbers."""
    return _ordered(_EXACTLY, column, descending=descending)


def comparison(column: str, operator: str, other: str, *, is_exact: bool) -> str:
    """Return a condition that compares a column of numbers with another number, both of them texts.

    If it isn't exact, both numbers must have at most 15 digits and no exponent.
    """
    double, other_double = (f"try_cast({text} AS DOUBLE)" for text in (column, other))
    if not is_exact:
        return f"{double} {operator} {other_double}"
    sign, other_sign = (f"({_SIGN.format(column=text)})" for text in (column, other))
    digits, other_digits = (
        f"ROW({_POWER.format(column=text)}, rtrim({_DIGITS.format(column=text)}, '0'))"
        for text in (column, other)
    )
    return _COMPARISON.format(
        double=double,
        other_double=other_double,
        operator=operator,
        sign=sign,
        other_sign=other_sign,
        digits=digits,
        other_digits=other_digits,
    )


def extent(column: str) -> str:
    """Return SQL for the highest number of digits before and after the decimal point in a column."""
    return _EXTENT.format(column=column)


def _ordered(statement: str, column: str, *, descending: bool) -> str:
    direction, opposite = ("DESC", "ASC") if descending else ("ASC", "DESC")
    return statement.format(column=column, direction=direction, opposite=opposite)
