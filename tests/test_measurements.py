"""How much space the site uses: what the worker measures, and when."""

import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from collections_app import measurements
from collections_app.management.worker import Measurer
from collections_app.models import (
    Collection,
    CollectionStorage,
    DiskSample,
    Kind,
    ResultFile,
    Slice,
    StorageKind,
    StorageUse,
    Team,
    WorkerSeen,
)
from collections_app.models.storage_use import Growth, growth_of
from collections_app.records.tracking.slice_builder import build_slice
from collections_app.system import disk
from tests.support.results import make_ready_run, records
from tests.support.upstream import NOON, make_account, make_remote_collection, make_remote_run

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
GB = 1000**3


@pytest.fixture
def clock(results_folder: Path) -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOON, tick=False) as clock:
        yield clock


def used(kind: StorageKind) -> StorageUse:
    return StorageUse.objects.get(kind=kind)


def test_results_are_added_up_by_collection_from_the_stored_files(
    laptops: Collection, crawlers: Team, strangers: Team
) -> None:
    run = make_ready_run(laptops, records(3))
    make_remote_run(make_remote_collection(make_account(crawlers)), 1)  # its files are at the account
    measurements.measure()
    files = ResultFile.objects.filter(run=run)
    size = sum(file.size or 0 for file in files)
    (stored,) = CollectionStorage.objects.all()
    assert (stored.collection, stored.files, stored.bytes) == (laptops, len(files), size)
    assert (used(StorageKind.RESULTS).files, used(StorageKind.RESULTS).bytes) == (len(files), size)
    assert CollectionStorage.objects.of_team(crawlers) == size
    assert CollectionStorage.objects.of_team(strangers) == 0


def test_slices_are_added_up(laptops: Collection) -> None:
    run = make_ready_run(laptops, records(3))
    build_slice(run)
    measurements.measure()
    assert (used(StorageKind.TRACKING).files, used(StorageKind.TRACKING).bytes) == (
        1,
        Slice.objects.get().size,
    )


def test_a_figure_is_measured_again_after_a_quarter_of_an_hour(
    clock: time_machine.Traveller, laptops: Collection
) -> None:
    measurements.measure()
    make_ready_run(laptops, records(3))
    clock.shift(14 * MINUTE)
    measurements.measure()
    assert used(StorageKind.RESULTS).files == 0
    clock.shift(MINUTE)
    measurements.measure()
    assert used(StorageKind.RESULTS).files == 2
    assert used(StorageKind.RESULTS).measured_at == timezone.now()
    clock.shift(-DAY)  # the clock is set back
    measurements.measure()
    assert used(StorageKind.RESULTS).measured_at == timezone.now()


def test_a_collection_without_files_loses_its_figure(
    clock: time_machine.Traveller, laptops: Collection
) -> None:
    run = make_ready_run(laptops, records(3))
    measurements.measure()
    run.delete()
    clock.shift(15 * MINUTE)
    measurements.measure()
    assert not CollectionStorage.objects.exists()


def test_the_number_of_queries_does_not_depend_on_the_collections(
    crawlers: Team, laptops: Collection, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(5):
        other = Collection.objects.create(team=crawlers, name=f"Laptops {number}", kind=Kind.AMAZON)
        make_ready_run(other, records(1))
    with django_assert_max_num_queries(55):  # a transaction for each row that it creates takes three
        measurements.measure()
    assert CollectionStorage.objects.count() == 5


def test_the_cache_and_the_disk_belong_to_a_machine(
    clock: time_machine.Traveller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "converted").mkdir()
    (tmp_path / "converted" / "table").write_bytes(b"12345")
    (tmp_path / "converted" / "0001.lock").touch()
    measurements.measure()
    cache, machine = used(StorageKind.CACHE), socket.gethostname()
    assert (cache.machine, cache.files, cache.bytes) == (machine, 1, 5)
    assert used(StorageKind.DATABASE).bytes > 0
    assert {sample.folder for sample in DiskSample.objects.filter(machine=machine)} == disk.spaces().keys()
    assert WorkerSeen.objects.get(machine=machine).is_alive(timezone.now())
    clock.shift(9 * DAY)
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    measurements.measure()
    assert set(WorkerSeen.objects.values_list("machine", flat=True)) == {"another"}
    assert set(DiskSample.objects.values_list("machine", flat=True)) == {"another"}
    assert set(StorageUse.objects.values_list("machine", flat=True)) == {"", "another"}


def test_the_worker_measures_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(measurements, "measure", lambda: calls.append(1))
    worker = Measurer()
    assert not worker.run_once()
    assert not worker.run_once()
    assert calls == [1]


@pytest.fixture
def sample(clock: time_machine.Traveller) -> Callable[[float, int], DiskSample]:
    def make(days_ago: float, free: int) -> DiskSample:
        at = timezone.now() - days_ago * DAY
        return DiskSample(machine="a", folder="data", free=free, total=100 * GB, measured_at=at)

    return make


def test_growth_is_that_of_the_last_seven_days(sample: Callable[[float, int], DiskSample]) -> None:
    samples = [sample(8, 99 * GB), sample(0, 12 * GB), sample(7, 19 * GB), sample(3, 5 * GB)]
    growth = growth_of(samples)
    assert growth == Growth(7 * DAY, GB)
    assert growth.days_until_full(12 * GB) == 12


def test_a_disk_that_does_not_grow_is_never_full(sample: Callable[[float, int], DiskSample]) -> None:
    growth = growth_of([sample(2, 5 * GB), sample(0, 7 * GB)])
    assert growth is not None
    assert growth.days_until_full(7 * GB) is None


def test_the_growth_of_the_first_day_is_unknown(sample: Callable[[float, int], DiskSample]) -> None:
    assert growth_of([]) is None
    assert growth_of([sample(0.9, 5 * GB), sample(0, 4 * GB)]) is None
