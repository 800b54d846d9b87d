"""Many threads write and read at once. SQLite allows one writer at a time, and the others wait."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection, connections

from collections_app.models import Collection, Run, State
from collections_app.runs.removal import delete_run
from collections_app.runs.repair import repair_runs
from tests.support.results import (
    make_failed_run,
    make_processing_run,
    make_ready_run,
    records,
    stored_records,
)
from tests.support.tools import is_thorough

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 20
ROUNDS = 3 if is_thorough() else 1


def test_twenty_threads_write_and_read_at_once(laptops: Collection, headphones: Collection) -> None:
    together = Barrier(THREADS)

    def work(number: int) -> None:
        try:
            together.wait()
            for _ in range(ROUNDS):
                # An instance of its own: threads share the rows, not the objects.
                collection = Collection.objects.get(pk=(laptops, headphones)[number % 2].pk)
                run = make_ready_run(collection, records(5), page_size=2)
                read(collection, run)
                delete_run(make_failed_run(collection))
                delete_run(make_processing_run(collection, records(1)))
                assert not repair_runs().failed_runs
        finally:
            connections.close_all()

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(work, number) for number in range(THREADS)]:
            done.result()

    for collection in (laptops, headphones):
        runs = list(collection.runs.newest_first())
        assert len(runs) == THREADS // 2 * ROUNDS
        assert {run.state for run in runs} == {State.READY}
        assert len({run.number for run in runs}) == len(runs)
        collection.refresh_from_db()
        assert collection.last_run_number == 3 * len(runs)
        assert all(stored_records(run) == records(5) for run in runs)


def read(collection: Collection, run: Run) -> None:
    """Read as a page or the API does, while others write."""
    for seen in collection.runs.newest_first().with_files()[:10]:
        if seen.is_ready:
            assert len(seen.ready_files) == seen.file_count
    assert stored_records(run) == records(5)


@pytest.mark.sqlite(reason="its write-ahead log")
def test_it_is_sqlite_as_it_is_shipped(db: None) -> None:
    with connection.cursor() as cursor:
        journal = cursor.execute("PRAGMA journal_mode").fetchone()[0]
    assert (connection.vendor, journal) == ("sqlite", "wal")
