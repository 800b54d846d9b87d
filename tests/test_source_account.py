"""An account as a source: how long requests wait for its list, and what they get meanwhile."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import responses
import time_machine
from django.utils import timezone

from collections_app.models import Account, Collection, FileKind, ResultFile, Team
from collections_app.sources import SourceBusy, SourceUnavailable, account, deliverable, source_of, sync
from collections_app.system import background
from collections_app.system.background import Background
from tests.support import tools
from tests.support.upstream import (
    NOON,
    ListedRuns,
    list_in_the_same_thread,
    lists,
    make_account,
    make_remote_collection,
    make_remote_run,
    remote_run,
)

SOON = timedelta(seconds=20)  # longer than a request normally waits
AT_ONCE = timedelta()
DOWN = SourceUnavailable("MultiCartAPI is not responding.")


@pytest.fixture
def collection(crawlers: Team) -> Collection:
    return make_remote_collection(make_account(crawlers))


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> ListedRuns:
    """The account's list, read in the thread of the test."""
    return lists(monkeypatch, [remote_run(1)])


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[responses.RequestsMock]:
    """The account's server, called in the thread of the test."""
    list_in_the_same_thread(monkeypatch)
    with responses.RequestsMock() as server:
        yield server


def noted(collection: Collection, *, seconds_ago: float, problem: str = "", has_older: bool = False) -> None:
    collection.refresh_tried_at = timezone.now() - timedelta(seconds=seconds_ago)
    collection.refreshed_at = collection.refresh_tried_at - timedelta(minutes=3)
    collection.refresh_problem = problem
    collection.has_older_runs = has_older
    collection.save()


def test_refresh_loads_the_runs_and_returns_their_age(collection: Collection, listed: ListedRuns) -> None:
    before = timezone.now()
    freshness = source_of(collection).refresh(collection, deadline=SOON)
    assert freshness.as_of
    assert before <= freshness.as_of <= timezone.now()
    assert (freshness.problem, freshness.has_older, freshness.is_late) == ("", False, False)
    assert [run.number for run in collection.runs.all()] == [1]


@pytest.fixture
def hundred(collection: Collection, listed: ListedRuns) -> Collection:
    """A collection whose account lists 100 known runs, and has then added run 900 as its oldest one."""
    listed.runs = [remote_run(number) for number in range(1, 101)]
    sync.refresh(collection, seconds=tools.PATIENCE)
    sync.load_older(collection, seconds=tools.PATIENCE)
    assert collection.runs.count() == 100
    Collection.objects.update(refresh_tried_at=None)
    listed.runs.append(remote_run(900, at=NOON - timedelta(days=1)))
    return Collection.objects.get(pk=collection.pk)


def test_refresh_finds_a_run_that_was_added_below_the_newest_ones(hundred: Collection) -> None:
    freshness = source_of(hundred).refresh(hundred, deadline=SOON)
    assert freshness.problem == ""
    assert hundred.runs.filter(number=900).exists()


def test_no_request_waits_for_known_runs_to_be_read_again(
    hundred: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Callable[[], None]] = []

    def in_background(work: Callable[[], None], *, name: str) -> None:
        if name == "list-runs":
            work()
        else:
            started.append(work)

    monkeypatch.setattr(background, "in_background", in_background)
    assert source_of(hundred).refresh(hundred, deadline=SOON).problem == ""
    assert not hundred.runs.filter(number=900).exists()
    for work in started:
        work()
    assert hundred.runs.filter(number=900).exists()


def test_if_known_runs_cannot_be_read_again_the_newest_are_still_up_to_date(
    hundred: Collection, listed: ListedRuns
) -> None:
    listed.calls.clear()

    def fail_deeper() -> None:
        listed.problem = DOWN if listed.calls[-1][0] else None

    listed.before_each = fail_deeper
    freshness = source_of(hundred).refresh(hundred, deadline=SOON)
    assert (len(listed.calls), freshness.problem) == (2, "")


def test_an_account_that_is_busy_when_known_runs_are_read_again_is_left_alone(
    hundred: Collection, listed: ListedRuns
) -> None:
    listed.calls.clear()

    def fail_deeper() -> None:
        listed.problem = SourceBusy("Wait a minute.", 60) if listed.calls[-1][0] else None

    listed.before_each = fail_deeper
    source_of(hundred).refresh(hundred, deadline=SOON)
    hundred.refresh_from_db()
    assert hundred.retry_after == 60
    listed.calls.clear()
    source_of(hundred).refresh(hundred, deadline=SOON)
    assert listed.calls == []


