"""The key of a collection: how well it names products, which keys are possible, and what it doesn't name."""

from pathlib import Path
from typing import Any

import pytest

from collections_app.records.preview.engine import open_database
from collections_app.records.tracking import keys
from collections_app.records.tracking.candidates import candidates
from collections_app.records.tracking.duplicates import duplicates, without_key
from collections_app.records.tracking.key_text import parse_key, shown_key
from collections_app.records.tracking.keys import Key, KeyCheck, check_key, sql_key
from tests.test_tracking_compare import slice_of

ASIN = ("asin",)
RECORDS: list[dict[str, Any]] = [
    {"asin": "B01", "title": "Laptop", "store": "Hobart"},
    {"asin": "B01", "title": "Laptop", "store": "Geelong"},
    {"asin": " ", "title": "Mouse"},
    {"title": "Desk"},
    {"asin": "B00", "title": "Chair", "store": "Hobart"},
    {"asin": "B01 ", "title": "Laptop again", "store": "Hobart"},
]


class TestCheck:
    @pytest.mark.parametrize(
        ("key", "filled", "unique"), [(ASIN, 4, 1), (("asin", "store"), 4, 2), (("gtin",), 0, 0)]
    )
    def test_it_counts_the_records_with_a_key_and_those_with_one_of_their_own(
        self, tmp_path: Path, key: Key, filled: int, unique: int
    ) -> None:
        of = slice_of(RECORDS, tmp_path)
        with open_database(of.path, seconds=5) as database:
            found = check_key(database, of, key)
        assert found == KeyCheck(6, filled, unique)
        assert (found.without_key, found.duplicates) == (6 - filled, filled - unique)

    def test_many_keys_are_counted_in_parts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(keys, "MOST_GROUPED", 3)
        of = slice_of(RECORDS, tmp_path)
        with open_database(of.path, seconds=5) as database:
            assert check_key(database, of, ASIN) == KeyCheck(6, 4, 1)
            assert [each.number for each in duplicates(database, of, ASIN, after=None, most=9)] == [1, 2, 6]

    def test_a_run_without_records_has_no_reliable_key_to_suggest(self, tmp_path: Path) -> None:
        of = slice_of([], tmp_path)
        with open_database(of.path, seconds=5) as database:
            assert check_key(database, of, ASIN) == KeyCheck(0, 0, 0)
            assert candidates(database, of) == []


def test_each_key_can_be_written_as_a_text(tmp_path: Path) -> None:
    texts = [f"a{chr(code)}b" for code in range(0x100)] + [f"{chr(code)}a" for code in range(0x100)]
    of = slice_of([{"asin": text} for text in texts], tmp_path)
    with open_database(of.path, seconds=5) as database:
        rows = database.query(
            f"SELECT {sql_key(of, ASIN)} FROM read_parquet($slice)", {"slice": str(of.path)}
        )
    for (key,) in rows:
        assert parse_key(shown_key(key), ASIN) == key


class TestCandidates:
    RECORDS = [
        {
            "position": number,
            "model": f"M{number // 2}",
            "handle": f"h{number}",
            "price": number,
            "scraped_at": f"2026-06-20T10:{number:02}:00Z",
            "session": number,
            "sku": f"S{max(number, 10)}",
        }
        for number in range(50)
    ]

    def test_the_best_come_first_and_what_names_no_product_is_left_out(self, tmp_path: Path) -> None:
        of = slice_of(self.RECORDS, tmp_path)
        with open_database(of.path, seconds=5) as database:
            found = candidates(database, of, volatile=["session"])
        assert [(each.key, each.check.unique) for each in found] == [(("handle",), 50), (("sku",), 39)]


class TestDuplicates:
    def test_they_are_listed_by_key_in_parts(self, tmp_path: Path) -> None:
        of = slice_of([{"asin": "A0"}, *RECORDS, {"asin": "A0"}], tmp_path)
        with open_database(of.path, seconds=5) as database:
            first = duplicates(database, of, ASIN, after=None, most=3)
            rest = duplicates(database, of, ASIN, after=first[-1].number, most=3)
        assert [(each.key, each.number, each.records) for each in [*first, *rest]] == [
            ('["A0"]', 1, 2),
            ('["A0"]', 8, 2),
            ('["B01"]', 2, 3),
            ('["B01"]', 3, 3),
            ('["B01"]', 7, 3),
        ]
        assert rest[-1].title == "Laptop again"

    def test_records_without_a_key_are_listed_by_number(self, tmp_path: Path) -> None:
        of = slice_of(RECORDS, tmp_path)
        with open_database(of.path, seconds=5) as database:
            (first,) = without_key(database, of, ASIN, after=None, most=1)
            (second,) = without_key(database, of, ASIN, after=first.number, most=5)
        assert [(each.number, each.title) for each in (first, second)] == [(3, "Mouse"), (4, "Desk")]
