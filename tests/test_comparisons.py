"""Comparisons: built once by one process, whole when they appear, bounded, and deleted with their runs."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.utils import timezone

from collections_app.files.storage.cache import drop
from collections_app.management.worker import Slicer
from collections_app.models import (
    Collection,
    Comparison,
    ComparisonState,
    Overrule,
    Run,
    RunCoverage,
    Slice,
    TrackingSettings,
    Verdict,
    VerdictLevel,
)
from collections_app.models.queues import TooManyQueued
from collections_app.records.tracking import build_comparison, comparison_files, comparisons
from collections_app.records.tracking.build_comparison import NoKey, build, build_next
from collections_app.records.tracking.change_file import write_changes, write_lines
from collections_app.records.tracking.change_queries import (
    SORTS,
    ChangePage,
    ChangeQuery,
    all_changes,
    query_changes,
)
from collections_app.records.tracking.compare import Entry
from collections_app.records.tracking.comparisons import (
    changes_of,
    comparison_of,
    summaries_of,
    summary_of,
)
from collections_app.records.tracking.kinds import ChangeKind
from collections_app.records.tracking.previous_runs import default_since
from collections_app.records.tracking.settings import update_suggestion
from collections_app.records.tracking.stored_slices import SliceUnavailable, slice_of
from collections_app.runs.removal import delete_run
from collections_app.system.background import StillWorking
from tests.support.results import make_failed_run, make_ready_run, store_bytes, stored_keys
from tests.support.tools import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)

LAPTOP = {"asin": "B01", "title": "Laptop", "price_cents": 129900, "in_stock": True}
MOUSE = {"asin": "B02", "title": "Mouse", "price_cents": 1500, "in_stock": False}
DESK = {"asin": "B03", "title": "Désk", "price_cents": 30000, "in_stock": True}
CHAIR = {"asin": "B04", "title": "Chair", "price_cents": 10000, "in_stock": True}
BEFORE = [LAPTOP, MOUSE, DESK, CHAIR]
AFTER = [
    LAPTOP | {"price_cents": 114900, "in_stock": False},
    MOUSE | {"price_cents": 3000, "title": "Mouse 2"},
    DESK | {"price_cents": 15000},
    {"asin": "B05", "title": "Lamp", "price_cents": 900, "in_stock": True},
]


@pytest.fixture
def since(laptops: Collection) -> Run:
    return make_ready_run(laptops, BEFORE)


@pytest.fixture
def run(laptops: Collection, since: Run) -> Run:
    return make_ready_run(laptops, AFTER)


@pytest.fixture
def queue_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queue every comparison."""
    monkeypatch.setattr(comparisons, "_QUICK_RECORDS", -1)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let requests wait for a busy machine."""
    monkeypatch.setattr(comparisons, "_PATIENCE", PATIENCE)


def shown(page: ChangePage) -> list[tuple[str, str]]:
    return [(entry.kind.value, entry.title) for entry in page.entries]


def files() -> list[str]:
    return [key for key in stored_keys() if key.startswith(comparison_files.FOLDER)]


def judge(run: Run, level: VerdictLevel, **fields: Any) -> None:
    Verdict.objects.create(run=run, level=level, settings_version=1, **fields)


class TestDefaultSince:
    def test_it_is_the_newest_earlier_run_that_can_be_trusted(self, laptops: Collection) -> None:
        first, broken, failed, last = (
            make_ready_run(laptops),
            make_ready_run(laptops),
            make_failed_run(laptops),
            make_ready_run(laptops),
        )
        judge(broken, VerdictLevel.BROKEN)
        assert default_since(last) == first
        broken.verdict.overrule, broken.verdict.overruled_at = Overrule.TRUSTED, timezone.now()
        broken.verdict.save()
        assert default_since(last) == broken
        assert default_since(first) is None
        assert default_since(failed) == broken

    def test_it_is_of_the_same_kind(self, laptops: Collection) -> None:
        full, partial, last = (make_ready_run(laptops) for _ in range(3))
        judge(partial, VerdictLevel.GOOD, coverage=RunCoverage.AVAILABILITY)
        assert default_since(last) == full
        judge(last, VerdictLevel.GOOD, chosen_coverage=RunCoverage.AVAILABILITY)
        assert default_since(last) == partial

    def test_it_is_older_and_of_the_same_collection(
        self, laptops: Collection, headphones: Collection
    ) -> None:
        now = timezone.now()
        run = make_ready_run(laptops, at=now)
        make_ready_run(laptops, at=now + timedelta(hours=1))
        make_ready_run(headphones, at=now - timedelta(hours=1))
        assert default_since(run) is None
        older = make_ready_run(laptops, at=now - timedelta(hours=1))  # arrives later
        assert default_since(run) == older


class TestComparison:
    def test_a_small_one_is_ready_at_once_and_built_once(self, run: Run, since: Run) -> None:
        comparison = comparison_of(run, since)
        assert comparison.has_changes
        assert comparison.counts["matched"] == 3
        assert (comparison.counts["price_down"], comparison.counts["price_up"]) == (2, 1)
        assert comparison.summary["key"] == ["asin"]
        assert comparison.summary["columns"]["price_cents"] == 3
        assert comparison.summary["median_percent"]["price_up"] == 100
        assert [comparison.key] == files()
        assert comparison_of(run, since).attempt == comparison.attempt

    def test_one_without_changes_has_no_file(self, laptops: Collection, since: Run) -> None:
        comparison = comparison_of(make_ready_run(laptops, BEFORE[::-1]), since)
        assert (comparison.has_changes, comparison.key, files()) == (True, "", [])
        assert changes_of(comparison, ChangeQuery()) == ChangePage((), 0)

    @pytest.mark.usefixtures("queue_all")
    def test_a_large_one_is_built_by_the_worker_those_of_users_first(self, laptops: Collection) -> None:
        first, second, third = (make_ready_run(laptops, records) for records in (BEFORE, AFTER, BEFORE))
        automatic = Comparison.objects.create(run=third, since=second, settings_version=0)
        requested = comparison_of(third, first)
        assert requested.state == ComparisonState.QUEUED
        assert build_next()
        requested.refresh_from_db()
        automatic.refresh_from_db()
        assert (requested.state, automatic.state) == (ComparisonState.READY, ComparisonState.QUEUED)
        assert build_next()
        assert not build_next()

    def test_another_key_makes_it_again(self, run: Run, since: Run) -> None:
        comparison = comparison_of(run, since)
        TrackingSettings.objects.update(key_columns=["title"], version=2)
        other = comparison_of(run, since)
        assert other.pk == comparison.pk
        assert (other.settings_version, other.counts["matched"]) == (2, 2)
        assert files() == [other.key] != [comparison.key]

    def test_without_a_key_there_is_none(self, headphones: Collection) -> None:
        others = [make_ready_run(headphones, [{"title": "No key"}]) for _ in range(2)]
        with pytest.raises(NoKey, match="Choose a key"):
            comparison_of(others[1], others[0])

    def test_a_failed_one_is_tried_again_after_a_rest(
        self, run: Run, since: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(run: Run) -> None:
            raise SliceUnavailable("The account doesn't respond.")

        with monkeypatch.context() as patch:
            patch.setattr(build_comparison, "slice_of", fail)
            failed = comparison_of(run, since)
        assert (failed.state, failed.failure) == (ComparisonState.FAILED, "The account doesn't respond.")
        assert comparison_of(run, since).state == ComparisonState.FAILED
        assert comparison_of(run, since, again=True).is_ready

    def test_a_team_can_queue_only_so_many(
        self, queue_all: None, run: Run, since: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(comparisons, "_MOST_QUEUED", 1)
        comparison_of(run, since)
        with pytest.raises(TooManyQueued, match="1 comparisons in the queue"):
            comparison_of(make_ready_run(run.collection), since)

    def test_a_deleted_run_takes_its_comparisons_with_it(self, run: Run, since: Run) -> None:
        comparison_of(run, since)
        delete_run(since)
        assert not Comparison.objects.exists()
        assert files() == []

    def test_a_process_that_stops_puts_it_back(self, queue_all: None, run: Run, since: Run) -> None:
        comparison = comparison_of(run, since)
        assert build(comparison, must_stop=lambda: True)
        comparison.refresh_from_db()
        assert comparison.state == ComparisonState.QUEUED
        assert comparison.lease_expires_at is None
        assert files() == []


class TestFiles:
    def test_the_least_recently_used_ones_are_deleted_and_created_again(
        self, run: Run, since: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = comparison_of(run, since)
        monkeypatch.setattr(comparison_files, "MOST_BYTES", 1)
        newest = make_ready_run(run.collection, BEFORE)
        new = comparison_of(newest, run)
        old.refresh_from_db()
        assert (old.key, files()) == ("", [new.key])
        assert old.is_ready
        assert old.counts["matched"] == 3
        assert changes_of(comparison_of(run, since), ChangeQuery()).total == 7

    def test_one_that_vanished_is_created_again(self, run: Run, since: Run) -> None:
        comparison = comparison_of(run, since)
        storages["results"].delete(comparison.key)
        with pytest.raises(StillWorking):
            changes_of(comparison, ChangeQuery())
        assert changes_of(comparison_of(run, since), ChangeQuery()).total == 7

    def test_damaged_slices_are_created_again(self, run: Run, since: Run) -> None:
        comparison_of(run, since).delete()
        stored = Slice.objects.get(run=since)
        storages["results"].delete(stored.key)
        store_bytes(stored.key, bytes(stored.size))
        drop(stored.key.replace("/", "-"))  # the copy of an object
        comparison = comparison_of(run, since)
        assert (comparison.state, comparison.failure) == (ComparisonState.QUEUED, "")
        assert build_next()
        assert changes_of(comparison_of(run, since), ChangeQuery()).total == 7

    def test_strays_are_deleted(self, run: Run, since: Run) -> None:
        comparison = comparison_of(run, since)
        store_bytes(f"{comparison_files.FOLDER}/1-0123456789abcdef", b"")
        comparison_files.tidy()
        assert files() == [comparison.key]

    def test_a_run_has_only_so_many(self, run: Run, since: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(comparison_files, "MOST_OF_A_RUN", 1)
        newest = make_ready_run(run.collection, BEFORE)
        comparison_of(newest, run)
        kept = comparison_of(newest, since)
        assert list(newest.comparisons.all()) == [kept]
        assert files() == []  # these two runs are the same


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with the changes from BEFORE to AFTER."""
    folder = tmp_path_factory.mktemp("changes")
    price = partial(Entry, column="price_cents", number=1)
    entries = [
        price(
            '["B01"]',
            "Laptop",
            ChangeKind.PRICE_DOWN,
            was="129900",
            now="114900",
            percent=Decimal("-11.5"),
            amount=Decimal(-150),
        ),
        Entry('["B01"]', "Laptop", ChangeKind.SOLD_OUT, "in_stock", "true", "false"),
        price(
            '["B02"]',
            "Mouse 2",
            ChangeKind.PRICE_UP,
            was="1500",
            now="3000",
            percent=Decimal(100),
            amount=Decimal(15),
        ),
        Entry('["B02"]', "Mouse 2", ChangeKind.OTHER, "title", '"Mouse"', '"Mouse 2"'),
        price(
            '["B03"]',
            "Désk",
            ChangeKind.PRICE_DOWN,
            was="30000",
            now="15000",
            percent=Decimal(-50),
            amount=Decimal(-150),
        ),
        Entry('["B05"]', "Lamp", ChangeKind.NEW),
        Entry('["B04"]', "Chair", ChangeKind.MISSING),
    ]
    assert write_lines(entries, folder / "lines") == 7
    write_changes(folder / "lines", folder / "changes")
    return folder / "changes"


