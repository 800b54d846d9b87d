"""The check for threads after each test."""

import threading

import pytest
from django.db import connection

from collections_app.models import Team
from tests.support.threads import left_open, still_running


def test_a_running_thread_is_named() -> None:
    before, stop = set(threading.enumerate()), threading.Event()
    threading.Thread(target=stop.wait, name="left behind", daemon=True).start()
    assert still_running(before, seconds=0.01) == ["left behind"]
    stop.set()
    assert still_running(before) == []


def test_process_wide_threads_may_keep_running() -> None:
    before, stop = set(threading.enumerate()), threading.Event()
    thread = threading.Thread(target=stop.wait, name="pool-1-worker-0")
    thread.start()
    assert still_running(before, seconds=0.01) == []
    stop.set()
    thread.join()


@pytest.mark.django_db(transaction=True)
def test_a_thread_that_leaves_its_connection_open_is_named() -> None:
    done = threading.Event()

    def ask() -> None:
        Team.objects.exists()
        assert left_open() == ["asks"]
        connection.close()
        done.set()

    thread = threading.Thread(target=ask, name="asks")
    thread.start()
    thread.join()
    assert done.is_set()
    assert left_open() == []
