"""Records as JSON, JSON Lines, CSV, XLSX and Parquet."""

import csv
import io
import json
import math
import shutil
import signal
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import dataset

from collections_app.records.formats import interruption, parquet, tables, xlsx
from collections_app.records.formats.export_formats import ExportSpec, Format, write_records
from collections_app.records.formats.flatten import Columns, flatten
from collections_app.records.formats.json_records import read_records
from collections_app.records.formats.json_text import json_text
from collections_app.records.formats.tables import ConversionError, TooWide, UnknownColumn
from tests.support import tools
from tests.support.tools import all_or_some, examples
from tests.support.workbooks import SHEET, rows_of_xlsx

Records = list[dict[str, Any]]

LAPTOPS: Records = [
    {
        "asin": "B1",
        "title": 'A 14" laptop, new',
        "price": {"cents": 129900, "currency": "AUD"},
        "tags": ["a", "b"],
    },
    {
        "asin": "B2",
        "title": "Zürich ノート",
        "in_stock": True,
        "price": {"cents": 5},
        "rating": 4.5,
        "note": None,
    },
]


def written(
    records: Records,
    kind: Format,
    folder: Path,
    *,
    batch: int = 2,
    batches: Sequence[Records] = (),
    **options: Any,
) -> bytes:
    """Return the records as a file, read in batches of a few. `batches` are read first."""

    def read() -> Iterator[Records]:
        yield from batches
        for start in range(0, len(records), batch):
            yield records[start : start + batch]

    out = io.BytesIO()
    folder = folder / "work"
    folder.mkdir()
    try:
        write_records(read, ExportSpec(kind, **options), out, folder=folder)
    finally:
        shutil.rmtree(folder)
    return out.getvalue()


def read(page: str) -> Records:
    return list(read_records(io.BytesIO(page.encode())))


def rows_of_csv(content: bytes, encoding: str = "utf-8") -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(encoding), newline="")))


