"""Understand amounts of money in scraped records, such as "$1,299.00", "1.299,00 €" or "10,-".

What a value means depends on its column: "3.350" is a small amount if others are "5.20", and a large one if
others are "5,20". So `NotationFinder` reads all values of a column. It returns their `Notation`, or says why
they have none. Only with a notation can a value be read as an amount. Values are never changed.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import repeat
from typing import Any

from collections_app.records.currencies import CODES, code_of, separates_decimals, separates_thousands
from collections_app.records.formats.json_records import Number
from collections_app.records.formats.json_text import number_text
from collections_app.records.numeric_text import is_number

# The most digits before the decimal separator, and after it. Longer values aren't amounts.
MOST_DIGITS = 18
# An amount in DuckDB.
SQL_TYPE = f"DECIMAL({2 * MOST_DIGITS}, {MOST_DIGITS})"
_LONGEST = 64
_MOST_SHAPES = 10_000

_AMOUNT = re.compile(r"([^0-9]*)([0-9](?:[0-9.,' ]*[0-9])?)([^0-9]*)")
# In groups of three digits, or as in India: 12,34,567.
_THOUSANDS = re.compile("[1-9][0-9]{0,2}(?: [0-9]{3})+|[1-9][0-9]?(?: [0-9]{2})+ [0-9]{3}")
_PLAIN = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_JSON_NUMBER = re.compile(r"-?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,3})?")
_LEADING_ZERO = re.compile("0[0-9]")
_POINT_BEFORE = re.compile(r"[^.,\w]*[.,]")
_ROUND = re.compile(r"([.,])-{1,2}")
# Every space becomes a plain one, every apostrophe and minus an ASCII one. Directional marks are removed.
_UNIFIED: dict[int, str | None] = dict.fromkeys(map(ord, "\u00a0\u2007\u2009\u202f"), " ")
_UNIFIED |= {0x2019: "'", 0x2212: "-", 0x2013: "-"}
_UNIFIED |= dict.fromkeys(map(ord, "\u061c\u200e\u200f\u202a\u202b\u202c"))
# A word at the end of a name: "price_cents" or "priceCents".
_CENTS = re.compile(r"(?:^|[^A-Za-z])(?i:cents)$|[a-z]C(?i:ents)$")
_SHAPE = dict.fromkeys(map(ord, "123456789"), "9")
_NUMBERS = {int, Number, type(None)}
# In a number in JSON that isn't an amount.
_EXTREME = re.compile(rb"[eE]|[0-9]{%d}" % (MOST_DIGITS + 1))


@dataclass(frozen=True)
class Amount:
    """An amount of money, with the currency that the value names: a code, a sign, or ""."""

    value: Decimal
    currency: str


@dataclass(frozen=True)
class Notation:
    """How all values of a column are written.

    The decimal and thousands separators are "" if no value has any. The currencies are those that the
    values name, in the order of their first appearance: codes, signs, and "" for values without one.
    """

    decimal: str
    thousands: str
    currencies: tuple[str, ...]
    is_plain: bool  # every value is a number as in JSON

    def amount(self, value: object) -> Amount | None:
        """Return a value as an amount, or None if it isn't one in this notation."""
        if type(value) is int or type(value) is Number:
            return _plain_amount(_digits(value)) if self.decimal != "," else None
        if self.is_plain and type(value) is str:
            return _plain_amount(value)
        parts = _split(value) if type(value) is str else None
        if parts is None or not self._fits(parts):
            return None
        return Amount(parts.number(self.decimal), parts.currency)

    def _fits(self, parts: "_Parts") -> bool:
        if not parts.separators:
            return True
        groups, last = parts.separators[:-1], parts.separators[-1]
        possible = {self.decimal, self.thousands} if parts.is_ambiguous else {self.decimal}
        return last in (possible if parts.has_decimals else {self.thousands}) and {self.thousands}.issuperset(
            groups
        )

    def sql(self, column: str) -> str:
        """Return an SQL expression for the amounts of a column of VARCHAR. It has the type SQL_TYPE."""
        # Signs may contain separators: "Rs. 5".
        digits = rf"regexp_replace({column}, '[^0-9]*\pL[^0-9]*', '', 'g')"
        digits = f"regexp_replace({digits}, '[^0-9{self.decimal}]', '', 'g')"
        number = f"try_cast(replace({digits}, ',', '.') AS {SQL_TYPE})"
        return (
            f"CASE WHEN regexp_matches({column}, '^[^0-9]*[-\u2212\u2013]') THEN -{number} ELSE {number} END"
        )


