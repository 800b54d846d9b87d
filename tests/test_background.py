"""Background work that continues when no one waits for it."""

import threading
from types import SimpleNamespace

import pytest

from collections_app.system import background
from collections_app.system.background import Background, StillWorking
from tests.support import tools


def test_work_that_finishes_in_time(db: None) -> None:
    assert Background("test", most=1).done_within(10, "a", lambda: 5) == 5


def test_several_calls_wait_for_the_same_job(db: None) -> None:
    go_on, jobs, calls = threading.Event(), Background("test", most=1), []

    def work() -> str:
        calls.append(1)
        go_on.wait(tools.PATIENCE)
        return "done"

    for _ in range(3):
        with pytest.raises(StillWorking):
            jobs.done_within(0.01, "a", work)
    waiting: list[str] = []
    reader = threading.Thread(target=lambda: waiting.append(jobs.done_within(10, "a", work)))
    reader.start()
    go_on.set()
    reader.join()
    assert waiting == ["done"]
    assert calls == [1]


def test_work_is_wanted_while_someone_requests_it(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, jobs, now = threading.Event(), Background("test", most=1), 0.0
    monkeypatch.setattr(background, "time", SimpleNamespace(monotonic=lambda: now))
    assert not jobs.is_wanted("a")
    with pytest.raises(StillWorking):
        jobs.done_within(0.01, "a", lambda: go_on.wait(tools.PATIENCE))
    now = 119.0
    assert jobs.is_wanted("a")
    now = 121.0
    assert not jobs.is_wanted("a")
    with pytest.raises(StillWorking):
        jobs.done_within(0, "a", lambda: go_on.wait(tools.PATIENCE))
    assert jobs.is_wanted("a")
    go_on.set()


def test_the_number_of_jobs_is_limited(db: None) -> None:
    go_on, jobs = threading.Event(), Background("test", most=1)
    with pytest.raises(StillWorking):
        jobs.done_within(0.01, "a", lambda: go_on.wait(tools.PATIENCE))
    with pytest.raises(StillWorking):
        jobs.done_within(10, "b", lambda: pytest.fail("It was begun."))
    go_on.set()


def test_a_failure_is_remembered_for_a_while(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "in_background", lambda work, **_: work())
    jobs, calls = Background("test", most=1), []

    def fail() -> None:
        calls.append(1)
        raise LookupError

    for _ in range(3):
        with pytest.raises(LookupError):
            jobs.done_within(1, "a", fail)
    assert calls == [1]
    monkeypatch.setattr(background, "_REST_SECONDS", -1)
    with pytest.raises(LookupError):
        jobs.done_within(1, "a", fail)
    assert calls == [1, 1]


def test_without_a_new_thread_the_caller_has_to_retry(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(work: object, *, name: str) -> None:
        raise RuntimeError("can't start new thread")

    jobs = Background("test", most=1)
    with monkeypatch.context() as patched:
        patched.setattr(background, "in_background", refuse)
        with pytest.raises(StillWorking):
            jobs.done_within(1, "a", lambda: 5)
    assert jobs.done_within(10, "a", lambda: 5) == 5


def test_an_owner_can_have_half_of_the_jobs() -> None:
    go_on, jobs = threading.Event(), Background("test", most=4)

    def starts(owner: str, key: str) -> bool:
        started = threading.Event()

        def work() -> None:
            started.set()
            go_on.wait(tools.PATIENCE)

        with pytest.raises(StillWorking):
            jobs.done_within(0, key, work, owner=owner)
        return started.wait(0.2 if key == "c" else 20)

    try:
        assert [starts("alice", "a"), starts("alice", "b"), starts("alice", "c")] == [True, True, False]
        assert starts("bob", "d")
    finally:
        go_on.set()
