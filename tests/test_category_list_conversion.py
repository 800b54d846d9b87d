"""The fast conversion of a category list to CSV has the same results as the slow one."""

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collections_app.records.formats import json_records
from collections_app.records.formats.category_csv import COLUMNS, convert_category_list, write_category_csv
from collections_app.records.formats.json_records import InvalidRecords, read_batches, read_records
from tests.support.tools import all_or_few

USUAL = {
    "asin": "B0C1",
    "parent_asin": None,
    "is_variant": True,
    "is_brand": False,
    "is_store": False,
    "is_prime": True,
    "seller_name": "ノート",
    "price_cents": 129900,
    "in_stock": True,
    "title": "Headphones",
}
# What the writer of JSON can't make, and what is read in one way or the other.
ODD = (
    *(
        '"\\ud83d"',
        '"\\ud83d\\u0041"',
        '"\\ude00\\ud83d"',
        '"\\ud83d\\ude00"',
        '"\\u0000"',
        '"\\/"',
        '"\x7f"',
    ),
    *("-0", "-0.0", "1E5", "1e-999", "1e308", "1e999", "12345678901234567890123", "1" * 400, "1" * 5000),
    "0." + "1" * 400,
    *('"},{"', '[{"asin": "B1"},\n{"asin": "B2"}]', '{"a": {"a": [[], {}]}}'),
)
WRONG = (
    *("NaN", "-Infinity", "01", "1.", "+1", "tru", "nul", '"\\x"', '"\\u12x4"', '"\t"'),
    *('"},\n{"', "[1,]", '{"a": 1,}', '{"a" 1}', "[1 2]", '"', "{", "", "[" * 5000, '{"a":' * 5000),
)

TEXT = st.text() | st.sampled_from(['a "quoted" name', "a, b", "a\r\nb", "\r", "", " ", "=1+1"])
VALUES = (
    TEXT
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.lists(st.integers() | TEXT, max_size=2)
)
RECORDS = st.lists(
    st.dictionaries(st.sampled_from([*COLUMNS, "title", "other"]), VALUES, max_size=6)
    | st.fixed_dictionaries({column: st.just(value) | VALUES for column, value in USUAL.items()})
    | st.builds(lambda name: {**USUAL, "seller_name": name}, TEXT),
    max_size=8,
)


@pytest.fixture(autouse=True, scope="module")
def small_pieces() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_records, "_SMALLEST_PIECE", 1)
        yield


def exact(content: bytes) -> bytes | str:
    """Return the CSV, or the error, if the records are read one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_records._Text, "take_many", lambda text: [])
        return outcome(lambda out: write_category_csv(read_records(io.BytesIO(content)), out))


def quick(content: bytes) -> bytes | str:
    return outcome(lambda out: convert_category_list(io.BytesIO(content), out))


def outcome(write: Any) -> bytes | str:
    out = io.BytesIO()
    try:
        write(out)
    except InvalidRecords as error:
        return str(error)
    return out.getvalue()


@pytest.mark.no_cover
@pytest.mark.parametrize("chunk", all_or_few([100, 700, 256 * 1024], 100))
@pytest.mark.parametrize(
    "style",
    all_or_few([{}, {"separators": (",", ":")}, {"indent": 2}, {"ensure_ascii": False}], {}),
    ids=str,
)
@given(records=RECORDS, is_wrapped=st.booleans())
def test_any_records_give_the_same_csv(
    *, chunk: int, style: dict[str, Any], records: list[dict[str, Any]], is_wrapped: bool
) -> None:
    content = json.dumps({"n": 1, "asins": records} if is_wrapped else records, **style).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_records, "_CHUNK", chunk)
        assert quick(content) == exact(content)


@pytest.mark.parametrize("column", ["price_cents", "title", "other"])
@pytest.mark.parametrize("value", [*ODD, *WRONG], ids=lambda value: repr(value[:20]))
def test_an_unusual_value_has_the_same_result(column: str, value: str) -> None:
    usual = json.dumps(USUAL, ensure_ascii=False)
    odd = f'{{"asin": "B2", "{column}": {value}}}'
    content = ("[" + ",\n".join([usual, usual, odd, usual, usual]) + "]").encode()
    given_by_both = quick(content)
    assert given_by_both == exact(content)
    assert isinstance(given_by_both, str) == (value in WRONG)


@pytest.mark.parametrize(
    "garbage", [b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xe3\x83", b"\xf5\x80\x80\x80"], ids=repr
)
@pytest.mark.parametrize("column", ["seller_name", "title", "other"])
def test_invalid_utf_8_is_detected_in_every_field(column: str, garbage: bytes) -> None:
    usual = json.dumps(USUAL).encode()
    odd = usual.replace(b"}", b', "%b": "%b"}' % (column.encode(), garbage))
    content = b"[" + b",\n".join([usual, usual, odd, usual]) + b"]"
    problem = quick(content)
    assert problem == exact(content)
    assert "The text is not UTF-8" in str(problem)


@pytest.mark.parametrize("separator", [b"},{", b"},\n{", b"},\r\n  {", b"} , { "])
@pytest.mark.parametrize("ending", [b"", b"x", b"]x", b",]", b"{}]", b",\n{]", b',{"a": "'])
def test_errors_between_and_after_records_are_the_same(separator: bytes, ending: bytes) -> None:
    one = json.dumps(USUAL, ensure_ascii=False).encode()
    content = b'\xef\xbb\xbf{\n"asins":[' + separator.join([one[:-1], *[one[1:-1]] * 50, one[1:]]) + ending
    problem = quick(content)
    assert problem == exact(content)
    assert re.match(r"line \d+, column \d+: ", str(problem))


def test_a_usual_list_is_read_in_batches() -> None:
    content = json.dumps([USUAL] * 1000).encode()
    sizes = [len(some) for some in read_batches(io.BytesIO(content))]
    assert sum(sizes) == 1000
    assert len(sizes) < 10


def test_nested_lists_of_objects_do_not_mislead_it() -> None:
    record = {"asin": "B1", "variants": [{"asin": "B2"}, {"asin": "B3"}, {"asin": "B4"}]}
    for style in ({}, {"separators": (",", ":")}, {"indent": 1}):
        content = json.dumps([record] * 10_000, **style).encode()
        assert list(read_records(io.BytesIO(content))) == [record] * 10_000
