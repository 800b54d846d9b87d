import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collections_app.records.formats import json_records
from collections_app.records.formats.json_records import (
    Content,
    InvalidRecords,
    Number,
    copy_records,
    count_records,
    parse_value,
    read_json_lines,
    read_paths,
    read_records,
    read_values,
)
from collections_app.records.formats.json_text import json_text
from tests.support.tools import all_or_few

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
RECORDS = st.lists(st.dictionaries(st.text(), JSON, max_size=5), max_size=6)

MESSY = [
    {"title": 'A "quoted" \\ title', "price": 12.5e-3, "stock": None, "unicode": "ノート 👩‍👩‍👧 \ud83d"},
    {"nested": {"list": [1, -2, [True, False, None], {}], "empty": ""}, "big": 10**30, "escaped": "\u0001\n"},
    {},
]


class Dripping(io.RawIOBase):
    """A stream that returns at most `size` bytes per read."""

    def __init__(self, content: bytes, size: int) -> None:
        self._rest = io.BytesIO(content)
        self._size = size
        self.taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._rest.read(self._size)
        self.taken += len(data)
        return data


def read(content: bytes | str, **options: bool) -> list[dict[str, Any]]:
    raw = content.encode() if isinstance(content, str) else content
    return list(map(with_floats, read_records(io.BytesIO(raw), **options)))


def with_floats(value: Any) -> Any:
    """Return a value with floats, as the json module reads it."""
    if isinstance(value, Number):
        return float(bytes(value))
    if isinstance(value, dict):
        return {key: with_floats(each) for key, each in value.items()}
    return [with_floats(each) for each in value] if isinstance(value, list) else value


def problem_of(content: bytes | str) -> InvalidRecords:
    with pytest.raises(InvalidRecords) as caught:
        read(content)
    return caught.value


@pytest.mark.no_cover
@given(RECORDS, st.sampled_from([None, 2]))
def test_it_returns_what_was_written(records: list[dict[str, Any]], indent: int | None) -> None:
    assert read(json.dumps(records, indent=indent)) == records
    assert read(json.dumps(records, indent=indent, ensure_ascii=False)) == records


@pytest.mark.parametrize("indent", [None, 1])
def test_bytes_can_arrive_in_any_pieces(monkeypatch: pytest.MonkeyPatch, indent: int | None) -> None:
    content = b"\xef\xbb\xbf" + json.dumps(MESSY, indent=indent).encode()
    content += b" \n"
    for size in range(1, len(content) + 1):
        monkeypatch.setattr(json_records, "_CHUNK", size)
        assert [with_floats(each) for each in read_records(Dripping(content, size))] == MESSY


@pytest.mark.no_cover
@pytest.mark.parametrize("ending", all_or_few(range(1, 60, 2), 1, 31, 59))
def test_a_truncated_file_is_detected_in_any_pieces(monkeypatch: pytest.MonkeyPatch, ending: int) -> None:
    content = json.dumps(MESSY).encode()[:-ending]
    expected = str(problem_of(content))
    for size in range(1, len(content)):
        monkeypatch.setattr(json_records, "_CHUNK", size)
        with pytest.raises(InvalidRecords) as caught:
            list(read_records(Dripping(content, size)))
        assert str(caught.value) == expected


def test_a_list_can_be_wrapped() -> None:
    assert read(' {"asins" : [{"asin": "B1"}] } ') == [{"asin": "B1"}]
    content = b'\n{ "asins":[ {} ]}'
    for size in range(1, len(content)):
        assert list(read_records(Dripping(content, size))) == [{}]


def test_a_wrapper_can_be_refused() -> None:
    with pytest.raises(InvalidRecords, match="line 1, column 1: Expected a list of records"):
        read('{"asins": []}', wrapped=False)


@pytest.mark.parametrize("content", ["[]", " [ \n] ", "\ufeff[]", '{"asins": []}'])
def test_a_list_can_be_empty(content: str) -> None:
    assert read(content) == []