def formats_of_xlsx(content: bytes) -> list[str]:
    """Return the number formats of the cells below the header."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        styles = ElementTree.fromstring(archive.read("xl/styles.xml"))
        sheet = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    codes = {each.attrib["numFmtId"]: each.attrib["formatCode"] for each in styles.iter(f"{SHEET}numFmt")}
    codes |= {"0": "General", "1": "0"}
    (of_cells,) = styles.iter(f"{SHEET}cellXfs")
    by_style = [codes[each.attrib["numFmtId"]] for each in of_cells]
    (_, *rows) = sheet.iter(f"{SHEET}row")
    return [by_style[int(cell.attrib.get("s", "0"))] for row in rows for cell in row]


def rows_of_parquet(content: bytes) -> Records:
    rows: Records = pq.read_table(io.BytesIO(content)).to_pylist()
    return rows


# Names that clash with the numbered forms of others.
ALIKE = [
    "a",
    "A",
    "a (2)",
    "A (2)",
    "a (3)",
    "a (2) (2)",
    "a (1)",
    "a (02)",
    "ß",
    "SS",
    "ss (2)",
    "b",
    " (2)",
]


class TestFlattening:
    def test_objects_become_columns_with_dotted_names(self) -> None:
        columns = Columns()
        columns.add(map(flatten, LAPTOPS))
        assert columns.names == [
            *("asin", "title", "price.cents", "price.currency", "tags", "in_stock", "rating", "note")
        ]

    def test_duplicate_names_get_a_number(self) -> None:
        columns = Columns()
        columns.add([flatten({"a": {"b": 1}, "a.b": 2, "A.B": 3}), flatten({"a.b (2)": 4})])
        assert columns.names == ["a.b", "a.b (2)", "A.B (3)", "a.b (2) (2)"]
        assert [columns.path_of(name) for name in columns.names] == [("a", "b"), "a.b", "A.B", "a.b (2)"]

    def test_invalid_names(self) -> None:
        columns = Columns()
        columns.add([flatten({"": 1, "a\0b": 2, "\ud800": 3})])
        assert columns.names == ["(no name)", "a\ufffdb", "?"]

    def test_the_deepest_readable_record(self) -> None:
        record: dict[str, Any] = {"x": 1}
        for _ in range(5000):
            record = {"x": record}
        assert list(flatten(record).values()) == [1]

    def test_many_deeply_nested_values_are_refused(self) -> None:
        """The paths of such a record are a hundred times as large as the record."""
        record: dict[str, Any] = {}
        for _ in range(500):
            record = {"value": 1, "inner": record}
        with pytest.raises(TooWide, match="nested too deeply for a table"):
            flatten(record)

    def test_an_empty_object_is_a_value(self) -> None:
        assert flatten({"a": {}, "b": {"c": {}}}) == {"a": {}, ("b", "c"): {}}

    @given(st.lists(st.sampled_from(ALIKE), max_size=12), st.sampled_from(ALIKE))
    def test_chosen_names_mean_the_same_as_among_all_names(self, keys: list[str], chosen: str) -> None:
        every, few = Columns(), Columns([chosen])
        for columns in (every, few):
            columns.add([{key: 1} for key in keys])
        assert few.path_of(chosen) == every.path_of(chosen)

    @given(st.lists(st.sampled_from(ALIKE), max_size=12, unique=True))
    def test_each_name_gets_the_first_free_number(self, keys: list[str]) -> None:
        columns = Columns()
        columns.add([dict.fromkeys(keys)])
        taken: list[str] = []
        for key in keys:
            free = (f"{key} ({number})" if number > 1 else key for number in count(1))
            taken.append(next(name for name in free if name.casefold() not in map(str.casefold, taken)))
        assert columns.names == taken

    def test_column_names_that_are_too_long_in_total_are_refused(self) -> None:
        record = {"x" * 10_000: {str(number): 1 for number in range(101)}}
        with pytest.raises(TooWide, match=r"total more than 1,000,000 characters. Choose the columns"):
            Columns().add([flatten(record)])


class TestLimits:
    """The limits of tables. Without them, a few hundred KB of records can produce a table of any size."""

    TABLES = pytest.mark.parametrize("kind", [Format.CSV, Format.XLSX, Format.PARQUET])

    @TABLES
    def test_more_than_5000_columns_are_refused(self, tmp_path: Path, kind: Format) -> None:
        records: Records = [{f"key{number}": number} for number in range(5_001)]
        with pytest.raises(TooWide) as error:
            written(records, kind, tmp_path)
        assert str(error.value) == (
            "These records have more than 5,000 columns. Choose the columns you need, or export JSON Lines."
        )

    @TABLES
    def test_more_than_50_million_cells_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Format
    ) -> None:
        monkeypatch.setattr(tables, "MOST_CELLS", 10)
        every: dict[str, Any] = {}
        for options in (every, {"columns": ("a", "b")}):
            assert written([{"a": 1, "b": 2}] * 5, kind, tmp_path, **options)
            with pytest.raises(ConversionError, match=r"more than 10 cells. Choose the columns you need"):
                written([{"a": 1, "b": 2}] * 6, kind, tmp_path, **options)

    @pytest.mark.parametrize("kind", Format)
    def test_columns_can_be_chosen_from_any_number(self, tmp_path: Path, kind: Format) -> None:
        records: Records = [{f"key{number}": number} for number in range(6_000)]
        assert written(records, kind, tmp_path, batch=500, columns=("key0", "key5999"))
        with pytest.raises(UnknownColumn, match=r"The columns are: key0, key1, .*key49, ….$"):
            written(records, kind, tmp_path, batch=500, columns=("key6000",))

    def test_json_has_no_column_limit(self, tmp_path: Path) -> None:
        records: Records = [{f"key{number}": number} for number in range(6_000)]
        assert json.loads(written(records, Format.JSON, tmp_path, batch=500)) == records


NUMBERS_AS_WRITTEN = [
    '{"p":1299.00,"q":0.1234567890123456789,"e":1E5}',
    '{"p":1299.00,"n":12345678901234567890123,"z":-0,"in":[1.50,{"a":1e+05}]}',
    '{"p":1299.00,"half":"\\ud83d","in":{"a":[-0.0,1e400]}}',
]


class TestJson:
    def test_records_are_unchanged(self, tmp_path: Path) -> None:
        assert json.loads(written(LAPTOPS, Format.JSON, tmp_path, batch=1)) == LAPTOPS
        lines = written(LAPTOPS, Format.JSONL, tmp_path, batch=1).decode().splitlines()
        assert [json.loads(line) for line in lines] == LAPTOPS

    def test_chosen_columns_keep_their_order_and_lists(self, tmp_path: Path) -> None:
        content = written(LAPTOPS, Format.JSON, tmp_path, columns=("tags", "price.cents", "rating"))
        assert [list(each.items()) for each in json.loads(content)] == [
            [("tags", ["a", "b"]), ("price.cents", 129900)],
            [("price.cents", 5), ("rating", 4.5)],
        ]

    @pytest.mark.parametrize("record", NUMBERS_AS_WRITTEN)
    def test_numbers_are_as_in_the_source(self, tmp_path: Path, record: str) -> None:
        records = read(f"[{record}]")
        assert written(records, Format.JSON, tmp_path).decode() == f"[{record}]\n"
        assert written(records, Format.JSONL, tmp_path).decode() == f"{record}\n"
        content = written(records, Format.JSON, tmp_path, columns=("p",))
        assert content == b'[{"p":1299.00}]\n'

    @pytest.mark.parametrize("kind", [Format.JSON, Format.JSONL])
    def test_values_that_are_hard_to_encode(self, tmp_path: Path, kind: Format) -> None:
        records = [{"half": "\ud83d", "large": 10**30, "line": "a\nb\u2028c", "é": "ü"}]
        content = written(records, kind, tmp_path)
        assert (json.loads(content)[0] if kind == Format.JSON else json.loads(content)) == records[0]

    def test_no_records(self, tmp_path: Path) -> None:
        assert json.loads(written([], Format.JSON, tmp_path)) == []
        assert written([], Format.JSONL, tmp_path) == b""


class TestCsv:
    def test_a_table(self, tmp_path: Path) -> None:
        content = written(LAPTOPS, Format.CSV, tmp_path)
        assert content.decode() == (
            "asin,title,price.cents,price.currency,tags,in_stock,rating,note\r\n"
            'B1,"A 14"" laptop, new",129900,AUD,"[""a"",""b""]",,,\r\n'
            "B2,Zürich ノート,5,,,true,4.5,\r\n"
        )

    def test_a_column_of_the_last_record_is_a_column_of_all(self, tmp_path: Path) -> None:
        records: Records = [{"a": 1}] * 5 + [{"b": 2}]
        assert rows_of_csv(written(records, Format.CSV, tmp_path))[:2] == [["a", "b"], ["1", ""]]

    def test_numbers_are_as_in_json(self, tmp_path: Path) -> None:
        page = (
            '[{"a":1299.00,"b":1E5,"c":-0,"d":0.1234567890123456789,"e":[1.50],"f":12345678901234567890123}]'
        )
        for excel in (False, True):
            content = written(read(page), Format.CSV, tmp_path, excel=excel)
            assert rows_of_csv(content)[1] == [
                *("1299.00", "1E5", "-0", "0.1234567890123456789", "[1.50]", "12345678901234567890123")
            ]

    def test_chosen_columns(self, tmp_path: Path) -> None:
        content = written(LAPTOPS, Format.CSV, tmp_path, columns=("price.cents", "asin"))
        assert content == b"price.cents,asin\r\n129900,B1\r\n5,B2\r\n"

    def test_a_missing_column(self, tmp_path: Path) -> None:
        with pytest.raises(UnknownColumn, match=r"column “asn”. The columns are: asin, title, price.cents"):
            written(LAPTOPS, Format.CSV, tmp_path, columns=("asin", "asn"))

    def test_no_records(self, tmp_path: Path) -> None:
        assert written([], Format.CSV, tmp_path) == b""
        assert written([], Format.CSV, tmp_path, columns=("a", "b")) == b"a,b\r\n"

    @pytest.mark.parametrize(
        "evil",
        [
            *(
                "=1+1",
                "=1",
                "+1+1",
                "-1+1",
                "-1-1",
                "@SUM(1)",
                "\t=1",
                "\r=1",
                "\n=1",
                "\n-1",
                '=cmd|"/c calc"!A1',
            ),
            *(
                "\uff1d1",
                "\uff0b1",
                "\uff0d1",
                "\uff201",
                "+49 30 123",
                "-A1",
                "-",
                "+",
                "--1",
                "-1%%",
                "-1\n",
                "+1:1",
            ),
            *("-1e5+1", "-.", "-%", "-1 1", "-1*1", "-$5", "-1(2)", "-\u0661"),
        ],
    )
    def test_the_spreadsheet_option_escapes_formulas(self, tmp_path: Path, evil: str) -> None:
        records: Records = [{evil: evil, "number": -5, "list": [evil], "plain": "a=b"}]
        content = written(records, Format.CSV, tmp_path, excel=True)
        assert content.startswith(b"\xef\xbb\xbf")
        header, row = rows_of_csv(content, "utf-8-sig")
        assert (header[0], row[0]) == (f"'{evil}", f"'{evil}")
        assert row[1:] == ["-5", json.dumps([evil], ensure_ascii=False), "a=b"]

    @pytest.mark.parametrize(
        "number",
        [
            *(
                "-26%",
                "-5.20",
                "+3",
                "-0",
                "-1,299.00",
                "-1.299,00",
                "-12.5 %",
                "-12,5\u00a0%",
                "+1e5",
                "-1.5E-3",
            ),
            *("-.5", "26%", "5.20", "-" + "1" * 30_000),
        ],
        ids=lambda number: number[:20],
    )
    def test_the_spreadsheet_option_leaves_numbers_and_percentages_alone(
        self, tmp_path: Path, number: str
    ) -> None:
        content = written([{"discount": number}], Format.CSV, tmp_path, excel=True)
        assert rows_of_csv(content, "utf-8-sig") == [["discount"], [number]]

    def test_columns_can_be_separated_by_semicolons(self, tmp_path: Path) -> None:
        records: Records = [{"a": "x;y", "b": "x,y", "c": "=1", "d": 1.5}]
        content = written(records, Format.CSV, tmp_path, separator=";")
        assert content.decode() == 'a;b;c;d\r\n"x;y";x,y;=1;1.5\r\n'
        content = written(records, Format.CSV, tmp_path, separator=";", excel=True)
        assert content.decode("utf-8-sig") == 'a;b;c;d\r\n"x;y";x,y;\'=1;1.5\r\n'

    def test_without_the_option_text_is_unchanged(self, tmp_path: Path) -> None:
        assert rows_of_csv(written([{"a": "=1"}], Format.CSV, tmp_path)) == [["a"], ["=1"]]


class TestXlsx:
    def test_a_sheet(self, tmp_path: Path) -> None:
        header, first, second = rows_of_xlsx(written(LAPTOPS, Format.XLSX, tmp_path))
        assert list(header.values())[:3] == ["asin", "title", "price.cents"]
        assert first == {"A": "B1", "B": 'A 14" laptop, new', "C": 129900, "D": "AUD", "E": '["a","b"]'}
        assert second == {"A": "B2", "B": "Zürich ノート", "C": 5, "F": True, "G": 4.5}

    @pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
    def test_an_error_closes_the_temporary_files(self, tmp_path: Path) -> None:
        def batches() -> Iterator[list[list[Any]]]:
            yield [["a"]]
            raise OSError

        records = tables.Table(("text",), batches)
        with pytest.raises(OSError) as error:  # noqa: PT011  # its traceback keeps the workbook alive
            xlsx.write([("Records", records)], tmp_path / "a.xlsx", folder=tmp_path)
        opened = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        assert error.tb is not None
        assert [path for path in opened if path.startswith(str(tmp_path))] == []

    def test_nothing_becomes_a_formula_or_a_link(self, tmp_path: Path) -> None:
        evil = ["=1+1", "https://example.com/", "{=1}", "+1", "007"]
        content = written([{"a": each} for each in evil], Format.XLSX, tmp_path)
        assert [row["A"] for row in rows_of_xlsx(content)] == ["a", *evil]

    def test_numbers_that_excel_would_change_become_text(self, tmp_path: Path) -> None:
        records: Records = [{"n": 10**15 - 1}, {"n": 10**15}, {"n": -(10**30)}]
        rows = rows_of_xlsx(written(records, Format.XLSX, tmp_path))
        assert [row["A"] for row in rows[1:]] == [10**15 - 1, str(10**15), str(-(10**30))]

    def test_ids_keep_their_zeros_and_long_integers_their_digits(self, tmp_path: Path) -> None:
        page = (
            '[{"ean": "0012345678905", "upc": 4006381333931, "asin": "0195153448", "model": "1-2", "n": 123}]'
        )
        content = written(read(page), Format.XLSX, tmp_path)
        (row,) = rows_of_xlsx(content)[1:]
        assert list(row.values()) == ["0012345678905", 4006381333931, "0195153448", "1-2", 123]
        assert formats_of_xlsx(content) == ["General", "0", "General", "General", "General"]

    @pytest.mark.parametrize(
        ("number", "value", "form"),
        [
            ("1299.00", 1299, "0.00"),
            ("-5.20", -5.2, "0.00"),
            ("12.5", 12.5, "0.0"),
            ("0.000000001", 1e-9, "0.000000000"),
            ("123456789012.345", 123456789012.345, "0.000"),
            # Excel shows 15 digits.
            ("4.333333333333333", 13 / 3, "0.00000000000000"),
            ("0.30000000000000004", 0.1 + 0.2, "0.000000000000000"),
            ("1E5", 100_000, "General"),
            ("1e-07", 1e-7, "General"),
            ("-0", 0, "0"),
            ("0." + "0" * 40 + "1", 1e-41, "General"),
            ("0.1234567890123456789", "0.1234567890123456789", "General"),
            ("1234567890123456.5", "1234567890123456.5", "General"),
            ("12345678901234567890123", "12345678901234567890123", "General"),
            ("1e400", "1e400", "General"),
        ],
    )
    def test_numbers_look_as_in_the_source_and_still_sum(
        self, tmp_path: Path, number: str, value: float | str, form: str
    ) -> None:
        content = written(read(f'[{{"n": {number}}}]'), Format.XLSX, tmp_path)
        assert rows_of_xlsx(content)[1] == {"A": value}
        assert formats_of_xlsx(content) == [form]

    def test_columns_are_wide_enough_for_their_numbers(self, tmp_path: Path) -> None:
        page = '[{"short": 1.25, "ean": 4006381333931, "long": 1.5}, {"long": -123456789.125}]'
        content = written(read(page), Format.XLSX, tmp_path)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            sheet = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
        widths = {each.attrib["min"]: float(each.attrib["width"]) for each in sheet.iter(f"{SHEET}col")}
        assert set(widths) == {"2", "3"}
        assert widths["2"] > 13
        assert widths["3"] > 14

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("first line\r\nsecond line", "first line\nsecond line"),
            ("a\rb\n\rc\r\r\nd", "a\nb\n\nc\n\nd"),
            ("\r\n", "\n"),
            ("_x0041_", "_x0041_"),
            ("_x000D_ and _x000d_x000D_", "_x000D_ and _x000d_x000D_"),
            ("<r>no _x0041_ markup</r>", "<r>no _x0041_ markup</r>"),
            ("<r></r>", "<r></r>"),
            ("_x000D_" * 400, "_x000D_" * 400),
            ("_x000D_\r_x0041_x0041_", "_x000D_\n_x0041_x0041_"),
        ],
    )
    def test_text_is_the_same_for_readers_that_do_not_know_escapes(
        self, tmp_path: Path, text: str, expected: str
    ) -> None:
        content = written([{"t": text, text: 1}], Format.XLSX, tmp_path)
        header, row = rows_of_xlsx(content)
        assert (header["B"], row["A"]) == (expected, expected)
        assert b"_x005F_" not in zipfile.ZipFile(io.BytesIO(content)).read("xl/worksheets/sheet1.xml")

    def test_characters_that_xml_refuses(self, tmp_path: Path) -> None:
        texts = ["a\x00b\x1f", "_x0041_\x00", "<r>\x01</r>", "\ud800", "\uffff", "<a&b>", " a "]
        rows = rows_of_xlsx(written([{"t": each} for each in texts], Format.XLSX, tmp_path))
        assert [row["A"] for row in rows[1:]] == [
            "a_x0000_b_x001F_",
            "_x005F_x0041__x0000_",
            " <r>_x0001_</r>",
            "?",
            "_xFFFF_",
            "<a&b>",
            " a ",
        ]

    @pytest.mark.parametrize("letter", ["x", "😀"])
    def test_long_text_is_truncated_with_a_note(self, tmp_path: Path, letter: str) -> None:
        text = letter * 40_000
        (row,) = rows_of_xlsx(written([{"t": text}], Format.XLSX, tmp_path))[1:]
        assert len(row["A"].encode("utf-16-le")) // 2 in {32_766, 32_767}
        assert row["A"].endswith(f"… (cut; {len(text.encode('utf-16-le')) // 2:,} characters)")

    def test_more_rows_than_fit_on_a_sheet(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(xlsx, "MOST_ROWS", 4)
        content = written([{"n": n} for n in range(7)], Format.XLSX, tmp_path)
        sheets = [[row["A"] for row in rows_of_xlsx(content, number)] for number in (1, 2, 3)]
        assert sheets == [["n", 0, 1, 2], ["n", 3, 4, 5], ["n", 6]]
        names = zipfile.ZipFile(io.BytesIO(content)).read("xl/workbook.xml").decode()
        assert 'name="Records"' in names
        assert 'name="Records 3"' in names

    def test_no_records(self, tmp_path: Path) -> None:
        assert rows_of_xlsx(written([], Format.XLSX, tmp_path)) == []


class TestParquet:
    def test_records_may_come_in_empty_batches(self, tmp_path: Path) -> None:
        content = written([], Format.PARQUET, tmp_path, batches=[[], LAPTOPS, []])
        assert len(rows_of_parquet(content)) == len(LAPTOPS)

    def test_columns_have_types(self, tmp_path: Path) -> None:
        content = written(LAPTOPS, Format.PARQUET, tmp_path)
        assert {name: str(kind) for name, kind in zip(*_schema(content), strict=True)} == {
            "asin": "string",
            "title": "string",
            "price.cents": "double",
            "price.currency": "string",
            "tags": "string",
            "in_stock": "string",
            "rating": "double",
            "note": "null",
        }
        assert rows_of_parquet(content)[1] == {
            "asin": "B2",
            "title": "Zürich ノート",
            "price.cents": 5,
            "price.currency": None,
            "tags": None,
            "in_stock": "true",
            "rating": 4.5,
            "note": None,
        }

    @pytest.mark.parametrize(
        ("values", "kind", "expected"),
        [
            ([1, 2.5], "double", [1.0, 2.5]),
            ([2**53 + 1, 2.5], "string", [str(2**53 + 1), "2.5"]),
            ([1, 2], "double", [1.0, 2.0]),
            ([2**53, -(2**53)], "double", [2.0**53, -(2.0**53)]),
            ([2**53 + 1], "string", [str(2**53 + 1)]),
            ([10**400], "string", [str(10**400)]),
            ([1, "1"], "string", ["1", "1"]),
            ([True, 1], "string", ["true", "1"]),
            ([None, None], "null", [None, None]),
            ([True, None, False], "string", ["true", None, "false"]),
            (["", None, '"', "a\r\nb", "a\0b", "\ud800"], "string", ["", None, '"', "a\r\nb", "a\0b", "?"]),
            ([[], {}, None, [None]], "string", ["[]", "{}", None, "[null]"]),
            ([0.1 + 0.2, 1e308, 5e-324], "double", [0.1 + 0.2, 1e308, 5e-324]),
        ],
    )
    def test_values(self, tmp_path: Path, values: list[Any], kind: str, expected: list[Any]) -> None:
        content = written([{"v": value} for value in values], Format.PARQUET, tmp_path)
        assert str(_schema(content)[1][0]) == kind
        assert [row["v"] for row in rows_of_parquet(content)] == expected

    @pytest.mark.parametrize(
        ("numbers", "kind", "expected"),
        [
            ("1299.00, 1E5, -0, 12.5", "double", [1299.0, 1e5, 0.0, 12.5]),
            ("0.30000000000000004, 4.333333333333333", "double", [0.1 + 0.2, 13 / 3]),
            ("1.00, 0.1234567890123456789", "string", ["1.00", "0.1234567890123456789"]),
            ("1.0, 123456789012345678.0", "string", ["1.0", "123456789012345678.0"]),
            ("0e5, 1e400", "string", ["0e5", "1e400"]),
            ("1e-400", "string", ["1e-400"]),
            ("[1.50], 2.50", "string", ["[1.50]", "2.50"]),
        ],
    )
    def test_a_number_that_a_double_would_change_makes_its_column_text(
        self, tmp_path: Path, numbers: str, kind: str, expected: list[Any]
    ) -> None:
        records = [{"v": value} for value in read(f'[{{"v": [{numbers}]}}]')[0]["v"]]
        content = written(records, Format.PARQUET, tmp_path)
        assert str(_schema(content)[1][0]) == kind
        assert [row["v"] for row in rows_of_parquet(content)] == expected

    @pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 1, 3)])
    def test_files_of_several_runs_can_be_read_together(self, tmp_path: Path, order: tuple[int, ...]) -> None:
        runs: dict[int, Records] = {
            1: read('[{"asin": "1", "price": 10, "tags": [1], "in_stock": true}]'),
            2: read('[{"asin": "2", "price": 12.5, "tags": [], "in_stock": false}]'),
            3: read('[{"asin": "3", "price": 1299.00, "tags": [2], "in_stock": true}]'),
        }
        for number, records in runs.items():
            (tmp_path / f"{number}.parquet").write_bytes(written(records, Format.PARQUET, tmp_path))
        paths = [str(tmp_path / f"{number}.parquet") for number in order]
        prices = {"1": 10, "2": 12.5, "3": 1299}
        found = duckdb.connect().sql(f"SELECT asin, price FROM read_parquet({paths})").fetchall()
        assert dict(found) == prices
        table = dataset.dataset(paths).to_table()
        assert dict(zip(table["asin"].to_pylist(), table["price"].to_pylist(), strict=True)) == prices

    @pytest.mark.parametrize(
        ("one", "other", "together"),
        all_or_some(
            [
                ([None], [12.5], [12.5, None]),
                ([None], ["a"], ["a", None]),
                ([None], [True], ["true", None]),
                ([None], [None], [None, None]),
                ([True], ["a"], ["a", "true"]),
                ([True], [False], ["false", "true"]),
                ([5], [True], ["5.0", "true"]),
                ([5], [2**53 + 1], ["5.0", str(2**53 + 1)]),
                ([], [12.5], [12.5]),
            ],
            3,
        ),
    )
    def test_runs_with_different_types_can_be_read_together(
        self, tmp_path: Path, one: list[Any], other: list[Any], together: list[Any]
    ) -> None:
        paths = [str(tmp_path / "1.parquet"), str(tmp_path / "2.parquet")]
        for path, values in zip(paths, (one, other), strict=True):
            records = [{"asin": str(value), "v": value} for value in values]
            Path(path).write_bytes(written(records, Format.PARQUET, tmp_path))
        for order in (paths, paths[::-1]):
            statement = f"SELECT v FROM read_parquet({order}, union_by_name = true) ORDER BY v::VARCHAR"
            assert [v for (v,) in duckdb.connect().sql(statement).fetchall()] == together
            with suppress(pa.ArrowTypeError):  # text and numbers
                schemas = [pq.read_schema(path) for path in order]
                schema = pa.unify_schemas(schemas, promote_options="permissive")
                column = dataset.dataset(order, schema=schema).to_table()["v"].to_pylist()
                assert sorted(column, key=str) == sorted(together, key=str)

    @pytest.mark.parametrize(("one", "other"), [(None, 12.5), (None, True), (True, 5), (True, "a")])
    def test_reading_with_the_types_of_one_run_changes_no_value(
        self, tmp_path: Path, one: object, other: object
    ) -> None:
        paths = [str(tmp_path / "1.parquet"), str(tmp_path / "2.parquet")]
        for path, value in zip(paths, (one, other), strict=True):
            Path(path).write_bytes(written([{"v": value}], Format.PARQUET, tmp_path))
        for order in (paths, paths[::-1]):
            found: list[Any] = []
            with suppress(duckdb.Error):
                found = [v for (v,) in duckdb.connect().sql(f"FROM read_parquet({order})").fetchall()]
            with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
                found += dataset.dataset(order).to_table()["v"].to_pylist()
            assert {value if value is None else str(value) for value in found} <= {
                *(None, "true", "5", "5.0", "12.5", "a")
            }

    def test_many_rows_keep_their_order(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parquet, "_PART_BYTES", 10_000)
        monkeypatch.setattr(parquet, "_GROUP_BYTES", 10_000)
        records: Records = [{"n": n, "t": str(n)} for n in range(30_000)]
        assert rows_of_parquet(written(records, Format.PARQUET, tmp_path, batch=700)) == records

    def test_names_cannot_inject_sql(self, tmp_path: Path) -> None:
        evil = """a" FROM read_csv('/etc/passwd'); --'"""
        assert rows_of_parquet(written([{evil: 1, "b'": 2}], Format.PARQUET, tmp_path)) == [
            {evil: 1, "b'": 2}
        ]

    def test_a_folder_with_a_quotation_mark(self, tmp_path: Path) -> None:
        folder = tmp_path / "it's"
        folder.mkdir()
        assert rows_of_parquet(written([{"a": 1}], Format.PARQUET, folder)) == [{"a": 1}]

    def test_a_very_long_text(self, tmp_path: Path) -> None:
        text = "ü" * 3_000_000
        assert rows_of_parquet(written([{"t": text}], Format.PARQUET, tmp_path)) == [{"t": text}]

    def test_an_interruption_stops_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lock_down = parquet._lock_down

        def interrupt_soon(*given: Any) -> None:
            lock_down(*given)
            signal.setitimer(signal.ITIMER_REAL, 0.01)  # DuckDB is running by then

        monkeypatch.setattr(parquet, "_lock_down", interrupt_soon)
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                written([{"n": n} for n in range(60_000)], Format.PARQUET, tmp_path, batch=60_000)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def test_duckdb_is_interrupted_when_it_has_to_stop(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(interruption, "CHECK_SECONDS", 0.002)
        rows = [{"n": n, "text": f"{n}" * 20} for n in range(60_000)]
        with pytest.raises(parquet.Interrupted):
            write_records(
                lambda: iter([rows]),
                ExportSpec(Format.PARQUET),
                io.BytesIO(),
                folder=tmp_path,
                is_over=lambda: True,
            )

    def test_duckdb_reads_it_too(self, tmp_path: Path) -> None:
        path = tmp_path / "a.parquet"
        path.write_bytes(written(LAPTOPS, Format.PARQUET, tmp_path))
        found = (
            duckdb.connect()
            .sql(f"SELECT sum(\"price.cents\"), count(*) FROM read_parquet('{path}')")
            .fetchall()
        )
        assert found == [(129905, 2)]

    def test_records_without_columns_become_rows(self, tmp_path: Path) -> None:
        assert pq.read_table(io.BytesIO(written([], Format.PARQUET, tmp_path))).num_rows == 0
        assert pq.read_table(io.BytesIO(written([{}, {}, {}], Format.PARQUET, tmp_path))).num_rows == 3


def _schema(content: bytes) -> tuple[list[str], list[Any]]:
    schema = pq.read_schema(io.BytesIO(content))
    return schema.names, schema.types


# --- whatever the records are ---------------------------------------------------------------------

NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc."), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "a.b", "A", "c"]) | TEXTS, VALUES, max_size=4), max_size=5
)


