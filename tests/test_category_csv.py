import csv
import io
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collections_app.records.formats.category_csv import COLUMNS, write_category_csv

COMPLETE = {
    "asin": "B0C1",
    "parent_asin": "B0C0",
    "is_variant": True,
    "is_brand": False,
    "is_store": False,
    "is_prime": True,
    "seller_name": "Müller & Söhne, ノート",
    "price_cents": 129900,
    "in_stock": True,
    "title": "Headphones",
}


def written(*records: dict[str, Any]) -> str:
    out = io.BytesIO()
    write_category_csv(records, out)
    return out.getvalue().decode()


def cell(column: str, value: Any) -> str:
    row = next(csv.DictReader(io.StringIO(written({column: value}), newline="")))
    return row[column]


def test_it_has_the_nine_columns() -> None:
    assert written() == (
        "asin,parent_asin,is_variant,is_brand,is_store,is_prime,seller_name,price_cents,in_stock\r\n"
    )


def test_a_record_is_a_row_without_its_other_keys() -> None:
    assert written(COMPLETE).splitlines()[1:] == [
        'B0C1,B0C0,true,false,false,true,"Müller & Söhne, ノート",129900,true'
    ]


def test_a_missing_value_is_an_empty_cell() -> None:
    assert written({"asin": "B1", "price_cents": None}).splitlines()[1:] == ["B1,,,,,,,,"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1299, "1299"),
        (1299.0, "1299"),
        (1299.5, "1299.5"),
        ("1299", "1299"),
        (True, "true"),
        (["a", "é"], '["a", "é"]'),
        ({"amount": 1}, '{"amount": 1}'),
        ('say "hi"\r\nthere', 'say "hi"\r\nthere'),
        ("half \ud83d", "half ?"),
    ],
)
def test_a_value_is_written_as(value: Any, expected: str) -> None:
    assert cell("price_cents", value) == expected


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=5))
def test_any_text_is_preserved(names: list[str]) -> None:
    text = written(*({"asin": "B1", "seller_name": name} for name in names))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["seller_name"] for row in rows] == names


def test_the_output_stays_open() -> None:
    out = io.BytesIO()
    write_category_csv([COMPLETE], out)
    assert not out.closed


def test_memory_does_not_grow_with_the_list(tmp_path: Any) -> None:
    tracemalloc.start()
    try:
        with (tmp_path / "list.csv").open("wb") as out:
            write_category_csv(({**COMPLETE, "asin": f"B{number}"} for number in range(20_000)), out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "list.csv").stat().st_size > 1_000_000
    assert peak < 200_000
    assert len(COLUMNS) == 9