@pytest.mark.parametrize(
    ("content", "line", "column", "problem"),
    [
        ("", 1, 1, "The file is empty"),
        ("\ufeff \n ", 2, 2, "The file is empty"),
        ("<html>", 1, 1, "Expected a list of records, in [ and ]"),
        ("null", 1, 1, "Expected a list of records, in [ and ]"),
        ("[1, 2]", 1, 2, "Expected a record, in { and }"),
        ('[{}, "text"]', 1, 6, "Expected a record, in { and }"),
        ("[{},]", 1, 5, "Expected a record, in { and }"),
        ("[{},", 1, 5, "Expected a record, in { and }"),
        ("[", 1, 2, "Expected a record, in { and }"),
        ("[{} {}]", 1, 5, "Expected , or ] after the record"),
        ("[{}", 1, 4, "Expected , or ] after the record"),
        ("[] []", 1, 4, "Expected nothing after the list"),
        ('{"asins": []', 1, 13, "Expected , or } after the value"),
        ('{"asins": []} x', 1, 15, "Expected nothing after the list"),
        ('{"asin": "B1"}', 1, 15, 'Expected a list, or an object with the list in it: {"asins": [...]}'),
        ('{"asins": [], "asins": []}', 1, 23, 'Expected one "asins" in the object, not two'),
        ('{"total" 1}', 1, 10, "Expected : after the key"),
        ("{total: 1}", 1, 2, "Expected a key in double quotes"),
        ('{"total": }', 1, 11, "Expected a value"),
        ('[\n  {"a": 1},\n  {"b": nope}\n]', 3, 9, "Expected a value"),
        ('[{"a": "x\ny"}]', 1, 10, "Expected an escape such as \\n, not a control character"),
        ('[\n{"a": "x', 2, 7, 'Expected a " at the end of this text'),
        ('[{"a": tru}]', 1, 8, "Expected a value"),
        ('[{"a": "\\u12x4"}]', 1, 10, "Expected four hexadecimal digits after \\u"),
        ('[{"a": "C:\\x"}]', 1, 11, "Expected an escape such as \\n or \\\\ after the \\"),
        ('[{"a" 1}]', 1, 7, "Expected : after the key"),
        ("[{a: 1}]", 1, 3, "Expected a key in double quotes"),
        ('[{"a": 1 "b": 2}]', 1, 10, "Expected a comma, or the end of the object or list"),
        ('[{"a": [1 2]}]', 1, 11, "Expected a comma, or the end of the object or list"),
        ('[\n\n {"a": NaN}]', 3, 8, "NaN is not JSON"),
        ('[{"NaN": "\\"NaN", "b":\n [1, 1e5, -Infinity, NaN]}]', 2, 11, "-Infinity is not JSON"),
        ('[{"a": -1, "b": "-Infinity", "c": -Infinity}]', 1, 35, "-Infinity is not JSON"),
        ('{"before": NaN, "asins": []}', 1, 12, "NaN is not JSON"),
    ],
)
def test_it_says_what_is_wrong_and_where(content: str, line: int, column: int, problem: str) -> None:
    error = problem_of(content)
    assert (error.line, error.column, error.problem) == (line, column, problem)
    assert str(error) == f"line {line}, column {column}: {problem}"


@pytest.mark.no_cover
@given(RECORDS.filter(bool), st.integers(0), st.sampled_from([*'"{}[],:\\x\n', "tru", "\\u12", ""]))
def test_no_error_has_the_parsers_words(records: list[dict[str, Any]], at: int, damage: str) -> None:
    text = json.dumps(records)
    at %= len(text)
    problem = "Expected nothing"
    try:
        read(text[:at] + damage + text[at + 1 :])
    except InvalidRecords as error:
        problem = error.problem
    assert problem.startswith(("Expected ", "The file is empty"))
    assert problem != json_records._NOT_JSON


@pytest.mark.no_cover
@given(RECORDS, st.sampled_from(["NaN", "Infinity", "-Infinity"]))
def test_an_error_points_at_the_value(records: list[dict[str, Any]], number: str) -> None:
    before = json.dumps([*records, {"a": [*records, 0]}], indent=1)[: -len("0\n  ]\n }\n]")]
    error = problem_of(f"{before}{number}]}}]")
    assert (error.line, error.column) == (before.count("\n") + 1, len(before) - before.rfind("\n"))


def test_the_position_is_counted_over_the_entire_file() -> None:
    lines = [json.dumps({"title": "ü" * 50}) for _ in range(5000)]
    lines[3999] = '{"title": oops}'
    error = problem_of("[\n" + ",\n".join(lines) + "\n]")
    assert (error.line, error.column) == (4001, 11)