def expected_table(records: Records) -> tuple[list[str], list[list[Any]]]:
    """Return the column names and the rows, with None for missing values."""
    columns = Columns()
    flats = [flatten(record) for record in records]
    columns.add(flats)
    return columns.names, [[each.get(path) for path in columns.paths] for each in flats]


def as_text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool() | list() | dict():
            return json_text(value)
    return str(value)


@given(RECORDS)
def test_json_round_trips_any_records(tmp_path_factory: pytest.TempPathFactory, records: Records) -> None:
    folder = tmp_path_factory.mktemp("json")
    assert json.loads(written(records, Format.JSON, folder)) == records
    lines = written(records, Format.JSONL, folder).split(b"\n")[:-1]
    assert [json.loads(line) for line in lines] == records


@given(RECORDS)
def test_csv_round_trips_any_table(tmp_path_factory: pytest.TempPathFactory, records: Records) -> None:
    names, rows = expected_table(records)
    found = rows_of_csv(written(records, Format.CSV, tmp_path_factory.mktemp("csv")))
    assert found[:1] == ([names] if names else [])
    assert found[1:] == [list(map(as_text, row)) for row in rows if names]


@settings(max_examples=examples(30))  # each takes DuckDB a moment
@given(RECORDS)
def test_parquet_round_trips_any_table(tmp_path_factory: pytest.TempPathFactory, records: Records) -> None:
    names, rows = expected_table(records)
    found = rows_of_parquet(written(records, Format.PARQUET, tmp_path_factory.mktemp("parquet")))
    assert len(found) == len(records)
    for column, name in enumerate(names):
        for row, expected in zip(found, rows, strict=True):
            value, wanted = row[name], expected[column]
            if isinstance(value, str):
                assert value == as_text(wanted)
            else:
                assert value == wanted or math.isclose(value, wanted)