class TestQueries:
    def test_the_biggest_fall_comes_first_and_other_kinds_after_rises(self, changes: Path) -> None:
        page = query_changes(changes, ChangeQuery())
        assert shown(page) == [
            ("price_down", "Désk"),
            ("price_down", "Laptop"),
            ("price_up", "Mouse 2"),
            ("sold_out", "Laptop"),
            ("other", "Mouse 2"),
            ("new", "Lamp"),
            ("missing", "Chair"),
        ]
        assert [entry.percent for entry in page.entries[:3]] == [-50, Decimal("-11.5"), 100]
        assert (page.total, page.next) == (7, None)

    @pytest.mark.parametrize(
        ("query", "titles"),
        [
            (ChangeQuery(kinds=(ChangeKind.NEW, ChangeKind.MISSING)), ["Lamp", "Chair"]),
            (ChangeQuery(column="title"), ["Mouse 2"]),
            (ChangeQuery(min_percent=Decimal(50)), ["Désk", "Mouse 2"]),
            (ChangeQuery(min_amount=Decimal(150)), ["Désk", "Laptop"]),
            (ChangeQuery(text="DESK"), ["Désk"]),
            (ChangeQuery(text="b04"), ["Chair"]),
            (ChangeQuery(keys=('["B01"]',)), ["Laptop", "Laptop"]),
            (ChangeQuery(keys=()), []),
            (ChangeQuery(kinds=(ChangeKind.PRICE_DOWN,), sort="title"), ["Désk", "Laptop"]),
            (ChangeQuery(column="price_cents", sort="now"), ["Mouse 2", "Désk", "Laptop"]),
            (ChangeQuery(column="price_cents", sort="percent", descending=True, limit=1), ["Mouse 2"]),
        ],
    )
    def test_changes_are_filtered_and_sorted(
        self, changes: Path, query: ChangeQuery, titles: Sequence[str]
    ) -> None:
        assert [entry.title for entry in query_changes(changes, query).entries] == titles
        assert [entry.title for some in all_changes(changes, query) for entry in some] == titles

    @pytest.mark.parametrize("sort", ["", *SORTS])
    def test_pages_continue_where_the_last_one_ended(self, changes: Path, sort: str) -> None:
        entries: list[Entry] = []
        after: int | None = 0
        while after is not None:
            page = query_changes(changes, ChangeQuery(sort=sort, after=after, limit=2))
            entries += page.entries
            after = page.next
        assert entries == list(query_changes(changes, ChangeQuery(sort=sort)).entries)
        assert len(entries) == 7

    def test_parameters_are_never_part_of_a_statement(self, changes: Path) -> None:
        query = ChangeQuery(text="'\"", column="'", sort="now; DROP", keys=("'",), after=2**62)
        assert query_changes(changes, query).total == 0

    def test_hostile_values_are_harmless(self, laptops: Collection) -> None:
        before = {"asin": "'; \ud800\0", "title": "\ud800", "price_cents": 1, "x": "a\x1f\n" * 2000}
        after = before | {"price_cents": 10**400, "x": "b\x1f\n" * 2000}
        first, second = make_ready_run(laptops, [before]), make_ready_run(laptops, [after])
        assert changes_of(comparison_of(second, first), ChangeQuery()).total == 2