@pytest.mark.parametrize(
    ("seconds_ago", "problem", "asked"),
    [(2, "", False), (4, "", True), (14, "It is down.", False), (16, "It is down.", True)],
)
def test_a_recent_list_is_not_requested_again(
    collection: Collection, listed: ListedRuns, seconds_ago: float, problem: str, *, asked: bool
) -> None:
    noted(collection, seconds_ago=seconds_ago, problem=problem)
    freshness = source_of(collection).refresh(collection, deadline=SOON)
    assert bool(listed.calls) is asked
    assert freshness.problem == ("" if asked else problem)
    assert freshness.as_of == collection.refreshed_at


def test_the_first_list_is_requested_even_if_another_process_requests_it(
    collection: Collection, listed: ListedRuns
) -> None:
    collection.refresh_tried_at = timezone.now()
    assert source_of(collection).refresh(collection, deadline=SOON).as_of is not None


def test_a_problem_is_returned_with_the_age_of_the_rows(collection: Collection, listed: ListedRuns) -> None:
    noted(collection, seconds_ago=60)
    known_as_of = collection.refreshed_at
    listed.problem = DOWN
    freshness = source_of(collection).refresh(collection, deadline=SOON)
    assert (freshness.as_of, freshness.problem) == (known_as_of, str(DOWN))


def test_a_busy_account_is_not_called_before_retry_after(collection: Collection, listed: ListedRuns) -> None:
    source = source_of(collection)
    with time_machine.travel(NOON, tick=False) as clock:
        listed.problem = SourceBusy("It is busy. Try again in 40 seconds.", 40)
        for seconds_left in (40, 21, 2):
            freshness = source.refresh(collection, deadline=SOON)
            assert (freshness.problem, freshness.retry_after) == (str(listed.problem), seconds_left)
            assert isinstance(freshness.error, SourceBusy)
            clock.shift(19)
        assert len(listed.calls) == 1
        listed.problem = None
        freshness = source.refresh(collection, deadline=SOON)
        assert (freshness.problem, freshness.retry_after, freshness.error) == ("", None, None)


@pytest.mark.parametrize(("status", "seconds"), [(429, 5), (503, 1), (503, 300), (429, None)])
def test_a_busy_account_is_called_after_retry_after(
    collection: Collection, vendor: responses.RequestsMock, status: int, seconds: int | None
) -> None:
    source = source_of(collection)
    address = f"{Account.DEFAULT_BASE_URL}/schedules/collections/results/download/"
    vendor.post(address, status=status, headers={"Retry-After": f"{seconds}"} if seconds else {})
    vendor.post(address, json={"code": 200, "data": [], "status": 1})
    with time_machine.travel(NOON, tick=False) as clock:
        assert isinstance(source.refresh(collection, deadline=SOON).error, SourceBusy)
        clock.shift((seconds or 60) - 0.1)
        assert source.refresh(collection, deadline=SOON).retry_after == 1
        assert len(vendor.calls) == 1
        clock.shift(0.1)
        assert source.refresh(collection, deadline=SOON).error is None
        assert len(vendor.calls) == 2


def test_older_runs_are_requested_after_retry_after(collection: Collection, listed: ListedRuns) -> None:
    make_remote_run(collection, 2)
    with time_machine.travel(NOON, tick=False) as clock:
        noted(collection, seconds_ago=60, has_older=True)
        listed.problem = SourceBusy("It is busy. Try again in 40 seconds.", 40)
        source_of(collection).load_older(collection, deadline=SOON)
        listed.problem = None
        clock.shift(40)
        assert source_of(collection).load_older(collection, deadline=SOON).problem == ""


def test_older_runs_are_not_requested_before_retry_after(collection: Collection, listed: ListedRuns) -> None:
    make_remote_run(collection, 2)
    noted(collection, seconds_ago=60, has_older=True)
    listed.problem = SourceBusy("It is busy. Try again in 40 seconds.", 40)
    for _ in range(2):
        assert source_of(collection).load_older(collection, deadline=SOON).retry_after in {39, 40}
    assert len(listed.calls) == 1


def test_older_runs_are_requested_only_if_there_are_any(collection: Collection, listed: ListedRuns) -> None:
    source = source_of(collection)
    source.load_older(collection, deadline=SOON)
    assert listed.calls == []
    make_remote_run(collection, 2, at=remote_run(2).created_at)
    noted(collection, seconds_ago=1, has_older=True)
    assert source.load_older(collection, deadline=SOON).has_older is False
    assert collection.runs.count() == 2
    calls = len(listed.calls)
    noted(collection, seconds_ago=1, has_older=True, problem="It is down.")
    assert source.load_older(collection, deadline=SOON).problem == "It is down."
    assert len(listed.calls) == calls


