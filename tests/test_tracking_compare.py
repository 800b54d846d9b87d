"""What changed between two runs, by their records."""

import itertools
import json
import random
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collections_app.records.formats.json_records import Number, read_texts
from collections_app.records.formats.json_text import encoded, json_text
from collections_app.records.preview.engine import open_database
from collections_app.records.tracking import slices
from collections_app.records.tracking.compare import Comparer, Entry
from collections_app.records.tracking.counts import Counts
from collections_app.records.tracking.keys import Key, suggest_key
from collections_app.records.tracking.kinds import ChangeKind
from collections_app.records.tracking.slices import SliceFile, described, write_slice
from collections_app.records.tracking.values import Nothing, value_of
from tests.support import tools
from tests.support.tools import ROOT

LAPTOP = {"asin": "B01", "title": "Laptop", "price_cents": 129900, "in_stock": True, "seller_name": "Nile"}
MOUSE = {"asin": "B02", "title": "Mouse", "price_cents": 1500, "in_stock": False, "seller_name": "Nile"}
DESK = {"asin": "B03", "title": "Desk", "price_cents": 30000, "in_stock": True, "seller_name": "Nile"}
ASIN = ("asin",)

Records = Sequence[dict[str, Any]]


def slice_of(records: Iterable[object], folder: Path, name: str = "run") -> SliceFile:
    """Write the slice of records that come from a JSON file."""
    source, path = folder / f"{name}.json", folder / f"{name}.parquet"
    path.unlink(missing_ok=True)
    source.write_bytes(b"[" + b",".join(map(encoded, records)) + b"]")
    with source.open("rb") as stream:
        write_slice(read_texts(stream), folder / f"{name}.lines", path)
    return described(path)


def compare(
    before: Records,
    after: Records,
    folder: Path,
    key: Key = ASIN,
    *,
    between: Sequence[Records] = (),
    earlier: Sequence[Records] = (),
    is_partial: bool = False,
) -> tuple[list[Entry], Counts]:
    run, since = slice_of(after, folder, "after"), slice_of(before, folder, "before")
    skipped = [slice_of(records, folder, f"between{index}") for index, records in enumerate(between)]
    older = [slice_of(records, folder, f"earlier{index}") for index, records in enumerate(earlier)]
    with open_database(*(each.path for each in (run, since, *skipped, *older)), seconds=60) as database:
        comparison = Comparer(
            database, since, run, key, between=skipped, earlier=older, is_partial=is_partial
        )
        entries = list(comparison.entries())
    return entries, comparison.counts


def kinds(entries: Iterable[Entry]) -> list[tuple[str, str | None]]:
    return sorted((entry.kind.value, entry.column) for entry in entries)


class TestKinds:
    @pytest.mark.parametrize(
        ("column", "was", "now", "kind"),
        [
            ("price_cents", 129900, 114900, ChangeKind.PRICE_DOWN),
            ("price_cents", 129900, 134900, ChangeKind.PRICE_UP),
            ("price_cents", 129900, None, ChangeKind.OTHER),
            ("in_stock", True, False, ChangeKind.SOLD_OUT),
            ("in_stock", False, True, ChangeKind.BACK),
            ("seller_name", "Nile", "Volga", ChangeKind.SELLER),
            ("seller_name", "Nile", None, ChangeKind.OTHER),
            ("title", "Laptop", "Laptop 16 GB", ChangeKind.OTHER),
        ],
    )
    def test_a_change_has_the_kind_of_its_column(
        self, tmp_path: Path, column: str, was: object, now: object, kind: ChangeKind
    ) -> None:
        entries, counts = compare([LAPTOP | {column: was}], [LAPTOP | {column: now}], tmp_path)
        assert kinds(entries) == [(kind, column)]
        assert (counts.matched, counts.products) == (1, {kind: 1})

    def test_a_price_change_has_a_percentage_and_an_amount(self, tmp_path: Path) -> None:
        ([entry], _) = compare([LAPTOP], [LAPTOP | {"price_cents": 114900}], tmp_path)
        assert (entry.key, entry.title, entry.was, entry.now) == ('["B01"]', "Laptop", "129900", "114900")
        assert (entry.percent, entry.amount) == (Decimal("-11.5"), Decimal(-150))
        assert (entry.number_before, entry.number) == (1, 1)

    @pytest.mark.parametrize("price", ["1e400", "999999999999999999"])
    def test_a_change_that_is_too_large_has_no_percentage(self, tmp_path: Path, price: str) -> None:
        before, after = ({"asin": "B01", "price": Number(text.encode())} for text in ("1e-18", price))
        ([entry], _) = compare([before], [after], tmp_path)
        assert (entry.kind, entry.percent) == (ChangeKind.PRICE_UP, None)

    def test_another_currency_is_no_change_of_the_price(self, tmp_path: Path) -> None:
        before = {"asin": "B01", "price": "12.00", "currency": "AUD"}
        (entries, _) = compare([before], [before | {"currency": "USD"}], tmp_path)
        assert kinds(entries) == [("currency", "price")]
        assert [(entry.currency_before, entry.currency) for entry in entries] == [("AUD", "USD")]

    def test_a_product_with_several_changes_is_counted_for_each_kind(self, tmp_path: Path) -> None:
        after = LAPTOP | {"price_cents": 1, "in_stock": False, "title": "?", "brand": "?"}
        _, counts = compare([LAPTOP | {"brand": "A"}], [after], tmp_path)
        assert counts.products == {ChangeKind.PRICE_DOWN: 1, ChangeKind.SOLD_OUT: 1, ChangeKind.OTHER: 1}


