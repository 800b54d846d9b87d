"""Blocks: the products of several runs in one file, for the history of a product."""

import errno
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from django.core.files.storage import storages
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from collections_app.management.worker import BlockBuilder
from collections_app.models import Block, Collection, Comparison, Run, TrackingSettings
from collections_app.records.tracking import block_files, blocks
from collections_app.records.tracking.blocks import local_path
from collections_app.records.tracking.comparisons import comparison_of
from collections_app.records.tracking.history import history_of
from collections_app.records.tracking.slice_builder import build_slice
from collections_app.records.tracking.tracked_runs import ProductsUnavailable
from collections_app.runs.lease import new_expiry
from collections_app.runs.new_file import NewFile
from collections_app.runs.strays import key_of
from tests.support.results import make_ready_run, store_bytes, stored_keys

pytestmark = pytest.mark.django_db

LAPTOP = {"asin": "B01", "title": "Laptop", "price": "$1,299.00", "in_stock": True, "seller_name": "Nile"}
MOUSE = {"asin": "B02", "title": "Mouse", "price": "$15.00", "in_stock": False}


@pytest.fixture(autouse=True)
def tracking(laptops: Collection) -> TrackingSettings:
    return TrackingSettings.objects.create(collection=laptops, key_columns=["asin"])


def make_sliced_run(collection: Collection, content: Sequence[Mapping[str, Any]] = (LAPTOP, MOUSE)) -> Run:
    run = make_ready_run(collection, content)
    build_slice(run)
    return run


def build_all() -> int:
    """Create all blocks, and return how many steps that took."""
    steps = 0
    while task := blocks.next_task():
        blocks.build(task)
        steps += 1
    return steps


def rows_of(block: Block, columns: str = "*") -> list[tuple[Any, ...]]:
    return duckdb.execute(f"SELECT {columns} FROM read_parquet('{local_path(block)}')").fetchall()


def run_counts() -> list[int]:
    return sorted(Block.objects.values_list("run_count", flat=True))


def stored_blocks() -> list[str]:
    return [key for key in stored_keys() if key.startswith(blocks.FOLDER)]


def test_a_block_contains_what_a_run_says_about_its_products(laptops: Collection) -> None:
    make_sliced_run(laptops, [MOUSE, {"title": "No key"}, LAPTOP])
    assert build_all() == 1
    assert rows_of(Block.objects.get()) == [
        ('["B01"]', 1, 3, "Laptop", "$1,299.00", Decimal(1299), 1, "$", "true", "Nile"),
        ('["B02"]', 1, 1, "Mouse", "$15.00", Decimal(15), 1, "$", "false", None),
    ]


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ({"price_cents": 129900}, (Decimal(129900), 100, "")),
        ({"price": 12.5, "currency": "AUD"}, (Decimal("12.5"), 1, "AUD")),
        ({"price": "12,50 €"}, (Decimal("12.5"), 1, "EUR")),
        ({"price": "from 5 to 9"}, (None, 1, None)),
        ({"name": "free"}, (None, 1, None)),
    ],
)
def test_prices_are_read_as_amounts_with_their_currencies(
    laptops: Collection, price: dict[str, object], expected: tuple[object, ...]
) -> None:
    make_sliced_run(laptops, [{"asin": "B01", **price}])
    build_all()
    assert rows_of(Block.objects.get(), "amount, unit, currency") == [expected]


def test_four_blocks_are_merged_into_one(laptops: Collection) -> None:
    for _ in range(17):
        make_sliced_run(laptops)
    build_all()
    assert run_counts() == [1, 16]
    merged = Block.objects.get(run_count=16)
    assert rows_of(merged, "key, number") == [
        (key, run.number) for key in ('["B01"]', '["B02"]') for run in merged.runs.order_by("number")
    ]
    assert stored_blocks() == sorted(block.key for block in Block.objects.all())


def test_blocks_of_many_rows_are_sorted_in_parts(
    laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_files, "_MOST_ROWS", 10)
    for _ in range(4):
        make_sliced_run(laptops, [{"asin": f"B{n * 7 % 25:02}"} for n in range(25)])
    build_all()
    rows = rows_of(Block.objects.get(), "key, number")
    assert len(rows) == 100
    assert rows == sorted(rows)


def test_a_deleted_run_disappears_from_its_block(laptops: Collection) -> None:
    runs = [make_sliced_run(laptops) for _ in range(4)]
    build_all()
    runs[1].delete()
    assert build_all() == 1
    assert {number for (number,) in rows_of(Block.objects.get(), "number")} == {1, 3, 4}
    assert len(stored_blocks()) == 1


def test_the_block_of_a_run_that_was_deleted_is_deleted(laptops: Collection) -> None:
    make_sliced_run(laptops).delete()
    make_sliced_run(laptops)
    build_all()
    laptops.runs.get().delete()
    build_all()
    assert not Block.objects.exists()
    assert stored_blocks() == []


def test_another_key_creates_the_blocks_again(laptops: Collection, tracking: TrackingSettings) -> None:
    make_sliced_run(laptops)
    build_all()
    TrackingSettings.objects.filter(pk=tracking.pk).update(key_columns=["title"], version=2)
    build_all()
    assert rows_of(Block.objects.get(), "key") == [('["Laptop"]',), ('["Mouse"]',)]
    assert len(stored_blocks()) == 1