class NotationFinder:
    """Find the notation of a column. Add each value once: a text, a number or None.

    The currency of an amount may decide what its separator means. Some records name it beside the amount.

    This takes about a microsecond per value, and no time after the first value that isn't an amount.
    """

    def __init__(self) -> None:
        self._problem = ""
        self._is_plain = True
        self._extreme = ""
        self._currencies: dict[str, None] = {}
        self._shapes: set[tuple[str, str]] = set()
        # An example of each separator.
        self._decimals: dict[str, str] = {}
        self._groups: dict[str, str] = {}
        self._ambiguous: dict[str, str] = {}
        # Those that have decimals if another value does, because of their currency.
        self._by_currency: dict[str, str] = {}
        self._precise: set[str] = set()  # separates more than two decimals

    @property
    def is_possible(self) -> bool:
        """Whether every value so far is an amount."""
        return not self._problem

    @property
    def disagreement(self) -> str:
        """Why amounts that disagree have no notation, for users; "" if there is another reason."""
        return "" if self._problem else self._disagreement()

    @property
    def problem(self) -> str:
        """Why the values have no notation, for users; "" if they have one, or are all missing."""
        if self._problem or self._is_plain or not self._extreme:
            return self._problem or self._disagreement()
        return _contains(self._extreme)

    def add(self, values: Sequence[Any], beside: Sequence[Any] | None = None) -> None:
        """Add the values of some records, and what the same records contain in the column of currencies."""
        if self._problem:
            return
        numbers = values if _NUMBERS.issuperset(map(type, values)) else [*filter(_is_number, values)]
        self._add_numbers(numbers)
        if numbers is not values:
            self._add_each(zip(values, beside or repeat(""), strict=False))

    def _add_each(self, pairs: Iterable[tuple[object, object]]) -> None:
        for value, beside in pairs:
            if self._problem:
                return
            if type(value) is str:
                self._add_text(value, beside if type(beside) is str and len(beside) <= _LONGEST else "")
            elif not _is_number(value):
                self._reject("It contains lists, objects or booleans.")

    def notation(self) -> Notation | None:
        """Return the notation of all values, or None if they don't agree, or are all missing."""
        if self.problem or not self._currencies:
            return None
        decimal, thousands = (next(iter(each), "") for each in (self._all_decimals(), self._all_groups()))
        return Notation(decimal, thousands, tuple(self._currencies), self._is_plain and not thousands)

    def _add_numbers(self, values: Sequence[Any]) -> None:
        integers = [value for value in values if type(value) is int]
        others = [value for value in values if type(value) is Number]
        if integers or others:
            self._currencies.setdefault("")
        if point := next((text for text in map(_digits, others) if "." in text), ""):
            self._decimals.setdefault(".", point)
        ends = [str(end).encode() for end in (min(integers), max(integers))] if integers else []
        self._extreme = self._extreme or _extreme(b" ".join([*ends, *others]))

    def _add_text(self, text: str, beside: str) -> None:
        shape = (text.translate(_SHAPE), beside) if len(text) <= _LONGEST else ("", "")
        if shape in self._shapes or not text or text.isspace():
            return
        parts = _split(text)
        if is_number(text) and (parts is None or not _PLAIN.fullmatch(text)):
            self._add_numbers([Number(text.encode())])
            return
        if parts is None:
            self._reject(_contains(text))
            return
        if len(self._shapes) < _MOST_SHAPES:
            self._shapes.add(shape)
        self._is_plain = self._is_plain and _PLAIN.fullmatch(text) is not None
        self._currencies.setdefault(parts.currency)
        self._note_separators(parts, text, beside)

    def _note_separators(self, parts: "_Parts", text: str, beside: str) -> None:
        separators = parts.separators
        if not separators:
            return
        last = separators[-1]
        if parts.is_ambiguous:
            self._meanings(last, currency_named(parts.currency, beside)).setdefault(last, text)
        elif parts.has_decimals:
            self._decimals.setdefault(last, text)
            if parts.is_precise:
                self._precise.add(last)
            self._groups.update({each: self._groups.get(each, text) for each in separators[:-1]})
        else:
            self._groups.setdefault(last, text)

    def _meanings(self, separator: str, currency: str) -> dict[str, str]:
        """Return the examples to which an ambiguous value belongs."""
        if separates_thousands(currency, separator):
            return self._groups
        return self._by_currency if separates_decimals(currency, separator) else self._ambiguous

    def _reject(self, problem: str) -> None:
        self._problem = problem
        self._shapes.clear()

    def _all_decimals(self) -> dict[str, str]:
        """Return the decimal separators, including those that are clear only from other values."""
        return self._decimals | {
            sign: text
            for sign, text in self._all_ambiguous().items()
            if sign not in self._groups and self._groups and not self._decimals
        }

    def _all_groups(self) -> dict[str, str]:
        decimals = self._all_decimals()
        ambiguous = self._all_ambiguous().items()
        return self._groups | {sign: text for sign, text in ambiguous if sign not in decimals}

    def _all_ambiguous(self) -> dict[str, str]:
        return self._by_currency | self._ambiguous

    def _unsettled(self) -> str:
        """Return a value that can mean thousands or decimals, whatever the other values mean, or ""."""
        if self._groups:
            return ""
        if not self._decimals:
            return next(iter(self._all_ambiguous().values()), "")
        # In "1,299" and "5,20", one separator may have two meanings.
        mixed = self._decimals.keys() - self._precise
        return next((text for sign, text in self._ambiguous.items() if sign in mixed), "")

    def _disagreement(self) -> str:
        decimals, groups = self._all_decimals(), self._all_groups()
        if unsettled := self._unsettled():
            return f"“{unsettled}” can mean thousands or decimals."
        for examples in (list(decimals.values()), list(groups.values())):
            if len(examples) > 1:
                return _differently(*examples[:2])
        both = next((sign for sign in decimals if sign in groups), None)
        return "" if both is None else _differently(decimals[both], groups[both])