class TestEquality:
    @pytest.mark.parametrize(
        ("was", "now"),
        [
            (1299, 1299.0),
            (1299, "1299.00"),
            ("Caf\u00e9", "Cafe\u0301 "),
            ("two  words", "two words"),
            (["a", "b", {"c": 1}], [{"c": 1}, "b", "a"]),
            ([{"a": 1, "b": [1, 2]}], [{"b": [2, 1.0], "a": "1.00"}]),
            ([{}, ""], ["", []]),
            ([], " "),
        ],
    )
    def test_values_that_mean_the_same_do_not_differ(self, tmp_path: Path, was: object, now: object) -> None:
        assert compare([LAPTOP | {"x": was}], [LAPTOP | {"x": now}], tmp_path)[0] == []

    @pytest.mark.parametrize(
        ("was", "now"),
        [
            *((1, True), ("1", "01"), ("a", "A"), (0, None), ("x" * 2000, "x" * 2000 + "y"), ([1], [2])),
            *(([1], [True]), ([1, 1], [1]), ([{"a": 1}], [{"a": 2}]), ([10**30], [10**30 + 1]), ([0], [])),
        ],
    )
    def test_values_that_differ_are_a_change(self, tmp_path: Path, was: object, now: object) -> None:
        entries, _ = compare([LAPTOP | {"x": was}], [LAPTOP | {"x": now}], tmp_path)
        assert kinds(entries) == [("other", "x")]

    def test_long_values_of_large_records_differ(self, tmp_path: Path) -> None:
        before = LAPTOP | {"more": "x" * 2_000_000, "text": "x" * 2000}
        entries, _ = compare([before], [before | {"text": "x" * 2000 + "y"}], tmp_path)
        assert kinds(entries) == [("other", "text")]

    def test_lists_are_json_in_which_the_items_are_sorted(self, tmp_path: Path) -> None:
        entries, _ = compare([LAPTOP | {"x": ["b", 'a"']}], [LAPTOP | {"x": [{"c": [2, 1]}, None]}], tmp_path)
        assert [(entry.was, entry.now) for entry in entries] == [('["a\\"","b"]', '[null,{"c":[2,1]}]')]

    def test_prices_in_text_are_compared_as_amounts(self, tmp_path: Path) -> None:
        before = {"asin": "B01", "price": "$1,299.00"}
        ([entry], _) = compare([before], [{"asin": "B01", "price": "$1,149.00"}], tmp_path)
        assert (entry.kind, entry.amount) == (ChangeKind.PRICE_DOWN, Decimal(-150))
        assert compare([before], [{"asin": "B01", "price": "$1299"}], tmp_path)[0] == []

    def test_prices_that_are_ambiguous_in_the_whole_column_stay_text(self, tmp_path: Path) -> None:
        before: Records = [{"asin": "B01", "price": "3.350"}, {"asin": "B02", "price": "4.125"}]
        after: Records = [{"asin": "B01", "price": "3.150"}, before[1]]
        assert kinds(compare(before, after, tmp_path)[0]) == [("other", "price")]

    @pytest.mark.parametrize("column", ["x", "price", "stock", "seller"])
    def test_absent_null_and_empty_values_differ(self, tmp_path: Path, column: str) -> None:
        nothing: Records = [{}, {column: None}, {column: ""}, {column: " \n"}]
        pairs = [(was, now) for was in nothing for now in nothing]
        before = [{"asin": str(index)} | was for index, (was, _) in enumerate(pairs)]
        after = [{"asin": str(index)} | now for index, (_, now) in enumerate(pairs)]
        entries, counts = compare(before, after, tmp_path)
        assert {(each.kind, each.column) for each in entries} == {("other", column)}
        assert counts.by_name()["other"] == 10  # all but four of a kind, and two spellings of empty
        words = {(value_of(each.was), value_of(each.now)) for each in entries}
        assert words == set(itertools.permutations(Nothing, 2))


