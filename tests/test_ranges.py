"""Parsing the Range header."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collections_app.files.delivery.ranges import ByteRange, Unsatisfiable, parse_range

SIZE = 1000


@pytest.mark.parametrize(
    ("header", "start", "length"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-499", 0, 500),
        ("bytes=500-999", 500, 500),
        ("bytes=500-", 500, 500),
        ("bytes=999-", 999, 1),
        ("bytes=0-", 0, 1000),
        ("bytes=-1", 999, 1),
        ("bytes=-1000", 0, 1000),
        ("bytes=-5000", 0, 1000),
        ("bytes=900-5000", 900, 100),
        ("bytes=0-18446744073709551616", 0, 1000),
        (f"bytes=0-{'9' * 8000}", 0, 1000),
        (f"bytes=-{'9' * 8000}", 0, 1000),
        (f"bytes={'0' * 8000}5-", 5, 995),
        ("BYTES=0-0", 0, 1),
        ("  bytes=0-0  ", 0, 1),
        ("bytes= 0-0 ", 0, 1),
    ],
    ids=lambda value: str(value)[:30],
)
def test_one_range_has_a_start_and_a_length(header: str, start: int, length: int) -> None:
    assert parse_range(header, SIZE) == ByteRange(start, length)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=5-3",
        "bytes=--5",
        "bytes=1-2-3",
        "bytes=+1-2",
        "bytes=0x1-2",
        "bytes=1.0-2",
        "bytes=\uff11-",
        "bytes=0-0,5-9",
        "bytes=0-0,",
        "bytes :0-0",
        "items=0-0",
        "0-0",
        "bytes=0-0\n",
        "bytes=0-0 x",
    ],
    ids=ascii,
)
def test_other_headers_request_the_entire_file(header: str) -> None:
    assert parse_range(header, SIZE) is None


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-2000", "bytes=-0", f"bytes={'9' * 8000}-"])
def test_a_range_outside_the_file_is_unsatisfiable(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, SIZE)


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"])
def test_an_empty_file_has_no_ranges(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, 0)


def test_content_range() -> None:
    assert ByteRange(2**32, 10).content_range(5 * 2**30) == "bytes 4294967296-4294967305/5368709120"


@given(
    first=st.integers(0, 2000) | st.none(), last=st.integers(0, 2000) | st.none(), size=st.integers(0, 1500)
)
def test_a_range_matches_slicing(first: int | None, last: int | None, size: int) -> None:
    everything = range(size)
    if first is None:
        wanted = everything[max(size - (last or 0), 0) :]
    else:
        wanted = everything[first : size if last is None else last + 1]
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"

    try:
        part = parse_range(header, size)
    except Unsatisfiable:
        assert not wanted
        return
    if part is None:
        assert (first is None and last is None) or (first is not None and last is not None and last < first)
    else:
        assert range(part.start, part.start + part.length) == wanted


@given(header=st.text() | st.from_regex(r"bytes=[0-9]{0,30}-[0-9]{0,30}(,.*)?"), size=st.integers(0, 2**63))
def test_any_header_is_ignored_or_a_range_of_the_file(header: str, size: int) -> None:
    try:
        part = parse_range(header, size)
    except Unsatisfiable:
        return
    assert part is None or (part.length > 0 and part.start >= 0 and part.start + part.length <= size)