@given(RECORDS)
def test_xlsx_is_well_formed_for_any_records(
    tmp_path_factory: pytest.TempPathFactory, records: Records
) -> None:
    names, rows = expected_table(records)
    found = rows_of_xlsx(written(records, Format.XLSX, tmp_path_factory.mktemp("xlsx")))
    filled = sum(value is not None and value != "" for row in rows for value in row)
    assert sum(map(len, found)) == filled + len(names)


def test_records_without_columns_are_omitted_from_csv_and_xlsx(tmp_path: Path) -> None:
    records: Records = [{}, {}, {}]
    assert written(records, Format.CSV, tmp_path) == b""
    assert rows_of_xlsx(written(records, Format.XLSX, tmp_path)) == []
    assert json.loads(written(records, Format.JSON, tmp_path)) == records


# --- LibreOffice ------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_libreoffice_reads_the_same_records(tmp_path: Path) -> None:
    office = tools.needs("soffice")
    records = [*LAPTOPS, {"asin": "=1+1", "title": "+A1\nsecond line", "price": {"cents": -7}, "tags": []}]
    (tmp_path / "text.csv").write_bytes(written(records, Format.CSV, tmp_path, excel=True))
    (tmp_path / "book.xlsx").write_bytes(written(records, Format.XLSX, tmp_path))
    out = tmp_path / "out"
    # Once for both, as starting it is what takes long; the filter is that of the CSV alone.
    tools.run(
        *(office, "--headless", f"-env:UserInstallation=file://{tmp_path}/profile"),
        "--infilter=CSV:44,34,UTF8",
        *("--convert-to", "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false"),
        *("--outdir", out, tmp_path / "text.csv", tmp_path / "book.xlsx"),
    )
    for name, guard in (("text.csv", "'"), ("book.csv", "")):
        header, *rows = rows_of_csv((out / name).read_bytes())
        assert header == [
            "asin",
            "title",
            "price.cents",
            "price.currency",
            "tags",
            "in_stock",
            "rating",
            "note",
        ]
        assert [row[:3] for row in rows] == [
            ["B1", 'A 14" laptop, new', "129900"],
            ["B2", "Zürich ノート", "5"],
            [f"{guard}=1+1", f"{guard}+A1\nsecond line", "-7"],
        ]
        assert [row[4] for row in rows] == ['["a","b"]', "", "[]"]