class TestMatching:
    def test_unmatched_records_are_new_or_missing(self, tmp_path: Path) -> None:
        entries, counts = compare([LAPTOP, MOUSE], [MOUSE, DESK], tmp_path)
        assert {(entry.key, entry.kind.value) for entry in entries} == {
            ('["B01"]', "missing"),
            ('["B03"]', "new"),
        }
        assert (counts.matched, counts.products) == (1, {ChangeKind.MISSING: 1, ChangeKind.NEW: 1})

    def test_duplicates_and_records_without_a_key_are_never_matched(self, tmp_path: Path) -> None:
        before = [LAPTOP, MOUSE, MOUSE, DESK | {"asin": None}]
        after: Records = [LAPTOP, LAPTOP, MOUSE, DESK | {"asin": " "}, {"title": "No key"}]
        entries, counts = compare(before, after, tmp_path)
        assert entries == []
        assert (counts.matched, counts.duplicates, counts.duplicates_before) == (0, 3, 3)
        assert (counts.without_key, counts.without_key_before) == (2, 1)

    @pytest.mark.parametrize("space", ["\n", "\t", "\r\n", "\x0b", "\x1f", "\x85", "\u00a0", "\u2028"])
    def test_keys_are_trimmed_as_python_does(self, tmp_path: Path, space: str) -> None:
        _, counts = compare(
            [LAPTOP, DESK], [LAPTOP | {"asin": f"{space}B01{space}"}, {"asin": space}], tmp_path
        )
        assert (counts.matched, counts.without_key) == (1, 1)

    def test_keys_are_trimmed_and_keep_their_case(self, tmp_path: Path) -> None:
        _, counts = compare([LAPTOP, MOUSE], [LAPTOP | {"asin": " B01 "}, MOUSE | {"asin": "b02"}], tmp_path)
        assert (counts.matched, counts.products) == (1, {ChangeKind.MISSING: 1, ChangeKind.NEW: 1})

    def test_a_key_may_have_several_columns(self, tmp_path: Path) -> None:
        before = [LAPTOP | {"postcode": code} for code in ("2000", "3000")]
        _, counts = compare(before, before, tmp_path, ("asin", "postcode"))
        assert (counts.matched, counts.duplicates) == (2, 0)


