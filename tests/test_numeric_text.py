"""Which texts are numbers, and how numbers are compared."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collections_app.records.formats.json_records import parse_value
from collections_app.records.numeric_text import Kind, KindFinder, is_number
from collections_app.records.preview import number_sql
from tests.support.tools import cpu_seconds, examples


def kind_of(*values: Any) -> Kind:
    finder = KindFinder()
    for value in values:
        finder.add([value])
    return finder.kind


@pytest.mark.parametrize("text", ["0", "-5", "12.50", "2.79e+01", "1e-7", "1.0E10", "9" * 500])
def test_numbers_in_text_are_written_as_in_json(text: str) -> None:
    assert is_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "007",
        "1E5",
        "1_000",
        "nan",
        "inf",
        "Infinity",
        "0x10",
        "+5",
        ".5",
        "5.",
        " 5",
        "5\n",
        "1,234",
        "٣",
        "",
    ],
)
def test_codes_and_other_texts_are_not_numbers(text: str) -> None:
    assert not is_number(text)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([5, "12.5", None, "", " "], Kind.NUMBERS),
        ([5, 10**15], Kind.LONG_NUMBERS),
        (["0.1234567890123456789"], Kind.LONG_NUMBERS),
        ([parse_value("1e400")], Kind.LONG_NUMBERS),
        ([5, "N/A"], Kind.MIXED),
        ([5, True], Kind.MIXED),
        (["5", "nan", "1_000"], Kind.MIXED),
        ([12, "3.350", "N/A"], Kind.TEXT),
        ([12, "1,234"], Kind.TEXT),
        (["0012345678905", 4006381333931], Kind.TEXT),
        (["1E5", "12"], Kind.TEXT),
        (["a", "b"], Kind.TEXT),
        ([None, ""], Kind.TEXT),
    ],
)
def test_a_column_contains_numbers_only_if_none_can_mean_anything_else(values: list[Any], kind: Kind) -> None:
    assert kind_of(*values) == kind
    assert kind_of(*reversed(values)) == kind


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)


@given(texts=st.lists(NUMBERS, min_size=2, max_size=8), descending=st.booleans())
@settings(max_examples=examples(100))
def test_numbers_of_any_length_are_sorted_exactly(
    database: duckdb.DuckDBPyConnection, texts: list[str], *, descending: bool
) -> None:
    order = number_sql.exact_order("t", descending=descending)
    found = database.execute(f"SELECT t FROM (SELECT unnest($texts) AS t) ORDER BY {order}", {"texts": texts})
    numbers = [Decimal(text) for (text,) in found.fetchall()]
    assert numbers == sorted(numbers, reverse=descending)


def test_many_and_long_values_take_little_time() -> None:
    assert cpu_seconds(lambda: kind_of("1" * 10_000_000, "1," * 5_000_000, " " * 10_000_000)) < 1