def test_the_column_is_counted_in_a_file_of_one_long_line() -> None:
    content = "[" + ",".join(['{"a": "é"}'] * 20_000) + ",x]"
    error = problem_of(content)
    assert (error.line, error.column) == (1, len(content) - 1)


def test_invalid_utf_8_is_detected() -> None:
    error = problem_of(b'[{"a": "fine"},\n {"b": "caf\xe9"}]')
    assert (error.line, error.column, error.problem) == (2, 12, "The text is not UTF-8")
    assert problem_of('[{"a": 1}]'.encode("utf-16")).problem == "The text is not UTF-8"
    assert problem_of('[{"a": "é'.encode()[:-1]).problem == "The text is not UTF-8"


def test_a_record_that_is_nested_too_deeply_is_refused() -> None:
    error = problem_of('[{"a": ' + "[" * 200_000 + "]" * 200_000 + "}]")
    assert (error.line, error.column) == (1, 8)
    assert error.problem == "The value is nested too deeply, in more than 500 objects and lists"


@pytest.mark.parametrize("around", ["[%s]", "%s\n", '[{"a":1},%s' + ',{"a":"}"}' * 1000 + "]"])
@pytest.mark.parametrize("text", ["1", r'"\\\"[{{["', '"]}]"'])
def test_all_readers_have_the_same_limit_for_nested_values(around: str, text: str) -> None:
    readers: list[Callable[..., Any]]
    readers = [read_json_lines] if around.endswith("\n") else [read_values, read_records, count_records]
    for levels in (500, 501):
        data = (around % ('{"a":' + "[" * (levels - 1) + text + "]" * (levels - 1) + "}")).encode()
        for read in readers:
            with nullcontext() if levels == 500 else pytest.raises(InvalidRecords, match="nested too deeply"):
                count = read(io.BytesIO(data))
                assert count if isinstance(count, int) else list(count)


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [
        ('[{"a": [1], "{\\"b\\": [": "x",\n "c" : DEEP, "d": DEEP}]', 2, 8),
        ('[{"a": {"b": DEEP}}]', 1, 8),
        ("[DEEP]", 1, 2),
        ('[{"a": DEEP', 1, 8),
    ],
)
def test_the_error_points_at_the_value_that_is_nested_too_deeply(
    content: str, line: int, column: int
) -> None:
    values = read_values(io.BytesIO(content.replace("DEEP", "[" * 5000 + "]" * 5000).encode()))
    with pytest.raises(InvalidRecords, match="The value is nested too deeply") as caught:
        list(values)
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    "number",
    [
        *("1299.00", "0.1234567890123456789", "1E5", "1e+05", "-0", "-0.0", "12345678901234567890123"),
        *("1e999", "-1e-999", "1" * 4300, "-" + "1" * 5000, "0." + "1" * 5000),
    ],
    ids=lambda number: number[:20],
)
@pytest.mark.parametrize("is_slow", [False, True])
def test_numbers_are_kept_as_written(monkeypatch: pytest.MonkeyPatch, number: str, *, is_slow: bool) -> None:
    monkeypatch.setattr(json_records, "_SMALLEST_PIECE", 10**9 if is_slow else 1)
    record = f'{{"n": {number}, "in": [{number} ,{{"a":{number}}}]}}'
    content = f"[{','.join([record] * 5)}]".encode()
    assert [json_text(each) for each in read_records(io.BytesIO(content))] == [record.replace(" ", "")] * 5
    assert list(read_json_lines(io.BytesIO(record.encode()))) == [record.encode()]
    assert json_text(parse_value(number)) == number


def test_only_minus_zero_is_read_the_slow_way() -> None:
    for text in ("SKU-0", "-0, no", "a:-0", "-0.5"):
        assert not json_records._NEGATIVE_ZERO.search(json.dumps([{"a": text, "b": -0.5}]).encode())
    assert json_records._NEGATIVE_ZERO.search(b'{"a":-0}')