class TestUnmatchedProducts:
    @pytest.mark.parametrize(
        ("between", "kind"),
        [
            ([], ChangeKind.MISSING),
            ([[MOUSE]], ChangeKind.GONE),
            ([[LAPTOP]], ChangeKind.MISSING),
            ([[LAPTOP, LAPTOP]], ChangeKind.MISSING),  # it was there, although it can't be matched
            ([[LAPTOP], [MOUSE]], ChangeKind.MISSING),  # the newest run decides
            ([[MOUSE], [LAPTOP]], ChangeKind.GONE),
        ],
    )
    def test_a_product_is_gone_if_two_complete_runs_in_a_row_lack_it(
        self, tmp_path: Path, between: Sequence[Records], kind: ChangeKind
    ) -> None:
        entries, counts = compare([LAPTOP, MOUSE], [MOUSE], tmp_path, between=between)
        assert [(entry.key, entry.kind) for entry in entries] == [('["B01"]', kind)]
        assert (counts.matched, counts.products) == (1, {kind: 1})

    def test_a_product_that_a_partial_run_lacks_was_not_scraped(self, tmp_path: Path) -> None:
        entries, counts = compare([LAPTOP, MOUSE], [MOUSE], tmp_path, between=[[MOUSE]], is_partial=True)
        assert kinds(entries) == [("not_scraped", None)]
        assert counts.products == {ChangeKind.NOT_SCRAPED: 1}

    @pytest.mark.parametrize(
        ("earlier", "kind"),
        [
            ([], ChangeKind.NEW),
            ([[MOUSE], [{"title": "Laptop"}]], ChangeKind.NEW),
            ([[MOUSE], [LAPTOP | {"asin": " B01"}, DESK]], ChangeKind.RETURNED),
        ],
    )
    def test_a_product_that_an_earlier_run_contains_has_returned(
        self, tmp_path: Path, earlier: Sequence[Records], kind: ChangeKind
    ) -> None:
        entries, counts = compare([MOUSE], [MOUSE, LAPTOP], tmp_path, earlier=earlier)
        assert [(entry.key, entry.kind, entry.number) for entry in entries] == [('["B01"]', kind, 2)]
        assert counts.by_name() | {"matched": 0, kind.value: 0} == dict.fromkeys(counts.by_name(), 0)


class TestVolatileColumns:
    def test_columns_that_change_in_every_record_are_marked(self, tmp_path: Path) -> None:
        before: Records = [LAPTOP | {"asin": f"B{n}", "views": n} for n in range(20)]
        after = [record | {"views": record["views"] + 1} for record in before]
        entries, counts = compare(before, after, tmp_path)
        assert {(entry.column, entry.is_volatile) for entry in entries} == {("views", True)}
        assert (counts.products, counts.volatile_of) == ({}, 20)

    @pytest.mark.parametrize("column", ["position", "scraped_at", "data.scrapedAt", "Page Number"])
    def test_columns_are_known_by_their_names(self, tmp_path: Path, column: str) -> None:
        entries, counts = compare([LAPTOP | {column: 1}], [LAPTOP | {column: 2}], tmp_path)
        assert [(entry.column, entry.is_volatile) for entry in entries] == [(column, True)]
        assert (counts.products, counts.volatile_of) == ({}, 1)

    def test_prices_are_never_left_out(self, tmp_path: Path) -> None:
        before = [LAPTOP | {"asin": f"B{n}"} for n in range(20)]
        after = [record | {"price_cents": 100} for record in before]
        assert compare(before, after, tmp_path)[1].products == {ChangeKind.PRICE_DOWN: 20}


class TestKey:
    @pytest.mark.parametrize(
        ("records", "key"),
        [
            ([LAPTOP, MOUSE], ("asin",)),
            ([LAPTOP | {"postcode": "2000"}, LAPTOP | {"postcode": "3000"}], ("asin", "postcode")),
            ([{"asin": None, "sku": "1"}, {"asin": None, "sku": "2"}], ("sku",)),
            ([LAPTOP, LAPTOP], None),
            ([{"name": "Laptop"}], None),
            ([], None),
        ],
    )
    def test_the_first_column_that_is_filled_in_and_unique_is_suggested(
        self, tmp_path: Path, records: Records, key: Key | None
    ) -> None:
        run = slice_of(records, tmp_path)
        with open_database(run.path, seconds=5) as database:
            assert suggest_key(database, run) == key