def test_a_run_that_arrives_later_gets_a_block_too(laptops: Collection) -> None:
    make_sliced_run(laptops)
    build_all()
    older = make_sliced_run(laptops)
    Run.objects.filter(pk=older.pk).update(created_at="2020-01-01T00:00:00Z")
    build_all()
    assert run_counts() == [1, 1]


def test_without_a_key_there_are_no_blocks(laptops: Collection, tracking: TrackingSettings) -> None:
    make_sliced_run(laptops)
    TrackingSettings.objects.update(key_columns=[])
    assert build_all() == 0
    tracking.delete()
    assert build_all() == 0


class TestMeanwhile:
    """Something changes while a block is created."""

    def test_a_run_is_deleted(self, laptops: Collection) -> None:
        run = make_sliced_run(laptops)
        task = blocks.next_task()
        assert task
        block = Block(
            collection=laptops, run_count=1, version=1, settings_version=1, key="x", size=1, records=1
        )
        Run.objects.filter(pk=run.pk).delete()
        with pytest.raises(blocks.Outdated):
            blocks._save(block, task, "")
        assert not Block.objects.exists()

    def test_another_process_creates_the_same_block(self, laptops: Collection) -> None:
        make_sliced_run(laptops)
        task = blocks.next_task()
        assert task
        blocks.build(task)
        with pytest.raises(blocks.Outdated):
            blocks.build(task)
        assert run_counts() == [1]
        assert len(stored_blocks()) == 1

    def test_the_key_changes(self, laptops: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
        make_sliced_run(laptops)
        task = blocks.next_task()
        assert task
        store = blocks._store

        def change_the_key(*args: Any) -> NewFile:
            TrackingSettings.objects.update(version=2)
            return store(*args)

        monkeypatch.setattr(blocks, "_store", change_the_key)
        with pytest.raises(blocks.Outdated):
            blocks.build(task)
        assert stored_blocks() == []


class TestRepair:
    def test_files_that_killed_processes_left_behind_are_deleted(
        self, laptops: Collection, tracking: TrackingSettings
    ) -> None:
        make_sliced_run(laptops)
        build_all()
        kept = stored_blocks()
        living, killed, cut = (key_of(blocks.FOLDER, tracking, 16 * letter) for letter in "abc")
        for key in (living, killed, f"{cut}.part"):
            store_bytes(key, b"")
        TrackingSettings.objects.update(attempt=16 * "a", lease_expires_at=new_expiry())
        blocks.tidy()
        assert stored_blocks() == sorted([*kept, living])

    def test_blocks_whose_files_are_missing_are_created_again(self, laptops: Collection) -> None:
        make_sliced_run(laptops)
        build_all()
        storages["results"].delete(Block.objects.get().key)
        blocks.tidy()
        assert build_all() == 1
        assert len(rows_of(Block.objects.get())) == 2

    def test_a_reader_finds_out_that_a_file_is_missing(self, laptops: Collection) -> None:
        make_sliced_run(laptops)
        build_all()
        storages["results"].delete(Block.objects.get().key)
        with pytest.raises(ProductsUnavailable):
            history_of(laptops, '["B01"]')
        build_all()
        assert history_of(laptops, '["B01"]')

    @pytest.mark.parametrize("content", [b"PAR1 is damaged", None])
    def test_damaged_files_are_found_and_created_again(
        self, laptops: Collection, content: bytes | None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        since, run = make_sliced_run(laptops), make_sliced_run(laptops, [LAPTOP])
        build_all()
        assert comparison_of(run, since).key
        call_command("verify")
        assert "damaged" not in capsys.readouterr().out
        stored: list[Block | Comparison] = [Block.objects.get(runs=run), Comparison.objects.get()]
        for each in stored:
            store_bytes(each.key, content) if content else storages["results"].delete(each.key)
        call_command("verify")
        assert capsys.readouterr().out.count("It will be created again.") == 1
        assert build_all() == 1
        assert comparison_of(run, since).key != stored[1].key


def test_another_process_leaves_a_collection_alone_while_a_block_is_created(
    laptops: Collection, headphones: Collection, tracking: TrackingSettings
) -> None:
    make_sliced_run(laptops)
    task = blocks.next_task()
    assert task
    TrackingSettings.objects.update(attempt=16 * "a", lease_expires_at=new_expiry())
    assert blocks.next_task() is None
    with pytest.raises(blocks.Outdated):
        blocks.build(task)
    TrackingSettings.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert build_all() == 1
    tracking.refresh_from_db()
    assert tracking.lease_expires_at is None


def test_the_worker_builds_blocks_and_leaves_a_collection_that_fails_for_later(
    laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_sliced_run(laptops)
    builder, store = BlockBuilder(), blocks._store
    monkeypatch.setattr(blocks, "_store", raise_no_space)
    assert builder.run_once()
    assert not builder.run_once()
    monkeypatch.setattr(blocks, "_store", store)
    assert BlockBuilder().run_once()
    assert run_counts() == [1]


def raise_no_space(*args: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_finding_work_takes_few_queries(
    laptops: Collection, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_sliced_run(laptops)
    build_all()
    # On PostgreSQL, another query reads the clock of the database, which decides when leases expire.
    with django_assert_num_queries(4 if connection.vendor == "sqlite" else 5):
        assert blocks.next_task() is None