def test_an_invalid_record_is_detected_without_reading_the_rest() -> None:
    stream = Dripping(b'[{"a": oops},' + b'{"b": 1},' * 1_000_000, 64 * 1024)
    with pytest.raises(InvalidRecords):
        list(read_records(stream))
    assert stream.taken <= 256 * 1024


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_the_size_of_a_record_is_limited(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(json_records, "MAX_RECORD", 1000)
    fits = json.dumps({"a": "x" * (1000 - len('{"a": ""}'))})
    assert list(read_records(Dripping(f"[{fits}]".encode(), size))) == [json.loads(fits)]
    for content in ('[\n{"a": "' + "x" * 1000 + '"}]', '[\n{"a": "' + "x" * 5000):
        with pytest.raises(InvalidRecords) as caught:
            list(read_records(Dripping(content.encode(), size)))
        assert (caught.value.line, caught.value.column) == (2, 1)
        assert "larger than" in caught.value.problem


def test_a_large_record_is_not_parsed_again_for_every_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Decoder(json.JSONDecoder):
        tries = 0

        def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
            self.tries += 1
            return super().raw_decode(s, idx)

    decoder = Decoder()
    monkeypatch.setattr(json_records, "_DECODER", decoder)
    record = {"a": "x" * 4_000_000}
    assert list(read_records(Dripping(json.dumps([record]).encode(), 16 * 1024))) == [record]
    assert decoder.tries < 10


def test_memory_depends_on_the_record_not_on_the_file() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"["
        for _ in range(1000):
            yield b'{"title": "%b"},' % (b"x" * 30_000)
        yield b"{}]"

    class Stream:
        def __init__(self) -> None:
            self._chunks = chunks()

        def read(self, size: int, /) -> bytes:
            return next(self._chunks, b"")

    tracemalloc.start()
    try:
        assert sum(1 for _ in read_records(Stream())) == 1001
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000  # of 30 MB


@pytest.mark.no_cover
@given(RECORDS.filter(bool))
def test_json_lines_return_what_was_written(records: list[dict[str, Any]]) -> None:
    content = "\n".join(json.dumps(record) for record in records)
    assert [json.loads(text) for text in read_json_lines(io.BytesIO(content.encode()))] == records


def test_json_lines_can_have_blank_lines_windows_endings_and_a_byte_order_mark() -> None:
    content = b'\xef\xbb\xbf{"a": 1}\r\n\r\n  {"b": "\xc3\xa9"}\r\n'
    assert list(read_json_lines(io.BytesIO(content))) == [b'{"a": 1}', '{"b": "é"}'.encode()]


def test_json_lines_keep_the_text_of_records() -> None:
    texts = [b'{ "a":1299.00, "a": 0.1234567890123456789 }', rb'{"b":"\ud83d"}', b'{"c":1E5}']
    assert list(read_json_lines(io.BytesIO(b" \r\n".join(texts)))) == texts


@pytest.mark.parametrize(
    ("content", "line", "column", "problem"),
    [
        (b"", 1, 1, "The file is empty"),
        (b"\n\n", 1, 1, "The file is empty"),
        (b'{"a": 1}\n{"b": \n', 2, 7, "Expected a value"),
        (b'{"a": 1}\n[1]\n', 2, 1, "Expected a record, in { and }"),
        (b'{"a": 1} {"b": 2}\n', 1, 10, "Expected the end of the line after the record"),
        (b'{"a": 1}\n\n{"b": "\xff"}', 3, 8, "The text is not UTF-8"),
        (b'{"a": 1}\n{"b": NaN}', 2, 7, "NaN is not JSON"),
    ],
)
def test_json_lines_say_what_is_wrong_and_where(content: bytes, line: int, column: int, problem: str) -> None:
    with pytest.raises(InvalidRecords) as caught:
        list(read_json_lines(io.BytesIO(content)))
    error = caught.value
    assert (error.line, error.column, error.problem) == (line, column, problem)


def test_the_size_of_a_line_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_records, "MAX_RECORD", 100)
    content = b'{"a": 1}\n{"b": "' + b"x" * 100 + b'"}\n'
    with pytest.raises(InvalidRecords, match="line 2, column 1: The record is larger than"):
        list(read_json_lines(io.BytesIO(content)))


@pytest.mark.parametrize(
    "value", ["12345678901234567890", "-1.25e-7", '"a}"', "[[], {}]", "{}", "null", "true"]
)
@pytest.mark.parametrize("chunk", [1, 2, 7, 100])
def test_other_keys_of_a_wrapper_are_ignored(monkeypatch: pytest.MonkeyPatch, value: str, chunk: int) -> None:
    monkeypatch.setattr(json_records, "_CHUNK", chunk)
    content = f'{{"a": {value}, "asins": [{{"b": {value}}}], "c":{value}\n}}'.encode()
    assert read(content) == [{"b": json.loads(value)}]
    assert (("asins",), Content.RECORDS) in list(read_paths(io.BytesIO(content)))