# Many pairs of records are compared at once, because each comparison takes long.
spellings = st.one_of(
    st.integers(-(10**6), 10**6).map(
        lambda n: (n, st.sampled_from([n, float(n), str(n), f"{n}.0", f" {n}.00"]))
    ),
    st.text(st.characters(codec="utf-8"), min_size=1).map(
        lambda text: (text, st.sampled_from([text, unicodedata.normalize("NFD", text), f"  {text}\n"]))
    ),
    st.lists(st.integers(0, 9) | st.text(st.characters(codec="ascii"))).map(
        lambda items: (items, st.permutations(items))
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=tools.examples(30))
@given(st.lists(spellings, max_size=50), st.data())
def test_values_that_mean_the_same_never_differ(
    tmp_path: Path, pairs: Sequence[tuple[object, st.SearchStrategy[object]]], data: st.DataObject
) -> None:
    before = [{"asin": str(index), "x": value} for index, (value, _) in enumerate(pairs)]
    after = [{"asin": str(index), "x": data.draw(others)} for index, (_, others) in enumerate(pairs)]
    assert compare(before, after, tmp_path)[0] == []


cells = (
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "1", "1.0", "a", "$5", "in stock"])
)
records = st.fixed_dictionaries(
    {"asin": st.sampled_from(["A", "B", "C", "", None])},
    optional={"price": cells, "stock": cells, "seller": cells, "x": cells | st.lists(cells, max_size=2)},
)
runs = st.lists(records, max_size=6)
LATER = ("matched", "new", "returned", "duplicates", "without_key")
EARLIER = ("matched", "missing", "gone", "not_scraped", "duplicates_before", "without_key_before")
no_fixture_check = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@no_fixture_check
@given(runs, runs)
def test_counts_add_up_to_the_records_of_both_runs(tmp_path: Path, before: Records, after: Records) -> None:
    _, counts = compare(before, after, tmp_path)
    names = counts.by_name()
    assert sum(names[name] for name in LATER) == len(after)
    assert sum(names[name] for name in EARLIER) == len(before)


@no_fixture_check
@given(runs, runs, st.randoms())
def test_the_order_of_records_does_not_matter(
    tmp_path: Path, before: Records, after: Records, shuffled: random.Random
) -> None:
    def seen(records: Records) -> set[tuple[Any, ...]]:
        entries, _ = compare(before, records, tmp_path)
        return {(each.key, each.kind, each.column, each.was, each.now) for each in entries}

    assert seen(after) == seen(shuffled.sample(after, len(after)))


@no_fixture_check
@given(runs)
def test_a_run_does_not_differ_from_itself(tmp_path: Path, run: Records) -> None:
    assert compare(run, run, tmp_path)[0] == []


MIRRORED = {
    ChangeKind.PRICE_DOWN: ChangeKind.PRICE_UP,
    ChangeKind.SOLD_OUT: ChangeKind.BACK,
    ChangeKind.NEW: ChangeKind.MISSING,
}
MIRRORED |= {after: before for before, after in MIRRORED.items()}


@no_fixture_check
@given(runs, runs)
def test_a_comparison_backwards_mirrors_it(tmp_path: Path, before: Records, after: Records) -> None:
    forwards, _ = compare(before, after, tmp_path)
    backwards, _ = compare(after, before, tmp_path)
    mirrored = {
        (each.key, MIRRORED.get(each.kind, each.kind), each.column, each.now, each.was) for each in forwards
    }
    assert {(each.key, each.kind, each.column, each.was, each.now) for each in backwards} == mirrored


@pytest.mark.thorough
def test_many_long_changes_are_found_in_the_memory_of_a_database(tmp_path: Path) -> None:
    # 5 of 6 records, so that the column isn't volatile. The values of each run take 270 MB.
    runs = list[SliceFile]()
    for name in ("before", "after"):
        path = tmp_path / f"{name}.parquet"
        texts = f"repeat(md5(concat(range, CASE WHEN range % 6 > 0 THEN '{name}' ELSE '' END)), 30)"
        cells = f"range + 1 AS n, concat('\"B', range, '\"') AS c0, concat('\"', {texts}, '\"') AS c1"
        duckdb.execute(f"COPY (SELECT {cells} FROM range(288000)) TO '{path}' (ROW_GROUP_SIZE 20480)")
        runs.append(SliceFile(path, ("asin", "description")))
    with open_database(*(run.path for run in runs), seconds=600) as database:
        comparison = Comparer(database, runs[0], runs[1], ASIN)
        changed = sum(1 for entry in comparison.entries() if entry.kind == ChangeKind.OTHER)
    assert (changed, comparison.volatile) == (240_000, [])