def possible_amounts(value: object) -> list[Decimal]:
    """Return the amounts that a value without a currency may mean: two if it is ambiguous."""
    if type(value) is int or type(value) is Number:
        amount = _plain_amount(_digits(value))
        return [amount.value] if amount else []
    parts = _split(value) if type(value) is str else None
    if parts is None:
        return [Decimal(value)] if type(value) is str and len(value) <= _LONGEST and is_number(value) else []
    if parts.currency:
        return []
    decimals = [parts.separators[-1]] if parts.has_decimals else [""]
    return [parts.number(each) for each in (*decimals, *([""] if parts.is_ambiguous else []))]


def currency_of(text: str) -> str:
    """Return the code or sign of the currency that a text names, another name as it is, or ""."""
    name = text.translate(_UNIFIED).strip() if len(text) <= _LONGEST else ""
    if name.upper() in CODES:
        return name.upper()
    return code_of(name) or (name if any(map(str.isalpha, name)) else "")


def currency_named(within: str, beside: str) -> str:
    """Return the amount's currency if it is a code, or else that of the column of currencies, if any."""
    return within if within in CODES else currency_of(beside) or within


def unit_of(column: str) -> int:
    """Return how many of a column's units make one unit of its currency: 100 if its name says cents."""
    return 100 if _CENTS.search(column) else 1


