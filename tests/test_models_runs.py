import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from collections_app.models import Collection, FileKind, ResultFile, Run, State, Team
from tests.support.results import make_processing_run, make_ready_run, records
from tests.support.tools import examples

NOON = datetime(2026, 6, 20, 12, tzinfo=UTC)


def a_run(collection: Collection, **fields: Any) -> Run:
    return Run.objects.create(**{"collection": collection, "number": 1} | fields)


def a_file(run: Run, **fields: Any) -> ResultFile:
    given = {
        "kind": FileKind.PAGE,
        "position": 1,
        "name": "page.json",
        "key": "k",
        "size": 2,
        "sha256": "0" * 64,
    }
    return ResultFile.objects.create(**{"run": run, "modified": NOON} | given | fields)


class TestConstraintsOfARun:
    def test_the_number_is_unique_per_collection(self, laptops: Collection, headphones: Collection) -> None:
        a_run(laptops)
        a_run(headphones)
        with pytest.raises(IntegrityError):
            a_run(laptops)

    @pytest.mark.parametrize(
        "fields",
        [
            {"state": "paused"},
            {"state": State.READY, "file_count": 0},
            {"state": State.FAILED},
            {"state": State.PROCESSING, "failure_reason": "It failed"},
            {"extracted": -1},
            {"total": -1},
        ],
    )
    def test_the_database_refuses(self, laptops: Collection, fields: dict[str, object]) -> None:
        with pytest.raises(IntegrityError):
            a_run(laptops, **fields)


class TestConstraintsOfAFile:
    def test_a_name_is_unique_per_run(self, laptops: Collection) -> None:
        run = a_run(laptops)
        a_file(run)
        with pytest.raises(IntegrityError):
            a_file(run, position=2)

    def test_a_page_position_is_unique(self, laptops: Collection) -> None:
        run = a_run(laptops)
        a_file(run)
        with pytest.raises(IntegrityError):
            a_file(run, name="other.json")

    @pytest.mark.parametrize(
        "fields", [{"kind": "video"}, {"size": -1}, {"archive_offset": 0}, {"archive_size": 1, "crc32": 2}]
    )
    def test_the_database_refuses(self, laptops: Collection, fields: dict[str, object]) -> None:
        with pytest.raises(IntegrityError):
            a_file(a_run(laptops), **fields)

    def test_the_etag_contains_time_and_size(self) -> None:
        assert ResultFile(key="k", modified=NOON, size=255).etag == f'"{int(NOON.timestamp()):x}-ff"'


class TestTheListOfRuns(TestCase):
    def setUp(self) -> None:
        team = Team.objects.create(name="Crawlers")
        self.collection = Collection.objects.create(team=team, name="AU Laptops")

    @settings(max_examples=examples(30))
    @given(seconds=st.lists(st.integers(0, 3), max_size=12), size=st.integers(1, 4))
    def test_paging_neither_repeats_nor_skips(self, seconds: list[int], size: int) -> None:
        """Includes equal times, and newer runs that arrive in between."""
        Run.objects.all().delete()
        for number, second in enumerate(seconds, 1):
            a_run(self.collection, number=number, created_at=NOON + timedelta(seconds=second))
        expected = sorted(Run.objects.all(), key=lambda run: (run.created_at, run.number), reverse=True)
        seen: list[Run] = []
        rows = self.collection.runs.newest_first()
        while page := list(rows.before(seen[-1].cursor if seen else None)[:size]):
            seen += page
            a_run(self.collection, number=1000 + len(seen), created_at=NOON + timedelta(days=1))
        assert seen == expected

    @pytest.mark.sqlite(reason="its words for a query plan")
    def test_sqlite_starts_within_the_index(self) -> None:
        run = a_run(self.collection)
        page = self.collection.runs.newest_first().before(run.cursor)[:51]
        plan = page.explain()
        assert "run_newest_first (collection_id=? AND created_at<?)" in plan
        assert "TEMP B-TREE" not in plan

    @pytest.mark.sqlite(reason="its words for a query plan")
    def test_sqlite_finds_the_nearest_number_in_the_index(self) -> None:
        a_run(self.collection)
        with CaptureQueriesContext(connection) as queries:
            list(self.collection.runs.newest_first().before_number(5)[:50])
        plans = []
        with connection.cursor() as cursor:
            for query in queries:
                cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
                plans.append(" ".join(row[3] for row in cursor.fetchall()))
        nearest, page = plans
        assert "(collection_id=? AND number<?)" in nearest
        assert "run_newest_first (collection_id=? AND created_at<?)" in page
        assert "TEMP B-TREE" not in nearest + page

    @pytest.mark.postgresql(reason="its words for a query plan")
    def test_postgresql_starts_within_the_index(self) -> None:
        runs = [
            Run(collection=self.collection, number=number, created_at=NOON + timedelta(seconds=number // 3))
            for number in range(1, 5001)
        ]
        Run.objects.bulk_create(runs)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE collections_app_run")
        page = self.collection.runs.newest_first().before(runs[1000].cursor)[:51]
        plan = page.explain(analyze=True)
        assert "Index Scan using run_newest_first" in plan
        assert re.search(r"Index Cond: \(\(collection_id = \d+\) AND \(created_at <= ", plan)
        assert "Sort" not in plan
        # It reads only the runs of that second before the cursor.
        passed = re.search(r"Rows Removed by Filter: (\d+)", plan)
        assert int(passed[1] if passed else 0) <= 3


class TestFilesOfTheListsRuns:
    def test_files_of_ready_runs_take_one_more_query(self, laptops: Collection) -> None:
        for _ in range(3):
            make_ready_run(laptops, records(5), page_size=2)
        make_processing_run(laptops, records(3), page_size=2)
        with CaptureQueriesContext(connection) as queries:
            processing, *ready = laptops.runs.newest_first().with_files()
            assert [len(run.pages) for run in ready] == [3, 3, 3]
            assert all(run.archive for run in ready)
        assert len(queries) == 2
        assert processing.ready_files == []
        assert (processing.pages, processing.archive) == ([], None)

    def test_the_files_with_records_are_the_same_with_and_without_prefetching(
        self, laptops: Collection, headphones: Collection
    ) -> None:
        make_ready_run(laptops, records(5), page_size=2)
        make_ready_run(headphones, records(2))
        plain = Run.objects.newest_first()
        found = [[file.name for file in run.record_files()] for run in plain]
        assert sorted(map(len, found)) == [1, 3]
        assert [[file.name for file in run.record_files()] for run in plain.with_files()] == found

    def test_files_know_their_run_and_collection_without_a_query(self, laptops: Collection) -> None:
        make_ready_run(laptops, records(5), page_size=2)
        for run in (laptops.runs.get(), laptops.runs.with_files().get()):
            files = run.record_files()
            with CaptureQueriesContext(connection) as queries:
                assert all(file.run is run and file.run.collection is laptops for file in files)
            assert len(queries) == 0

    def test_a_category_run_has_a_list_and_a_csv(self, headphones: Collection) -> None:
        make_ready_run(headphones, records(2))
        run = headphones.runs.newest_first().with_files().get()
        assert run.category_list
        assert run.category_csv
        assert run.category_list.name == "category_asins.json"
        assert run.category_csv.name == "category_asins.csv"
        assert (run.pages, run.archive) == ([], None)


def test_is_ready_depends_on_the_state(laptops: Collection) -> None:
    ready = make_ready_run(laptops)
    assert ready.is_ready
    assert str(ready) == "Run 1 of 101"
    assert not Run.objects.create_next(laptops).is_ready