class TestCopies:
    """copy_records() copies a list while it is read."""

    @staticmethod
    def copy(stream: Any, **options: Any) -> tuple[int, bytes]:
        out = io.BytesIO()
        count = copy_records(stream, out.write, **{"wrapped": False} | options)
        return count, out.getvalue()

    @pytest.mark.no_cover
    @given(
        RECORDS,
        st.sampled_from([None, 2]),
        st.sampled_from(["", "\ufeff", " \n"]),
        st.sampled_from(["ascii", "utf-8"]),
    )
    def test_a_list_is_copied_byte_for_byte(
        self, records: list[dict[str, Any]], indent: int | None, before: str, encoding: str
    ) -> None:
        text = before + json.dumps(records, indent=indent, ensure_ascii=encoding == "ascii") + " \r\n"
        content = text.encode(errors="replace")
        assert self.copy(io.BytesIO(content)) == (len(records), content)

    @pytest.mark.parametrize(
        ("content", "copied"),
        [
            ('[\n{"a":1}\n][\n{"a":2}\n]\n', '[\n{"a":1}\n,{"a":2}\n]\n'),
            ('[{"a":1}] \n [{"a":2}][]\n[ ]\r\n[{"a":3},{}]', '[{"a":1},{"a":2},{"a":3},{}]'),
            ('[][{"a":"]["}][]', '[{"a":"]["}]'),
            ("[][]", "[]"),
            ("[ ]\n[ ] ", "[ ] "),
        ],
    )
    def test_lists_that_follow_each_other_become_one(
        self, monkeypatch: pytest.MonkeyPatch, content: str, copied: str
    ) -> None:
        for chunk in range(1, len(content) + 1):
            monkeypatch.setattr(json_records, "_CHUNK", chunk)
            count, out = self.copy(io.BytesIO(content.encode()))
            assert out.decode() == copied
            assert count == len(json.loads(out))

    def test_many_records_in_lists_that_follow_each_other(self) -> None:
        records = [{"asin": f"B{number:09}", "title": "x" * 50} for number in range(30_000)]
        content = "\n".join(json.dumps(records[at : at + 7_000]) for at in range(0, 30_000, 7_000))
        count, out = self.copy(io.BytesIO(content.encode()))
        assert (count, json.loads(out)) == (30_000, records)

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ('[{"a":1}]x[]', "line 1, column 10: Expected nothing after the list"),
            ('[{"a":1}]\n[{"a":2}', "line 2, column 9: Expected , or ] after the record"),
            ('[{"a":1}]\n[,', "line 2, column 2: Expected a record, in { and }"),
            ("[{}][", "line 1, column 6: Expected a record, in { and }"),
            ("[[]]", "line 1, column 2: Expected a record, in { and }"),
        ],
    )
    def test_what_follows_a_list_must_be_a_list(self, content: str, problem: str) -> None:
        with pytest.raises(InvalidRecords) as caught:
            self.copy(io.BytesIO(content.encode()))
        assert str(caught.value) == problem

    def test_endless_blanks_after_a_list_do_not_fill_the_memory(self) -> None:
        count, out = self.copy(io.BytesIO(b"[{}]" + b" " * 1_000_000))
        assert count == 1
        assert len(out) < 300_000

    @pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
    @pytest.mark.parametrize("indent", [None, 1])
    def test_the_list_in_an_object(
        self, monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int | None
    ) -> None:
        monkeypatch.setattr(json_records, "_CHUNK", chunk)
        value = {"ads": [{"search_results": [1]}, 5], "search_results": MESSY, "total": 1e5, "x": [[]]}
        content = b"\xef\xbb\xbf" + json.dumps(value, indent=indent).encode()
        count, out = self.copy(io.BytesIO(content), at=("search_results",))
        assert (count, json.loads(out), out[:1], out[-1:]) == (3, MESSY, b"[", b"]")
        assert list(read_paths(io.BytesIO(content))) == [
            (("ads",), Content.RECORDS),
            (("search_results",), Content.RECORDS),
            (("total",), None),
            (("x",), Content.OTHERS),
        ]

    def test_numbers_in_the_list_stay_as_they_are_written(self) -> None:
        content = b'{"a":[ {"p":1299.00, "q":0.1234567890123456789, "e":1E5} ]}'
        assert self.copy(io.BytesIO(content), at=("a",)) == (1, content[5:-1])

    def test_a_list_that_is_empty(self) -> None:
        assert self.copy(io.BytesIO(b'{"a": [ ]}'), at=("a",)) == (0, b"[ ]")
        assert list(read_paths(io.BytesIO(b'{"a": [ ], "b": [1]}'))) == [
            (("a",), Content.NOTHING),
            (("b",), Content.OTHERS),
        ]

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ('{"b": [{}]}', 'line 1, column 12: Expected a list "a" in the object'),
            ('{"a": {}}', 'line 1, column 10: Expected a list "a" in the object'),
            ('{"a": null}', "line 1, column 7: Expected a list of records, in [ and ]"),
            ('{"a": [1]}', "line 1, column 8: Expected a record, in { and }"),
            ('{"a": [{}],\n"a": [{}]}', 'line 2, column 6: Expected one "a" in the object, not two'),
            ('{"a": [{}]}[]', "line 1, column 12: Expected nothing after the list"),
            ("[{}]", "line 1, column 1: Expected an object, in { and }"),
        ],
    )
    def test_an_object_without_the_list(self, content: str, problem: str) -> None:
        with pytest.raises(InvalidRecords) as caught:
            self.copy(io.BytesIO(content.encode()), at=("a",))
        assert str(caught.value).startswith(problem)

    def test_endless_blanks_in_a_list_are_not_searched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(json_records, "MAX_RECORD", 100_000)
        with pytest.raises(InvalidRecords, match="larger than"):
            list(read_paths(io.BytesIO(b'{"a": [' + b" " * 1_000_000 + b"{}]}")))

    def test_lists_in_other_objects(self) -> None:
        content = b'{"a": {"b": {"c": {"d": [null, {}]}, "e": [{"f": [{}]}], "g": {}}}}'
        assert list(read_paths(io.BytesIO(content))) == [
            (("a", "b", "c", "d"), Content.RECORDS),
            (("a", "b", "e"), Content.RECORDS),
        ]
        assert self.copy(io.BytesIO(content), at=("a", "b", "e")) == (1, b'[{"f": [{}]}]')

    def test_lists_below_more_keys_are_not_found(self) -> None:
        content = b'{"a": {"b": {"c": {"d": {"e": [{}]}}}}}'
        assert list(read_paths(io.BytesIO(content))) == [(("a", "b", "c", "d"), None)]