@dataclass(frozen=True)
class _Parts:
    """The parts of an amount: its digits with separators, and the currency."""

    core: str
    currency: str
    is_negative: bool
    separators: str
    is_ambiguous: bool  # "3.350"
    has_decimals: bool  # or may have, if ambiguous

    def number(self, decimal: str) -> Decimal:
        """Return the amount with this decimal separator, or "" for none."""
        digits = "".join(char for char in self.core if char.isdigit() or char == decimal)
        number = Decimal(digits.replace(",", "."))
        return number.copy_negate() if self.is_negative else number

    @property
    def is_precise(self) -> bool:
        """Whether it has more than two decimals."""
        return self.has_decimals and len(self.core) - self.core.rfind(self.separators[-1]) > 3  # noqa: PLR2004


def _plain_amount(text: str) -> Amount | None:
    return Amount(Decimal(text), "") if _JSON_NUMBER.fullmatch(text) else None


def _split(text: str) -> _Parts | None:
    """Return the parts of a text that is an amount in some notation, or None."""
    match = _AMOUNT.fullmatch(text.translate(_UNIFIED).strip()) if len(text) <= _LONGEST else None
    if match is None:
        return None
    before, core, after = match.groups()
    if _POINT_BEFORE.fullmatch(before):  # "$.99"
        before, core = before[:-1], before[-1] + core
    if is_round := _ROUND.match(after):  # "10,-"
        core, after = core + is_round[1], after[is_round.end() :]
    sign, is_negative = _without_minus(before)
    currency, separators = _outer_currency(sign, after), _separators(core)
    if currency is None or separators is None or (not currency and _LEADING_ZERO.match(core)):
        return None
    return _Parts(core, currency, is_negative, *separators)


def _without_minus(before: str) -> tuple[str, bool]:
    """Return the text before an amount without its minus, and whether it has one."""
    sign = before.strip()
    if sign.startswith("-"):
        return sign[1:], True
    if sign.endswith("-") and not sign[-2].isalpha():  # not a code such as "R-134"
        return sign[:-1], True
    return sign, False


def _outer_currency(before: str, after: str) -> str | None:
    """Return the currency of an amount from the texts around it, or None if one of them is something else."""
    first, second = code_of(before), code_of(after)
    if first is None or second is None:
        return None
    if first and second and first != second:
        return second if first == "$" and after.strip() in CODES else None
    return first or second


def _separators(core: str) -> tuple[str, bool, bool] | None:
    """Return the last three fields of _Parts, or None if the digits are grouped wrongly."""
    parts = re.split("[^0-9]", core)
    separators = "".join(char for char in core if not char.isdigit())
    if not separators:
        return ("", False, False) if len(core) <= MOST_DIGITS else None
    last, others = separators[-1], set(separators[:-1])
    is_decimal = last not in others and last in ".,"
    if is_decimal and not others and _is_thousands(parts):
        return separators, True, True
    groups, decimals = (parts[:-1], parts[-1]) if is_decimal else (parts, "")
    is_grouped = len(others) <= 1 and (len(groups) == 1 or _is_thousands(groups))
    is_short = sum(map(len, groups)) <= MOST_DIGITS and len(decimals) <= MOST_DIGITS
    return (
        (separators, False, is_decimal)
        if is_grouped and is_short and (is_decimal or not others - {last})
        else None
    )


def _is_thousands(parts: Sequence[str]) -> bool:
    return _THOUSANDS.fullmatch(" ".join(parts)) is not None


def _is_number(value: object) -> bool:
    return type(value) in _NUMBERS


def _digits(number: Any) -> str:
    return number_text(number) if type(number) is Number else str(number)


def _extreme(numbers: bytes) -> str:
    """Return the first number that isn't an amount, or ""."""
    found = _EXTREME.search(numbers)
    if found is None:
        return ""
    return numbers[numbers.rfind(b" ", 0, found.start()) + 1 :].partition(b" ")[0].decode()


def _contains(text: str) -> str:
    return f"It contains “{text:.30}”, which isn't an amount of money."


def _differently(one: str, other: str) -> str:
    return f"“{one:.30}” and “{other:.30}” are written differently."