def test_an_unexpected_error_is_logged_once_and_reported_without_details(
    collection: Collection, listed: ListedRuns, caplog: pytest.LogCaptureFixture
) -> None:
    listed.problem = ZeroDivisionError("a detail")
    freshness = source_of(collection).refresh(collection, deadline=SOON)
    assert freshness.problem.startswith("The update failed because of an internal error")
    assert "a detail" not in freshness.problem
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_if_no_thread_can_start_the_next_request_tries_again(
    collection: Collection, listed: ListedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(work: object, *, name: str) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(background, "in_background", refuse)
        assert source_of(collection).refresh(collection, deadline=SOON).as_of is None
    assert source_of(collection).refresh(collection, deadline=SOON).as_of is not None


def test_a_size_is_requested_once_and_stored(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def size_of(file: ResultFile) -> int:
        asked.append(file.name)
        return 17

    monkeypatch.setattr(account, "size_of", size_of)
    page = make_remote_run(collection).files.get(kind=FileKind.PAGE)
    assert deliverable(page).size == 17
    assert deliverable(ResultFile.objects.get(pk=page.pk)).size == 17
    assert asked == [page.name]


def test_a_stored_size_over_the_limit_is_requested_again(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "size_of", lambda file: 17)
    page = make_remote_run(collection, size=10**17).files.get(kind=FileKind.PAGE)
    assert deliverable(page).size == 17
    assert ResultFile.objects.get(pk=page.pk).size == 17


def test_a_file_that_was_copied_is_served_from_our_storage(collection: Collection) -> None:
    page = make_remote_run(collection, size=17).files.get(kind=FileKind.PAGE)
    assert type(deliverable(page).body).__name__ == "UpstreamBody"
    page.key = "some/key"
    assert type(deliverable(page).body).__name__ == "StoredBody"


# --- threads ------------------------------------------------------------------------------------


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """An event that holds back the account's responses until it is set, at the latest after the test."""
    gate, listed = threading.Event(), ListedRuns([remote_run(1)])

    def wait() -> None:
        assert gate.wait(tools.PATIENCE)

    listed.before_each = wait
    monkeypatch.setattr(sync, "list_runs", listed)
    yield gate
    gate.set()
    for thread in threading.enumerate():
        if thread.name == "list-runs":
            thread.join(tools.PATIENCE)


in_threads = pytest.mark.django_db(transaction=True)


@in_threads
def test_requests_wait_until_the_deadline_and_the_list_is_still_read(
    collection: Collection, gate: threading.Event
) -> None:
    source = source_of(collection)
    freshness = source.refresh(collection, deadline=AT_ONCE)
    assert (freshness.as_of, freshness.is_late) == (None, True)
    assert freshness.problem == "MultiCartAPI is slow to respond."
    gate.set()
    freshness = source.refresh(collection, deadline=SOON)
    assert freshness.as_of is not None
    assert freshness.problem == ""
    assert collection.runs.count() == 1


@in_threads
def test_many_requests_at_once_cause_one_call(collection: Collection, gate: threading.Event) -> None:
    for _ in range(8):
        mine = Collection.objects.get(pk=collection.pk)
        assert source_of(mine).refresh(mine, deadline=AT_ONCE).is_late
    assert sum(thread.name == "list-runs" for thread in threading.enumerate()) == 1


@in_threads
def test_accounts_that_hang_use_a_limited_number_of_threads(
    crawlers: Team, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "_refreshes", Background("list-runs", most=2, most_per_owner=2))
    connected = make_account(crawlers)
    for number in range(4):
        collection = make_remote_collection(connected, remote_id=number)
        assert source_of(collection).refresh(collection, deadline=AT_ONCE).is_late
    assert sum(thread.name == "list-runs" for thread in threading.enumerate()) == 2


@in_threads
def test_an_account_that_hangs_leaves_threads_for_others(
    crawlers: Team, strangers: Team, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "_refreshes", Background("list-runs", most=9, most_per_owner=2))
    hanging, other = make_account(crawlers), make_account(strangers)
    for number in range(4):
        collection = make_remote_collection(hanging, remote_id=number)
        source_of(collection).refresh(collection, deadline=AT_ONCE)
    assert sum(thread.name == "list-runs" for thread in threading.enumerate()) == 2
    collection = make_remote_collection(other)
    gate.set()
    assert source_of(collection).refresh(collection, deadline=SOON).as_of is not None


@in_threads
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_its_parents_work(
    collection: Collection, gate: threading.Event
) -> None:
    source_of(collection).refresh(collection, deadline=AT_ONCE)
    pid = os.fork()
    if pid == 0:
        os._exit(account._refreshes.is_wanted(collection.pk))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