class TestAnyValues:
    """read_values() accepts any JSON."""

    @pytest.mark.parametrize(
        ("text", "values"),
        [
            ('[{"a": 1}, 2, "three", null, [4], {"a": 5}]', [{"a": 1}, 2, "three", None, [4], {"a": 5}]),
            ("[]", []),
            ('{"asins": [{"a": 1}, 2], "more": 3}', [{"a": 1}, 2]),
            ('{"a": 1, "b": {}}', [{"a": 1, "b": {}}]),
            ('{"asins": 5}', [{"asins": 5}]),
            ("{}", [{}]),
            (" 17 ", [17]),
            ('"words"', ["words"]),
        ],
    )
    def test_any_json(self, text: str, values: list[object]) -> None:
        assert list(read_values(io.BytesIO(text.encode()))) == values

    def test_other_values_among_many_objects(self) -> None:
        values: list[object] = [{"asin": f"B{number:09}", "title": "x" * 50} for number in range(20_000)]
        values[7_777] = "not an object"
        assert list(read_values(io.BytesIO(json.dumps(values).encode()))) == values

    @pytest.mark.parametrize("text", ["", "nonsense", "[1", "[1,]", "[1] 2", '{"a"}', "[1 2]", "<html>"])
    def test_invalid_json_is_reported(self, text: str) -> None:
        with pytest.raises(InvalidRecords):
            list(read_values(io.BytesIO(text.encode())))

    def test_values_before_an_error_are_returned(self) -> None:
        values = read_values(io.BytesIO(b'[{"a": 1}, 2, oops]'))
        assert [next(values), next(values)] == [{"a": 1}, 2]
        with pytest.raises(InvalidRecords):
            next(values)