class TestSummaries:
    def test_lists_show_what_is_ready_and_queue_the_rest(
        self, laptops: Collection, run: Run, since: Run
    ) -> None:
        newest = make_ready_run(laptops, BEFORE)
        comparison = comparison_of(run, since)
        assert summaries_of([newest, run, since]) == {run.pk: comparison}
        assert not newest.comparisons.exists()
        slice_of(newest)
        assert summary_of(newest) is None
        assert build_next()
        summary = summary_of(newest)
        assert summary is not None
        assert summary.counts["price_up"] == 2

    def test_the_worker_compares_the_newest_runs_as_soon_as_their_slices_exist(
        self, laptops: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(comparisons, "_NEWEST", 2)
        runs = [make_ready_run(laptops, content) for content in (BEFORE, AFTER, BEFORE, AFTER)]
        while Slicer().run_once():
            pass
        while build_next():
            pass
        assert list(Comparison.objects.values_list("run", "since").order_by("run")) == [
            (runs[2].pk, runs[1].pk),
            (runs[3].pk, runs[2].pk),
        ]
        assert summaries_of(runs).keys() == {runs[2].pk, runs[3].pk}

    def test_without_a_key_nothing_is_queued(self, headphones: Collection) -> None:
        runs = [make_ready_run(headphones, [{"title": "No key"}]) for _ in range(2)]
        for run in runs:
            slice_of(run)
        update_suggestion(headphones)
        assert summary_of(runs[1]) is None
        assert not Comparison.objects.exists()

    def test_failed_ones_are_built_again_later_or_with_another_key(
        self, run: Run, since: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        comparison = comparison_of(run, since)
        failed = Comparison.objects.filter(pk=comparison.pk)
        now = timezone.now()
        for version, failed_at, state in [
            (1, now, "failed"),
            (1, now - timedelta(hours=2), "queued"),
            (2, now, "queued"),
        ]:
            failed.update(state="failed", failure="No.", failed_at=failed_at, settings_version=version)
            summary_of(run)
            assert failed.get().state == state

    def test_those_of_another_key_are_left_out_and_made_again(self, run: Run, since: Run) -> None:
        comparison_of(run, since)
        TrackingSettings.objects.update(version=2)
        assert summary_of(run) is None
        assert build_next()
        assert summary_of(run) is not None

    def test_the_number_of_queries_does_not_depend_on_the_number_of_runs(
        self, laptops: Collection, django_assert_num_queries: Any
    ) -> None:
        runs = [make_ready_run(laptops, content) for content in (BEFORE, AFTER, BEFORE, AFTER)]
        for run, since in zip(runs[1:], runs, strict=False):
            comparison_of(run, since)
        with django_assert_num_queries(3):
            assert len(summaries_of(runs)) == 3
