"""Amounts of money in scraped records, as the shops write them."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collections_app.records.formats.json_records import parse_value
from collections_app.records.money import SQL_TYPE, Amount, Notation, NotationFinder, currency_of, unit_of
from tests.support.tools import cpu_seconds, examples

NO_BREAK, THIN, NARROW, MINUS, EN_DASH = "\u00a0", "\u2009", "\u202f", "\u2212", "\u2013"


def found(*values: Any) -> NotationFinder:
    finder = NotationFinder()
    finder.add(values)
    return finder


def notation(*values: Any) -> Notation:
    agreed = found(*values).notation()
    assert agreed, found(*values).problem
    return agreed


def amounts(*values: Any) -> list[str]:
    """Return the amounts and currencies of a column."""
    agreed = notation(*values)
    read = [agreed.amount(value) for value in values]
    return [f"{each.value} {each.currency}".strip() if each else "-" for each in read]


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def in_sql(database: duckdb.DuckDBPyConnection, *values: str) -> list[Decimal | None]:
    amount = notation(*values).sql("text")
    statement = f"SELECT {amount}, typeof({amount}) FROM (SELECT unnest($values) AS text)"
    rows = database.execute(statement, {"values": values}).fetchall()
    assert {each for _, each in rows} == {SQL_TYPE.replace(" ", "")}
    return [amount for amount, _ in rows]


COLUMNS = [
    (["$1,299.00", "$89.99", "$9.50", "£10"], ["1299.00 $", "89.99 $", "9.50 $", "10 GBP"]),
    (["1.299,00 €", "5,20 €", "7€"], ["1299.00 EUR", "5.20 EUR", "7 EUR"]),
    (["AUD 2,236.00", "AUD$5", "AU $3", "A$1.5"], ["2236.00 AUD", "5 AUD", "3 AUD", "1.5 AUD"]),
    ([f"1{NO_BREAK}299,00 kr", f"2{THIN}000{NARROW}kr.", "9 kr"], ["1299.00 kr", "2000 kr", "9 kr"]),
    (["Rs. 1,299", "Rs.99", "Rs. 1,29,999.50"], ["1299 Rs", "99 Rs", "129999.50 Rs"]),
    (["10,-", f"1.250,{EN_DASH}", "5,- kr"], ["10", "1250", "5 kr"]),
    (["-5.20", "$-1", f"{MINUS}$2", "$.99"], ["-5.20", "-1 $", "-2 $", "0.99 $"]),
    (["¥1,200", "¥ 80", "1,000円"], ["1200 ¥", "80 ¥", "1000 JPY"]),
    (["Rp10.000", "Rp 16.499.000"], ["10000 IDR", "16499000 IDR"]),
    (["1\u2019299.00 CHF", "CHF 1'000"], ["1299.00 CHF", "1000 CHF"]),
    (["R$ 1.299,90", "R$ 5"], ["1299.90 BRL", "5 BRL"]),
    (["$10.00 AUD", "US $2"], ["10.00 AUD", "2 USD"]),
    (["eur 10", "5.50 usd", "Aud 3"], ["10 EUR", "5.50 USD", "3 AUD"]),
    (["12,34,567.00", "1,000"], ["1234567.00", "1000"]),
    (["\u200f1,299.00\xa0₪\u200f", "\u200e5 ₪"], ["1299.00 ILS", "5 ILS"]),
    (["0.350", "3.350"], ["0.350", "3.350"]),
    (["999999999999999999.999999999999999999 $"], ["999999999999999999.999999999999999999 $"]),
]


@pytest.mark.parametrize(("values", "read"), COLUMNS)
def test_a_column_is_money_if_all_its_values_agree(values: Sequence[str], read: list[str]) -> None:
    assert amounts(*values) == read


@pytest.mark.parametrize(("values", "_read"), COLUMNS)
def test_duckdb_reads_the_same_amounts(
    database: duckdb.DuckDBPyConnection, values: Sequence[str], _read: object
) -> None:
    agreed = notation(*values)
    assert in_sql(database, *values) == [amount.value for amount in map(agreed.amount, values) if amount]


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (["3.350", "5.20", "0.125"], ["3.350", "5.20", "0.125"]),
        (["3.350", "5,20"], ["3350", "5.20"]),
        (["1,299", "5.20"], ["1299", "5.20"]),
        (["1,299", "5,20", "1.000,00"], ["1.299", "5.20", "1000.00"]),
        (["1,299", "5,2075"], ["1.299", "5.2075"]),
        (["1,299 kr", "5,20 kr"], ["1.299 kr", "5.20 kr"]),
        (["1.299", "1 000 000"], ["1.299", "1000000"]),
        (["€ 3.350", "€ 1.000.000"], ["3350 EUR", "1000000 EUR"]),
        (["$1,299", "$5"], ["1299 $", "5 $"]),
        (["1.299 kr", "5 kr"], ["1299 kr", "5 kr"]),
    ],
)
def test_the_whole_column_decides_what_an_ambiguous_value_means(values: list[str], read: list[str]) -> None:
    assert amounts(*values) == read
    assert amounts(*reversed(values)) == read[::-1]


@pytest.mark.parametrize(
    "values",
    [
        *(["3.350"], ["1,299", "10"], ["€ 3.350", "€ 12"], ["$3.350"], ["3.350", "1,299"]),
        *(["1,299", "5,20"], ["3.350", "5.20"], ["1,299 €", "5,20 €", "7,5 €"], ["1,299", "5,20 kr"]),
    ],
)
def test_values_that_stay_ambiguous_are_not_money(values: list[str]) -> None:
    assert found(*values).notation() is None
    assert "can mean thousands or decimals" in found(*values).problem


@pytest.mark.parametrize(
    ("values", "currency", "read"),
    [
        (["1,234", "999"], "USD", ["1234", "999"]),
        (["1,234", "999"], "usd", ["1234", "999"]),
        (["1,234", "999"], "US$", ["1234", "999"]),
        (["1.234", "999"], "CLP", ["1234", "999"]),
        (["10000", "10.000"], "IDR", ["10000", "10000"]),
        (["1,500", "800"], "JPY", ["1500", "800"]),
        (["1.299", "5"], "TRY", ["1299", "5"]),
        (["1.234", "999"], "USD", None),
        (["1,234", "999"], "EUR", None),
        (["1.234", "5"], "KWD", None),
        (["1,234", "999"], "BTC", None),
        (["1,234", "999"], "", None),
        (["1,234", "5.5"], "EUR", ["1234", "5.5"]),
    ],
)
def test_the_currency_column_decides_what_an_ambiguous_value_means(
    values: list[str], currency: str, read: list[str] | None
) -> None:
    for column, expected in ((values, read), (values[::-1], read and read[::-1])):
        finder = NotationFinder()
        finder.add(column, [currency] * len(column))
        agreed = finder.notation()
        found_amounts = [agreed.amount(value) for value in column] if agreed else None
        assert found_amounts == ([Amount(Decimal(text), "") for text in expected] if expected else None)
        assert bool(expected) or "can mean thousands or decimals" in finder.problem


def test_one_record_with_a_currency_settles_the_column() -> None:
    finder = NotationFinder()
    finder.add(["1,234", "2,345", "999"], [None, 5, "?"])
    finder.add(["3,456"], ["AUD"])
    agreed = finder.notation()
    assert agreed
    assert agreed.amount("1,234") == Amount(Decimal(1234), "")


@pytest.mark.parametrize(
    "values",
    [
        ["1,299.00", "1.299,00"],
        ["5,20", "5.20"],
        ["1,299.00", "1 299.00"],
        ["$1,299", "$5,20"],
        ["1.000.000", "1.5"],
        ["5,20", parse_value("5.5")],
    ],
)
def test_values_written_differently_are_not_money(values: list[Any]) -> None:
    for column in (values, values[::-1]):
        assert found(*column).notation() is None
        assert found(*column).problem.endswith("are written differently.")


NOT_MONEY = [
    "10 - 20",
    "$5-$9",
    "from $5",
    "2 for $5",
    "5 %",
    "N/A",
    "-",
    "$",
    "1.2.3",
    "192.168.1.1",
    "12.05.2024",
]
NOT_MONEY += [
    "0412 345 678",
    "+5.00",
    "(5.20)",
    "5.20-",
    "--5",
    "R-134",
    "USD.99",
    "1,2,3",
    "1e5",
    "٣",
    "$5€",
    "5 EUR USD",
]
NOT_MONEY += [
    "1" * 19,
    "0." + "1" * 19,
    "1 234 56",
    "$ 1,299.0.0",
    "free",
    "top 10",
    "5 kgs",
    "007",
    "0012345678905",
    "1E2",
    "5,20 5",
    "1.299,00,00",
    "0,123,456.00",
]


@pytest.mark.parametrize("text", NOT_MONEY)
def test_anything_else_is_not_money(text: str) -> None:
    assert found("$5.00", text).notation() is None
    assert found(text, "$5.00").problem == f"It contains “{text:.30}”, which isn't an amount of money."


@pytest.mark.parametrize("value", [True, [], ["$5"], {}, {"value": 5}])
def test_lists_objects_and_booleans_are_not_money(value: object) -> None:
    assert found("$5.00", value).problem == "It contains lists, objects or booleans."


def test_missing_values_do_not_matter() -> None:
    assert amounts("$5.00", None, "", " ", NO_BREAK) == ["5.00 $", "-", "-", "-", "-"]
    for values in ([], [None, ""], [" "]):
        assert found(*values).notation() is None
        assert not found(*values).problem


def n(text: str) -> Any:
    """Return a number as records contain it."""
    return parse_value(text)


def test_numbers_agree_with_text_that_has_the_same_separators() -> None:
    assert amounts(5, n("1299.50"), None, 0, n("-2.25")) == ["5", "1299.50", "-", "0", "-2.25"]
    assert amounts("$5.00", n("1299.5"), n("0.125"), -7) == ["5.00 $", "1299.5", "0.125", "-7"]
    assert found("5,20", n("5.5")).problem == "“5.5” and “5,20” are written differently."
    for text in ("1e-7", "5E2", "-12345678901234567890", "9" * 5000):
        assert (
            found("$5.00", n(text), 7).problem == f"It contains “{text:.30}”, which isn't an amount of money."
        )
        assert notation(n(text), "5").is_plain
    assert notation("$5").amount(10**20)


def test_text_may_be_a_number_with_an_exponent() -> None:
    assert amounts("2.7940000000e+01", "5", "1E+02") == ["27.940000000", "5", "1E+2"]
    assert notation("2.79e+01", "5").is_plain
    assert notation("5.5").amount("1e999999999") is None
    assert notation("5.5").amount(n("1e999999999")) is None
    assert found("1e+1", "$5").problem == "It contains “1e+1”, which isn't an amount of money."


def test_plain_numbers_are_told_from_other_notations() -> None:
    assert notation("12.50", "3", 4, n("5.5")).is_plain
    for text in ("$5", "5,20", "1,299.00", " 5"):
        assert not notation("12", text).is_plain


def test_names_and_signs_are_currencies() -> None:
    assert [currency_of(text) for text in ("AUD", "€", "US$", "$", " eur", "?", "A" * 100, "")] == [
        *("AUD", "EUR", "USD", "$"),
        *("EUR", "", "", ""),
    ]
    assert [currency_of(text) for text in ("US Dollar", "BTC")] == ["US Dollar", "BTC"]
    assert notation("$5", "10", "€3").currencies == ("$", "", "EUR")


def test_a_value_in_another_notation_is_not_an_amount() -> None:
    agreed = notation("$1,299.00")
    assert [agreed.amount(text) for text in ("5,20", "1.299,00", "1 299", "from 5", None, True)] == [None] * 6
    assert str(agreed.amount("1,299")) == str(agreed.amount("1,299"))
    assert notation("$5").amount("3.350") is None


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        *[(name, 100) for name in ("price_cents", "price.cents", "cents", "PRICE_CENTS", "priceCents")],
        *[(name, 100) for name in ("salePriceCents", "price.valueCents", "priceInCents", "Price in cents")],
        *[(name, 1) for name in ("price", "accents", "ACCENTS", "priceCentsOff")],
    ],
)
def test_a_column_in_cents_says_so_in_its_name(name: str, unit: int) -> None:
    assert unit_of(name) == unit


AMOUNTS = st.builds(
    "{}{:{},.{}f}{}".format,
    st.sampled_from(["", "-", "$", "-$", "$-", "€", "Rs. ", "Rs.", "kr ", "-AUD ", "US $", "AED -"]),
    st.integers(0, 10**9).map(lambda number: Decimal(number) / 1000),
    st.just(""),
    st.integers(0, 3),
    st.sampled_from(["", "", " kr.", " EUR", "€", ",-", ",- kr"]),
)


@given(st.lists(AMOUNTS, min_size=1, max_size=5))
@settings(max_examples=examples(200))
def test_python_and_duckdb_agree_on_every_column(
    database: duckdb.DuckDBPyConnection, values: list[str]
) -> None:
    agreed = found(*values).notation()
    if agreed:
        read = [agreed.amount(value) for value in values]
        assert in_sql(database, *values) == [amount and amount.value for amount in read]


@given(st.lists(st.text(alphabet="0123456789.,-$€ kr'R\u00a0", max_size=12), max_size=4))
@settings(max_examples=examples(400))
def test_the_order_of_values_does_not_matter(values: list[str]) -> None:
    one, other = found(*values).notation(), found(*reversed(values)).notation()
    assert (one and (one.decimal, one.thousands)) == (other and (other.decimal, other.thousands))
    if one:
        assert all(one.amount(value) for value in values if value.strip())


def test_long_and_many_values_take_little_time() -> None:
    long = ["1" * 10_000_000, "$" * 10_000_000, "1," * 5_000_000, " " * 10_000_000]
    assert cpu_seconds(lambda: [found("$5", text) for text in long]) < 1
    numbers = [n("1" * 10_000_000), n("0." + "1" * 10_000_000), *map(n, ["1." + "1" * 17] * 100_000)]
    assert cpu_seconds(lambda: found(*numbers)) < 1
    many = [f"${number:,}.{number % 100:02}" for number in range(100_000)]
    assert cpu_seconds(lambda: found(*many)) < 1