class TestHostileRecords:
    @pytest.mark.parametrize(
        "records",
        [
            pytest.param(
                [LAPTOP | {f"column {number}": number for number in range(10_000)}],
                id="10,000 columns",
                marks=pytest.mark.thorough,
            ),
            pytest.param(
                [
                    LAPTOP | {f"{asin} {number}": 1 for number in range(50)} | {"asin": str(asin)}
                    for asin in range(50)
                ],
                id="other columns in each record",
                marks=pytest.mark.thorough,
            ),
            [LAPTOP | {"description": "x" * 10_000_000}],
            [LAPTOP | {"asin": "B" * 1_000_000, "more": ["y" * 2_000_000]}],
            [LAPTOP | {"title": "a\0b", "x\0": "\0", "\0": {"": {"": [[[]]]}}}],
            [LAPTOP | {"": 1, ".": 2, "a.b": 3, "a": {"b": 4}, "c0": 5, "n": 6, '"': 7, "/~": 8}],
            [LAPTOP | {"price_cents": 10**400, "rating": -0.0, "x": 2**64, "y": 1e308}],
            ["text", 1, None, [LAPTOP], {}, LAPTOP],
        ],
    )
    def test_records_are_compared_in_bounded_time(self, tmp_path: Path, records: Records) -> None:
        entries, counts = compare(records, records, tmp_path)
        assert entries == []
        assert sum(counts.by_name()[name] for name in LATER) == len(records)
        assert counts.matched

    @pytest.mark.thorough
    def test_many_small_records_with_many_columns_fit_into_memory(self, tmp_path: Path) -> None:
        records = [{"asin": f"B{number}", f"c{number % 299}": number} for number in range(60_000)]
        assert len(slice_of(records, tmp_path).columns) == 300

    @pytest.mark.thorough
    def test_many_columns_are_compared_in_bounded_time(self, tmp_path: Path) -> None:
        before, after = ({f"c{column}": column + run for column in range(200)} for run in (0, 1))
        entries, _ = compare([LAPTOP | before], [LAPTOP | after], tmp_path)
        assert len(entries) == 200

    @pytest.mark.parametrize(
        "text",
        [
            rb'{"asin": "B01", "x": "\ud800", "\udfff": 1}',
            rb'{"asin": "B01", "asin": "B02", "x": {"y": 1, "y": 2}}',
            b'{"asin": "B01", "x": ' + b"[" * 400 + b"]" * 400 + b"}",
            b'{"asin":\r\n"B01"\n,\r"x":\t[1,\n2]}',
        ],
        ids=["surrogates", "duplicate names", "nested", "blanks"],
    )
    def test_unusual_json_is_compared(self, tmp_path: Path, text: bytes) -> None:
        path = tmp_path / "run.parquet"
        write_slice(read_texts(BytesIO(b"[%b, %b]" % (text, encoded(DESK)))), tmp_path / "lines", path)
        run = described(path)
        with open_database(path, seconds=60) as database:
            comparison = Comparer(database, run, run, ASIN)
            assert list(comparison.entries()) == []
        assert comparison.counts.matched == 2


def cells_of(text: bytes, folder: Path) -> list[tuple[str | None, ...]]:
    """Return the cells in the slice of this JSON."""
    path = folder / "run.parquet"
    write_slice(read_texts(BytesIO(text)), folder / "lines", path)
    with open_database(path, seconds=60) as database:
        return [
            tuple(row) for row in database.query("SELECT * EXCLUDE n FROM read_parquet($f)", {"f": str(path)})
        ]


