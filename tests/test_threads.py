"""What the check after each test says about threads."""

import threading

from tests.threads import still_running


def test_a_thread_that_goes_on_is_named() -> None:
    before, stop = set(threading.enumerate()), threading.Event()
    threading.Thread(target=stop.wait, name="left behind", daemon=True).start()
    assert still_running(before, seconds=0.01) == ["left behind"]
    stop.set()
    assert still_running(before) == []


def test_the_threads_of_the_process_may_go_on() -> None:
    before, stop = set(threading.enumerate()), threading.Event()
    thread = threading.Thread(target=stop.wait, name="pool-1-worker-0")
    thread.start()
    assert still_running(before, seconds=0.01) == []
    stop.set()
    thread.join()