class TestExactness:
    def test_the_last_value_of_a_repeated_name_counts_as_in_exports(self, tmp_path: Path) -> None:
        record = b'{"a": 1, "a" : 2, "b": {"c": 3, "c": 4}, "d": [{"e": 5, "e": 6}]}'
        plain = b'{"a": 7, "b": {"c": 8}, "d": ["\\":"]}'
        # The first and the last record aren't read in the same way as the others.
        text = b"[%b]" % b",".join([record, plain] * 200)
        expected = [json.loads(record), json.loads(plain)] * 200
        assert cells_of(text, tmp_path) == [
            (json_text(each["a"]), json_text(each["b"]["c"]), json_text(each["d"])) for each in expected
        ]

    @pytest.mark.parametrize(
        ("was", "now"),
        [
            ("0.1234567890123456789", "0.1234567890123456788"),
            ("123456789012345678.25", "123456789012345678.5"),
            ("[0.1234567890123456789]", "[0.1234567890123456788]"),
            ("1e-400", "2e-400"),
            ("9007199254740993", "9007199254740992"),
            ("12345678901234567890123", "12345678901234567890124"),
        ],
    )
    def test_numbers_with_many_digits_differ(self, tmp_path: Path, was: str, now: str) -> None:
        ((before,), (after,), *_) = cells_of(
            b"[%b]" % b",".join([b'{"a": %b}' % each.encode() for each in (was, now)] * 3), tmp_path
        )
        assert value_of(before) != value_of(after)

    @pytest.mark.parametrize(
        "same",
        [
            ["0.1234567890123456789", "0.12345678901234567890", '"0.1234567890123456789"'],
            ["[0.1234567890123456789]", "[1234567890123456789e-19]"],
            ["1299", "1299.0", "1299.00000000000000000000", "1.299e3"],
            ["0.30000000000000004", "0.300000000000000040"],
        ],
    )
    def test_equal_numbers_are_equal_however_they_are_written(self, tmp_path: Path, same: list[str]) -> None:
        cells = cells_of(b"[%b]" % b",".join(b'{"a": %b}' % each.encode() for each in same * 3), tmp_path)
        assert len({value_of(cell) for (cell,) in cells}) == 1

    def test_long_values_of_a_large_record_differ_after_their_beginning(self, tmp_path: Path) -> None:
        long = "x" * 1024**2
        ((was,), (now,)) = cells_of(encoded([{"a": f"{long}1"}, {"a": f"{long}2"}]), tmp_path)
        assert was != now


@pytest.mark.parametrize(
    ("sizes", "most"),
    [
        ([(1000, 100_000)] * 500, 122_880),  # 100 bytes each
        ([(1, 300_000)] * 5000, 120),
        ([(1000, 100_000)] * 500 + [(1, 300_000)] * 500, 120),  # large records at the end
        ([(1000, 100_000)] * 500 + [(1, 1024**2)], 122_880),
        ([], 122_880),
    ],
)
def test_the_records_that_are_read_at_once_fit_into_memory(sizes: list[tuple[int, int]], most: int) -> None:
    assert most / 4 <= slices._rows_in_a_group(sizes, columns=12) <= most


@pytest.mark.shared
@pytest.mark.parametrize("shop", ["lazada", "shein"])
def test_every_alteration_of_real_records_is_found_and_nothing_else(tmp_path: Path, shop: str) -> None:
    path = ROOT.parent / "shared" / "data" / f"{shop}-products.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    before = [json.loads(line) for line in path.read_bytes().splitlines()]
    key = next(name for name in ("product_id", "url") if name in before[0])
    names = [record[key] for record in before]
    before = [record for record in before if record[key] and names.count(record[key]) == 1]
    randomness = random.Random(shop)
    after, expected = [], set[tuple[str, str, str | None]]()
    for number, record in enumerate(before):
        changed = record
        for column, kind, value in altered(record, number):
            changed = {**changed, column: value}
            expected.add((str(record[key]), kind, column))
        after.append(changed)
    gone, new = after.pop(0), {**before[1], key: "new"}
    expected = {each for each in expected if each[0] != str(gone[key])}
    expected |= {(str(gone[key]), "missing", None), ("new", "new", None)}
    randomness.shuffle(after)
    entries, _ = compare(before, [*after, new], tmp_path, (key,))
    found = [(json.loads(entry.key)[0], entry.kind.value, entry.column) for entry in entries]
    assert len(found) == len(expected)
    assert set(found) == expected


def altered(record: dict[str, Any], number: int) -> Iterator[tuple[str, str, object]]:
    """Yield the changed columns of a real record, with the kind of the change and the new value."""
    if number % 10 == 1 and record.get("final_price"):
        yield "final_price", "price_up", type(record["final_price"])(float(record["final_price"]) + 1)
    if number % 10 == 2 and record.get("in_stock") is True:
        yield "in_stock", "sold_out", False
    if number % 10 == 3:
        name = "title" if "title" in record else "product_name"
        yield name, "other", f"{record[name]} (new)"
    if number % 10 == 4 and record.get("description"):
        yield "description", "other", record["description"][:-1] + "!?"
    if number % 10 == 5 and len(record.get("image_urls") or []) > 1:
        yield "image_urls", "other", record["image_urls"][:-1]
