"""The rows of an account's runs: one gapless block of its list."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import responses
import time_machine
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from collections_app.models import (
    Account,
    Collection,
    FileKind,
    Kind,
    NotConnected,
    ResultFile,
    Run,
    State,
    Team,
)
from collections_app.sources import SourceTimeout, SourceUnavailable, missing_runs, rows, run_list, sync
from collections_app.sources.missing_runs import MissingRuns
from collections_app.sources.sync import LIMIT, PAGE
from collections_app.sources.upstream.runs import Listing, RemoteFile, RemoteRun
from tests.support.tools import PATIENCE, all_or_few, all_or_some
from tests.support.upstream import NOON, ListedRuns, lists, make_account, make_remote_collection, remote_run

DOWN = SourceUnavailable("MultiCartAPI is not responding.")


@pytest.fixture
def collection(crawlers: Team) -> Collection:
    return make_remote_collection(make_account(crawlers))


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> ListedRuns:
    """The account's list."""
    return lists(monkeypatch)


def runs(count: int, first: int = 1, *, ready: bool = True) -> list[RemoteRun]:
    return [remote_run(number, ready=ready) for number in range(first, first + count)]


def known(collection: Collection) -> list[int]:
    return list(collection.runs.newest_first().values_list("number", flat=True))


def refresh(collection: Collection, seconds: float = 5) -> Collection:
    sync.refresh(collection, seconds=seconds)
    collection.refresh_from_db()
    return collection


def go_back(collection: Collection, seconds: float = 5) -> Collection:
    sync.load_older(collection, seconds=seconds)
    collection.refresh_from_db()
    return collection


def replaced(account: ListedRuns, run: RemoteRun) -> None:
    account.runs = [run if run.number == other.number else other for other in account.runs]


# --- a run --------------------------------------------------------------------------------------


def test_a_ready_run_is_written_with_its_files(collection: Collection, account: ListedRuns) -> None:
    account.runs = [remote_run(88, pages=2, at=datetime(2026, 6, 20, 12, 0, 0, 123456, tzinfo=UTC))]
    refresh(collection)
    run = collection.runs.get()
    assert (run.number, run.state, run.extracted, run.total, run.file_count) == (88, "ready", 250, 250, 3)
    assert run.created_at == datetime(2026, 6, 20, 12, 0, 0, 123456, tzinfo=UTC)
    assert run.updated_at == run.created_at + timedelta(minutes=5)
    assert list(
        run.files.order_by("-kind", "position").values_list(
            "kind", "position", "name", "remote_name", "key", "size", "modified"
        )
    ) == [
        (kind, position, name, name, "", None, run.updated_at.replace(microsecond=0))
        for kind, position, name in (
            ("page", 1, "AU Laptops_88_Results_Page_1.json"),
            ("page", 2, "AU Laptops_88_Results_Page_2.json"),
            ("archive", 0, "AU Laptops_88_Results_All_Pages.zip"),
        )
    ]


@pytest.mark.parametrize(
    "listed",
    [
        (RemoteFile(FileKind.CATEGORY_LIST, 0, "category_asins.json"),),
        (
            RemoteFile(FileKind.CATEGORY_LIST, 0, "category_asins.json"),
            RemoteFile(FileKind.CATEGORY_CSV, 0, "theirs.csv"),
        ),
    ],
    ids=["alone", "with a CSV"],
)
def test_a_category_run_gets_a_row_for_its_csv(
    crawlers: Team, account: ListedRuns, listed: tuple[RemoteFile, ...]
) -> None:
    collection = make_remote_collection(make_account(crawlers), kind=Kind.AMAZON_CATEGORY)
    run = remote_run(1)
    account.runs = [RemoteRun(**(vars(run) | {"files": listed}))]
    refresh(collection)
    assert set(collection.runs.get().files.values_list("kind", "name", "remote_name")) == {
        ("category_list", "category_asins.json", "category_asins.json"),
        ("category_csv", "category_asins.csv", ""),
    }


def test_names_are_safe_and_unique(collection: Collection, account: ListedRuns) -> None:
    names = ["a/b.json", "a:b.json", "a_b (2).json", "a?b.json", "x" * 300 + "1.json", "x" * 300 + "2.json"]
    names += ["y" * 300 + "a.json", "y" * 300 + "b.json"]
    files = tuple(RemoteFile(FileKind.PAGE, page, name) for page, name in enumerate(names, 1))
    account.runs = [RemoteRun(**(vars(remote_run(1)) | {"files": files}))]
    refresh(collection)
    found = collection.runs.get().files.order_by("position")
    assert [file.remote_name for file in found] == names
    assert [file.name for file in found] == [
        "a_b.json",
        "a_b (2).json",
        "a_b (2) (2).json",
        "a_b (3).json",
        "x" * 194 + "1.json",
        "x" * 194 + "2.json",
        "y" * 195 + ".json",
        "y" * 191 + " (2).json",
    ]


def test_names_can_be_unpacked_on_windows_and_macos(collection: Collection, account: ListedRuns) -> None:
    names = ["NUL.json", "_nul.json", "Page.json", "page.JSON", "Caf\xe9.json", "Cafe\u0301.json", "a. "]
    files = tuple(RemoteFile(FileKind.PAGE, page, name) for page, name in enumerate(names, 1))
    account.runs = [RemoteRun(**(vars(remote_run(1)) | {"files": files}))]
    refresh(collection)
    assert [file.name for file in collection.runs.get().files.order_by("position")] == [
        "_NUL.json",
        "_nul (2).json",
        "Page.json",
        "page (2).JSON",
        "Caf\xe9.json",
        "Cafe\u0301 (2).json",
        "a__",
    ]


def test_a_processing_run_shows_its_progress_and_becomes_ready_with_its_files(
    collection: Collection, account: ListedRuns
) -> None:
    account.runs = [remote_run(1, ready=False, extracted=7)]
    refresh(collection)
    run = collection.runs.get()
    assert (run.state, run.extracted, run.file_count, run.files.count()) == ("processing", 7, 0, 0)
    account.runs = [remote_run(1, ready=False, extracted=9)]
    refresh(collection)
    assert collection.runs.get().extracted == 9
    account.runs = [remote_run(1)]
    refresh(collection)
    ready = collection.runs.get()
    assert (ready.pk, ready.state, ready.extracted, ready.file_count, ready.files.count()) == (
        run.pk,
        "ready",
        250,
        2,
        2,
    )


def test_a_ready_run_never_changes_again(collection: Collection, account: ListedRuns) -> None:
    account.runs = [remote_run(1)]
    refresh(collection)
    collection.runs.get().files.update(size=17)
    before = [list(collection.runs.values()), list(collection.runs.get().files.values())]
    for later in (remote_run(1, pages=3, extracted=9), remote_run(1, ready=False)):
        account.runs = [later]
        refresh(collection)
        assert [list(collection.runs.values()), list(collection.runs.get().files.values())] == before


def test_a_complete_run_without_files_is_failed_until_it_has_some(
    collection: Collection, account: ListedRuns
) -> None:
    account.runs = [RemoteRun(**(vars(remote_run(1)) | {"files": ()}))]
    refresh(collection)
    run = collection.runs.get()
    assert run.state == State.FAILED
    assert "lists no files" in run.failure_reason
    account.runs = [remote_run(1)]
    refresh(collection)
    run = collection.runs.get()
    assert (run.state, run.failure_reason) == ("ready", "")


def test_a_run_with_files_at_another_server_is_failed_and_says_what_to_do(collection: Collection) -> None:
    links = {"pages": ["https://elsewhere.example/api/v1/results/7001/88/1.json"], "all_pages": None}
    run = {"id": 88, "created_at": "2026-06-20T12:00:00Z", "is_download_generated": True}
    with responses.RequestsMock() as vendor:
        vendor.post(
            f"{Account.DEFAULT_BASE_URL}/schedules/collections/results/download/",
            json={"code": 200, "data": [run | {"download_links": links}], "status": 1},
        )
        refresh(collection)
    row = collection.runs.get()
    assert row.state == State.FAILED
    assert "check the account's base address" in row.failure_reason


@pytest.mark.parametrize("reason", [rows._NO_FILES, rows._NO_FILES_IN_0_1])
def test_a_run_without_files_is_found_again_deep_in_the_list(
    collection: Collection, account: ListedRuns, reason: str
) -> None:
    account.runs = [RemoteRun(**(vars(remote_run(1)) | {"files": ()})), *runs(150, 2)]
    collection.runs.create(number=1, created_at=account.runs[0].created_at)
    refresh(collection)
    assert collection.runs.filter(number=1, state=State.FAILED).update(failure_reason=reason) == 1
    replaced(account, remote_run(1))
    refresh(collection)
    assert collection.runs.get(number=1).state == State.READY


# --- the newest runs ----------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "more"), [(0, False), (1, False), (50, False), (51, False), (120, True)])
def test_the_first_refresh_loads_one_page(
    collection: Collection, account: ListedRuns, count: int, *, more: bool
) -> None:
    account.runs = runs(count)
    refresh(collection)
    # All but the last one: the next page may have more runs with the same time.
    assert known(collection) == list(range(count, 0, -1))[: LIMIT - 1]
    assert collection.has_older_runs is more


def test_a_page_with_a_known_run_is_enough(collection: Collection, account: ListedRuns) -> None:
    account.runs = runs(120)
    refresh(collection)
    account.calls.clear()
    account.runs = runs(122)
    refresh(collection)
    assert account.calls == [(0, LIMIT)]
    assert known(collection) == list(range(122, 59, -1))
    assert collection.has_older_runs


def test_pages_are_read_until_they_join_the_known_runs(collection: Collection, account: ListedRuns) -> None:
    account.runs = runs(3)
    refresh(collection)
    account.runs = runs(303)
    refresh(collection)
    assert known(collection) == list(range(303, 0, -1))
    assert not collection.has_older_runs


def test_runs_that_arrive_during_a_refresh_leave_no_gap(collection: Collection, account: ListedRuns) -> None:
    account.runs = runs(3)
    refresh(collection)
    account.runs = runs(200)

    def one_more() -> None:
        account.runs += runs(7, first=len(account.runs) + 1)

    account.before_each = one_more
    refresh(collection)
    assert known(collection) == list(range(207, 0, -1))


def test_runs_that_leave_during_a_refresh_leave_no_gap(collection: Collection, account: ListedRuns) -> None:
    account.runs = runs(3)
    refresh(collection)
    account.runs = runs(200)
    account.before_each = account.runs.pop
    refresh(collection)
    assert set(known(collection)) >= set(range(1, len(account.runs) + 1))


def test_a_server_may_return_fewer_runs_than_requested(
    collection: Collection, account: ListedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def few(collection: Collection, *, skip: int, limit: int, seconds: float) -> Listing:
        return account(collection, skip=skip, limit=min(limit, 20), seconds=seconds)

    monkeypatch.setattr(sync, "list_runs", few)
    account.runs = runs(70)
    refresh(collection)
    assert known(collection)[:PAGE] == list(range(70, 70 - PAGE, -1))
    assert collection.has_older_runs
    account.runs = runs(150)
    refresh(collection)
    assert known(collection)[:100] == list(range(150, 50, -1))
    while collection.has_older_runs:
        go_back(collection)
    assert known(collection) == list(range(150, 0, -1))


def test_a_category_list_completes_its_run_once_the_type_is_corrected(
    collection: Collection, account: ListedRuns
) -> None:
    listed = RemoteFile(FileKind.PAGE, 1, "category_asins.json")
    account.runs = [replace(remote_run(88), files=(listed,))]
    refresh(collection)
    assert collection.runs.get().failure_reason.endswith("base address and this collection's type.")
    collection.kind = Kind.AMAZON_CATEGORY
    collection.save()
    account.runs = [remote_run(88, category=True)]
    refresh(collection)
    assert sorted(file.name for file in collection.runs.get().files.all()) == [
        "category_asins.csv",
        "category_asins.json",
    ]


def test_if_it_fails_before_it_joins_the_known_runs_nothing_is_written(
    collection: Collection, account: ListedRuns
) -> None:
    account.runs = runs(3)
    refresh(collection)
    refreshed_at = collection.refreshed_at
    account.runs = runs(303)

    def break_off() -> None:
        if len(account.calls) > 4:
            raise DOWN

    account.before_each = break_off
    refresh(collection)
    assert known(collection) == [3, 2, 1]
    assert (collection.refresh_problem, collection.refreshed_at) == (str(DOWN), refreshed_at)


def test_an_outage_begins_with_its_first_failure_and_ends_with_a_success(
    collection: Collection, account: ListedRuns
) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        for hours, problem, failing_since in (
            (0, None, None),
            (1, DOWN, NOON + timedelta(hours=1)),
            (2, DOWN, NOON + timedelta(hours=1)),
            (3, None, None),
        ):
            clock.move_to(NOON + timedelta(hours=hours))
            account.problem = problem
            refresh(collection)
            collection.refresh_from_db()
            assert collection.failing_since == failing_since


def test_no_page_is_requested_after_the_time_is_over(collection: Collection, account: ListedRuns) -> None:
    refresh(collection, seconds=0)
    assert account.calls == []
    assert "took too long" in collection.refresh_problem


def test_the_number_of_queries_does_not_grow_with_the_runs(crawlers: Team, account: ListedRuns) -> None:
    counts = []
    for count in (10, 50):
        collection = make_remote_collection(make_account(crawlers, f"{count}"), remote_id=count)
        account.runs = runs(count, ready=False)
        refresh(collection)
        account.runs = runs(count // 2) + runs(count // 2, count // 2 + 1, ready=False)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            refresh(collection)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 18


# --- many files ---------------------------------------------------------------------------------


class Interrupted(Exception):
    """The process ends between two transactions."""


@pytest.fixture
def six_files_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write at most six rows of files in one transaction: those of three runs."""
    monkeypatch.setattr(rows, "_MAX_FILES_AT_ONCE", 6)


def after_each_transaction(observe: Callable[[], object]) -> AbstractContextManager[None]:
    """Call a function after each transaction. In a test, that is a savepoint."""

    def execute(run: Callable[..., object], statement: str, *arguments: object) -> object:
        result = run(statement, *arguments)
        if statement.startswith("RELEASE SAVEPOINT"):
            observe()
        return result

    return connection.execute_wrapper(execute)


@pytest.mark.usefixtures("six_files_at_once")
def test_very_many_files_are_written_in_several_transactions(
    collection: Collection, account: ListedRuns
) -> None:
    account.runs = [*runs(7), remote_run(8, pages=9)]
    written = [0]

    def observe() -> None:
        assert known(collection) == list(range(8, 0, -1))
        for run in collection.runs.all():
            assert run.files.count() == run.file_count
            assert run.is_ready is bool(run.file_count)
        written.append(ResultFile.objects.count())

    with after_each_transaction(observe):
        refresh(collection)
    # The files of a run aren't divided, even if they are more than six.
    assert written == [0, 10, 16, 22, 24]
    assert not collection.runs.exclude(state=State.READY).exists()
    with after_each_transaction(observe):
        refresh(collection)
    assert written[5:] == [24]


@pytest.mark.usefixtures("six_files_at_once")
def test_if_it_is_interrupted_the_next_refresh_completes_it(
    collection: Collection, account: ListedRuns
) -> None:
    def fail() -> None:
        raise Interrupted

    account.runs = runs(7)
    with after_each_transaction(fail), pytest.raises(Interrupted):
        refresh(collection)
    states = collection.runs.newest_first().values_list("state", flat=True)
    assert list(states) == ["ready"] * 3 + ["processing"] * 4
    refresh(collection)
    assert list(states.all()) == ["ready"] * 7


def test_files_are_named_before_the_transaction(
    collection: Collection, account: ListedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    named_in: list[int] = []
    kept_name = rows.kept_name  # type: ignore[attr-defined]

    def kept(name: str) -> str:
        named_in.append(len(connection.savepoint_ids))
        return kept_name(name)

    monkeypatch.setattr(rows, "kept_name", kept)
    account.runs = runs(1)
    outside = len(connection.savepoint_ids)
    refresh(collection)
    assert named_in == [outside] * 2


# --- runs with the same time --------------------------------------------------------------------

ORDERS: dict[str, Callable[[RemoteRun], object]] = {
    "descending": lambda run: -run.number,
    "ascending": lambda run: run.number,
    "mixed": lambda run: run.number * 7919 % 1009,
}


def known_to_the_end(collection: Collection) -> list[int]:
    refresh(collection)
    for _ in range(100):
        if not collection.has_older_runs:
            return known(collection)
        go_back(collection)
    raise AssertionError("The list doesn't end.")


def simultaneous(count: int, first: int = 1, hour: int = 0) -> list[RemoteRun]:
    return [remote_run(number, at=NOON + timedelta(hours=hour)) for number in range(first, first + count)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count", all_or_few([9, 51, 60, 61, 62, 120, 230], 61))
def test_all_runs_with_the_same_time_are_listed(
    collection: Collection, account: ListedRuns, count: int, order: str
) -> None:
    account.runs, account.order = simultaneous(count), ORDERS[order]
    assert known_to_the_end(collection) == list(range(count, 0, -1))
    assert len(account.calls) <= 2 + count / (PAGE + 1)
    assert MissingRuns.of(collection).sentences() == []


@pytest.mark.parametrize("order", ORDERS)
def test_runs_added_to_the_same_time_later_are_listed_too(
    collection: Collection, account: ListedRuns, order: str
) -> None:
    account.runs, account.order = simultaneous(60), ORDERS[order]
    refresh(collection)
    account.runs += simultaneous(100, first=61)
    refresh(collection)
    assert known(collection) == list(range(160, 0, -1))


def test_runs_with_the_same_time_become_known_together(collection: Collection, account: ListedRuns) -> None:
    account.runs = simultaneous(60, hour=9) + simultaneous(60, first=61, hour=8)
    account.order = ORDERS["ascending"]
    refresh(collection)
    assert known(collection) == list(range(60, 0, -1))
    assert collection.has_older_runs
    go_back(collection)
    assert known(collection) == [*range(60, 0, -1), *range(120, 60, -1)]


@pytest.mark.parametrize("number", all_or_few([1, 115, 230], 115))
def test_a_processing_run_is_found_anywhere_among_runs_with_its_time(
    collection: Collection, account: ListedRuns, number: int
) -> None:
    account.runs = [*simultaneous(230), *simultaneous(100, first=301, hour=1)]
    account.order = ORDERS["ascending"]
    replaced(account, remote_run(number, at=NOON, ready=False))
    known_to_the_end(collection)
    replaced(account, remote_run(number, at=NOON))
    refresh(collection)
    assert collection.runs.get(number=number).state == State.READY


def test_if_too_many_runs_have_the_same_time_the_rest_comes_later_and_is_reported(
    collection: Collection, account: ListedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_list, "MAX_PAGES_PER_TIME", 3)
    account.runs, account.order = simultaneous(500), ORDERS["ascending"]
    refresh(collection)
    assert len(account.calls) == 4
    assert len(known(collection)) == 218
    [doubt] = MissingRuns.of(collection).sentences()
    assert doubt.startswith("Some runs created at 12:00:00 UTC on 20 June 2026 may be missing:")
    assert known_to_the_end(collection) == list(range(500, 0, -1))
    account.calls.clear()
    refresh(collection)
    assert len(account.calls) == 1  # it doesn't read all of them each time


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use pages of ten runs that overlap by three, so that few rows make many pages."""
    monkeypatch.setattr(sync, "PAGE", 6)
    monkeypatch.setattr(sync, "OVERLAP", 3)
    monkeypatch.setattr(run_list, "OVERLAP", 3)
    monkeypatch.setattr(sync, "LIMIT", 10)


@pytest.mark.usefixtures("small_pages")
def test_the_first_listing_reads_runs_again_that_moved_meanwhile(
    collection: Collection, account: ListedRuns
) -> None:
    account.runs, account.most = [*runs(4), *simultaneous(25, first=5, hour=4)], 8

    def come() -> None:
        if len(account.calls) in {2, 3}:
            account.runs += simultaneous(2, first=len(account.runs) + 1, hour=5)

    account.before_each = come
    refresh(collection)
    assert not MissingRuns.of(collection).doubtful
    assert {*known(collection)} >= set(range(5, 30))


@given(
    sizes=st.lists(st.sampled_from([1, 2, 3, 4, 7, 9, 10, 11, 25]), min_size=1, max_size=5),
    order=st.sampled_from([*ORDERS, "another each time"]),
    most=st.sampled_from([5, 8, 1000]),
    comings=st.dictionaries(st.integers(1, 9), st.integers(1, 3), max_size=2),
    chance=st.randoms(use_true_random=False),
)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
    phases=[Phase.generate],  # shrinking an example would take minutes
)
@pytest.mark.usefixtures("small_pages")
def test_in_any_order_every_run_is_listed_or_reported_as_missing(
    collection: Collection,
    account: ListedRuns,
    sizes: list[int],
    order: str,
    most: int,
    comings: dict[int, int],
    chance: random.Random,
) -> None:
    """A model of the account has runs that share times, in changing orders, while new runs arrive.

    No run that arrives is older than the newest one listed.
    """
    collection = another_like(collection)
    account.runs, account.calls, account.most = [], [], most
    account.order = ORDERS.get(order, lambda run: chance.random())
    for hour, size in enumerate(sizes):
        account.runs += simultaneous(size, first=len(account.runs) + 1, hour=hour)
    newest = len(sizes) - 1

    def come() -> None:
        nonlocal newest
        if count := comings.get(len(account.calls), 0):
            newest += chance.randint(0, 1)
            account.runs += simultaneous(count, len(account.runs) + 1, newest)

    account.before_each = come
    while not account.calls or collection.has_older_runs:
        refresh(collection)
        go_back(collection)
        assert len(account.calls) < 500
        assert not lacking(collection, account.runs[: sum(sizes)]) or MissingRuns.of(collection).doubtful
    account.before_each = lambda: None
    refresh(collection)
    assert collection.refresh_problem == ""
    # Pages of five runs are too small to read 25 runs of one time again when others arrive meanwhile.
    if order in ORDERS and (most > 5 or not comings):
        assert not MissingRuns.of(collection).doubtful
    if not MissingRuns.of(collection).doubtful:
        assert {*known(collection)} == {run.number for run in account.runs}


def another_like(collection: Collection) -> Collection:
    assert collection.account
    return make_remote_collection(collection.account, remote_id=7001 + Collection.objects.count())


def lacking(collection: Collection, listed: list[RemoteRun]) -> set[int]:
    """Return the numbers of the runs that are missing from the known block."""
    oldest = collection.runs.newest_first().last()
    assert oldest
    return {run.number for run in listed if run.created_at >= oldest.created_at} - {*known(collection)}


# --- unreadable runs ----------------------------------------------------------------------------


def sentences(collection: Collection) -> list[str]:
    collection.refresh_from_db()
    return MissingRuns.of(collection).sentences()


def test_runs_that_cannot_be_read_are_counted_and_named(collection: Collection, account: ListedRuns) -> None:
    account.runs = runs(60)
    account.unreadable, account.nameless = {91, 60, 41}, {58}
    refresh(collection)
    go_back(collection)
    assert sentences(collection) == [
        "3 runs at MultiCartAPI can't be shown: 1 without a number (no valid ID); 41, 60 (no valid time)."
    ]


def test_an_unreadable_run_is_not_counted_twice(collection: Collection, account: ListedRuns) -> None:
    account.runs, account.nameless, account.unreadable = runs(150), {95, 90, 1}, {94}
    for _ in range(2):
        known_to_the_end(collection)
        assert sentences(collection) == [
            "4 runs at MultiCartAPI can't be shown: 3 without a number (no valid ID); 94 (no valid time)."
        ]


def test_only_the_first_of_many_numbers_are_shown(collection: Collection, account: ListedRuns) -> None:
    account.runs, account.unreadable = runs(80), set(range(10, 40))
    known_to_the_end(collection)
    [sentence] = sentences(collection)
    assert sentence.startswith("30 runs at MultiCartAPI can't be shown: 10, 11, 12, ")
    assert sentence.endswith("29, 10 more (no valid time).")


def test_the_number_of_recorded_runs_is_limited(
    collection: Collection, account: ListedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing_runs, "MAX_KEPT", 5)
    account.runs, account.unreadable = runs(80), set(range(10, 40))
    known_to_the_end(collection)
    [sentence] = sentences(collection)
    assert sentence.startswith("At least 5 runs at MultiCartAPI can't be shown: ")


@pytest.mark.parametrize("number", all_or_few([1, 80, 150], 80))
def test_a_run_that_becomes_readable_is_shown_and_no_longer_reported(
    collection: Collection, account: ListedRuns, number: int
) -> None:
    account.runs, account.unreadable = runs(150), {number}
    known_to_the_end(collection)
    assert f"can't be shown: {number} " in sentences(collection)[0]
    account.unreadable = set()
    refresh(collection)
    assert known(collection) == list(range(150, 0, -1))
    assert sentences(collection) == []


@pytest.mark.parametrize("number", all_or_few([1, 80, 150], 80))
def test_an_unreadable_run_that_leaves_the_list_is_no_longer_reported(
    collection: Collection, account: ListedRuns, number: int
) -> None:
    account.runs, account.unreadable = runs(150), {number}
    known_to_the_end(collection)
    account.runs.pop(number - 1)
    refresh(collection)
    assert sentences(collection) == []


def test_a_run_that_gets_a_valid_time_is_shown_where_it_belongs(
    collection: Collection, account: ListedRuns
) -> None:
    account.runs, account.unreadable = [*runs(150), remote_run(200)], {200}
    known_to_the_end(collection)
    account.runs[-1] = remote_run(200, at=remote_run(10).created_at + timedelta(minutes=1))
    account.unreadable = set()
    refresh(collection)
    assert known(collection) == [*range(150, 10, -1), 200, *range(10, 0, -1)]
    assert sentences(collection) == []


def test_one_unreadable_run_deep_in_the_list_is_checked_each_time(
    collection: Collection, account: ListedRuns
) -> None:
    account.runs, account.unreadable = runs(300), {10, 80, 90, 150}
    known_to_the_end(collection)
    account.unreadable = set()
    for _ in range(4):
        account.calls.clear()
        refresh(collection)
        assert len(account.calls) <= 2
    assert sentences(collection) == []
    assert known(collection) == list(range(300, 0, -1))


# --- runs that were Processing ------------------------------------------------------------------


def test_a_processing_run_in_the_depth_is_asked_for_too(collection: Collection, account: ListedRuns) -> None:
    account.runs = [remote_run(1, ready=False), *runs(150, 2)]
    collection.runs.create(number=1, created_at=account.runs[0].created_at)
    refresh(collection)
    assert collection.runs.count() == 151
    account.calls.clear()
    replaced(account, remote_run(1))
    refresh(collection)
    assert account.calls == [(0, LIMIT), (140, LIMIT)]
    assert collection.runs.get(number=1).state == State.READY


def test_no_more_than_three_parts_of_the_list_are_searched(
    collection: Collection, account: ListedRuns
) -> None:
    account.runs = [remote_run(number, ready=number % 100 != 1) for number in range(1, 602)]
    for run in account.runs:
        collection.runs.create(number=run.number, created_at=run.created_at)
    account.runs = runs(601)
    collection.runs.exclude(number__in=range(1, 601, 100)).update(state="ready", file_count=1)
    refresh(collection)
    assert len(account.calls) == 4
    processing = collection.runs.filter(state="processing").order_by("number")
    assert list(processing.values_list("number", flat=True)) == [1, 101, 201]
    refresh(collection)
    assert not collection.runs.filter(state="processing").exists()


def test_a_run_that_is_not_listed_any_more_has_failed(collection: Collection, account: ListedRuns) -> None:
    account.runs = [remote_run(1), remote_run(2, ready=False), remote_run(3)]
    refresh(collection)
    account.runs = [remote_run(1), remote_run(3)]
    refresh(collection)
    run = collection.runs.get(number=2)
    assert (run.state, run.failure_reason) == (State.FAILED, "MultiCartAPI no longer lists this run.")
    account.runs = [remote_run(1), remote_run(2), remote_run(3)]
    refresh(collection)
    assert collection.runs.get(number=2).state == State.READY


def test_a_run_that_cannot_be_understood_stays_as_it_was(collection: Collection, account: ListedRuns) -> None:
    account.runs = runs(60)
    replaced(account, remote_run(58, ready=False))
    refresh(collection)
    account.unreadable = {58}
    refresh(collection)
    assert collection.runs.get(number=58).state == State.PROCESSING
    account.unreadable = {60}
    go_back(collection)
    assert known(collection) == list(range(60, 0, -1))


def test_runs_that_cannot_be_understood_do_not_end_the_list(
    collection: Collection, account: ListedRuns
) -> None:
    account.runs = runs(3 * PAGE)
    account.unreadable = set(range(2 * PAGE, 3 * PAGE + 1))
    refresh(collection)
    assert len(known(collection)) >= PAGE
    assert collection.has_older_runs


@pytest.mark.parametrize("count", [0, 150])
def test_a_run_missing_deep_in_the_list_is_failed(
    collection: Collection, account: ListedRuns, count: int
) -> None:
    account.runs = [*runs(count), remote_run(count + 1, ready=False), *runs(150, count + 2)]
    for run in account.runs:
        collection.runs.create(number=run.number, created_at=run.created_at)
    collection.runs.exclude(number=count + 1).update(state="ready", file_count=1)
    account.runs.pop(count)
    refresh(collection)
    assert collection.runs.get(number=count + 1).state == State.FAILED


def test_a_run_written_by_another_process_meanwhile_is_not_failed(
    collection: Collection, account: ListedRuns
) -> None:
    account.runs = runs(3)
    refresh(collection)
    account.before_each = lambda: collection.runs.get_or_create(number=9, created_at=remote_run(9).created_at)
    refresh(collection)
    assert collection.runs.get(number=9).state == State.PROCESSING


# --- older runs ---------------------------------------------------------------------------------


def test_load_older_loads_page_after_page_to_the_end(collection: Collection, account: ListedRuns) -> None:
    account.runs = runs(120)
    refresh(collection)
    go_back(collection)
    assert known(collection) == list(range(120, 120 - 2 * PAGE - 10, -1))
    assert collection.has_older_runs
    go_back(collection)
    assert known(collection) == list(range(120, 0, -1))
    assert not collection.has_older_runs


def test_load_older_continues_correctly_after_many_runs_arrived(
    collection: Collection, account: ListedRuns
) -> None:
    account.runs = runs(120)
    refresh(collection)
    account.runs = runs(420)
    go_back(collection)
    # Runs that arrived aren't written, because they wouldn't join the block.
    found = known(collection)
    assert len(found) >= 2 * PAGE
    assert found == list(range(120, 120 - len(found), -1))


def test_load_older_continues_correctly_after_known_runs_left(
    collection: Collection, account: ListedRuns
) -> None:
    account.runs = runs(300)
    refresh(collection)
    go_back(collection)
    account.runs = [run for run in runs(300) if run.number <= 200]
    go_back(collection)
    found = known(collection)
    assert len(found) >= 3 * PAGE
    assert found == list(range(300, 300 - len(found), -1))


def test_a_run_that_arrives_among_known_ones_is_written(collection: Collection, account: ListedRuns) -> None:
    account.runs = runs(100)
    refresh(collection)
    oldest = known(collection)[-1]
    account.runs.append(remote_run(101, at=remote_run(oldest + 5).created_at))
    go_back(collection)
    assert {*known(collection)} == set(range(1, 102))


@pytest.mark.usefixtures("small_pages")
def test_runs_that_arrive_faster_than_the_list_is_read_do_not_end_it(
    collection: Collection, account: ListedRuns
) -> None:
    account.runs, account.most = runs(30), 5
    refresh(collection)
    account.calls.clear()

    def three_more() -> None:
        if len(account.calls) in {3, 4}:
            account.runs += runs(3, first=len(account.runs) + 1)

    account.before_each = three_more
    while collection.has_older_runs:
        go_back(collection)
    assert known(collection) == list(range(30, 0, -1))


def test_if_the_account_has_deleted_older_runs_there_are_no_more(
    collection: Collection, account: ListedRuns
) -> None:
    account.runs = runs(120)
    refresh(collection)
    account.runs = runs(10, 111)
    go_back(collection)
    assert known(collection) == list(range(120, 120 - LIMIT + 1, -1))
    assert not collection.has_older_runs


def test_after_a_failure_there_are_still_more_runs(collection: Collection, account: ListedRuns) -> None:
    account.runs = runs(120)
    refresh(collection)
    account.problem = DOWN
    go_back(collection)
    assert (collection.refresh_problem, collection.has_older_runs) == (str(DOWN), True)
    assert len(known(collection)) == LIMIT - 1


# --- runs that the account adds or moves among known ones --------------------------------------


def reread(collection: Collection) -> bool:
    is_last = sync.reread(collection, seconds=PATIENCE)
    collection.refresh_from_db()
    return is_last


def all_known(collection: Collection) -> None:
    refresh(collection)
    while collection.has_older_runs:
        go_back(collection)


def added(number: int, *, before: int) -> RemoteRun:
    """A run that the account adds just before a known one."""
    return remote_run(number, at=remote_run(before).created_at - timedelta(minutes=1))


def refreshes_to_find(collection: Collection, *numbers: int, most: int = 8) -> int:
    """Return how many refreshes it takes to find the runs."""
    for refreshes in range(1, most + 1):
        refresh(collection)
        reread(collection)
        if set(numbers) <= set(known(collection)):
            return refreshes
    raise AssertionError(f"not found after {most} refreshes: {set(numbers) - set(known(collection))}")


def test_a_run_added_deep_in_the_list_is_found_by_the_second_refresh(
    collection: Collection, account: ListedRuns
) -> None:
    account.runs = runs(130)
    all_known(collection)
    account.runs.append(added(900, before=10))
    assert refreshes_to_find(collection, 900) == 2
    assert known(collection) == [*range(130, 9, -1), 900, *range(9, 0, -1)]
    assert collection.runs.get(number=900).is_ready


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize(
    ("before", "refreshes"),
    all_or_some([(39, 1), (25, 1), (24, 2), (19, 2), (18, 3), (7, 4), (6, 5), (1, 5)], 3),
)
def test_each_refresh_reads_the_next_part_of_the_known_runs(
    collection: Collection, account: ListedRuns, before: int, refreshes: int
) -> None:
    account.runs = runs(40)
    all_known(collection)
    account.runs.append(added(900, before=before))
    assert refreshes_to_find(collection, 900) == refreshes


@pytest.mark.usefixtures("small_pages")
def test_it_is_found_wherever_the_last_refresh_stopped(collection: Collection, account: ListedRuns) -> None:
    account.runs = runs(40)
    all_known(collection)
    for count in range(4):
        account.runs.append(added(900 + count, before=3 + 8 * count))
        assert refreshes_to_find(collection, 900 + count)


@pytest.mark.usefixtures("small_pages")
def test_many_runs_added_at_the_end_are_found(collection: Collection, account: ListedRuns) -> None:
    account.runs = runs(20, 41)
    all_known(collection)
    account.runs += runs(40)
    refreshes_to_find(collection, *range(1, 41), most=11)


@pytest.mark.usefixtures("small_pages")
def test_runs_below_the_known_ones_are_not_written(collection: Collection, account: ListedRuns) -> None:
    account.runs = runs(60)
    refresh(collection)
    go_back(collection)
    go_back(collection)
    before = known(collection)
    assert [reread(collection) for _ in range(4)] == [False, True, False, True]
    assert known(collection) == before
    assert collection.has_older_runs


@pytest.mark.usefixtures("small_pages")
def test_runs_above_the_known_ones_are_not_written(collection: Collection, account: ListedRuns) -> None:
    account.runs = runs(20)
    all_known(collection)
    account.runs = runs(40)
    reread(collection)
    assert known(collection) == list(range(20, 0, -1))


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_short_list_is_not_read_twice(collection: Collection, account: ListedRuns, count: int) -> None:
    account.runs = runs(count)
    all_known(collection)
    account.calls.clear()
    assert reread(collection)
    assert account.calls == []


@pytest.mark.usefixtures("small_pages")
def test_one_call_reads_a_part(collection: Collection, account: ListedRuns) -> None:
    account.runs = runs(40)
    all_known(collection)
    account.calls.clear()
    while not reread(collection):
        pass
    # The last part is requested twice, to see that it is the end.
    assert [skip for skip, _ in account.calls] == [7, 13, 19, 25, 31, 36, 37]


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("most", [3, 5, 1000])
def test_runs_added_to_many_with_the_same_time_are_found(
    collection: Collection, account: ListedRuns, most: int
) -> None:
    account.runs = [*runs(5), *simultaneous(12, first=10, hour=9), *runs(20, 30)]
    account.most = most
    all_known(collection)
    account.runs += simultaneous(2, first=90, hour=9)
    account.order = lambda run: random.random()
    refreshes_to_find(collection, 90, 91, most=40)


@pytest.mark.usefixtures("small_pages")
def test_unreadable_runs_do_not_stop_the_reading(collection: Collection, account: ListedRuns) -> None:
    account.runs = runs(60)
    account.unreadable = set(range(10, 40))
    all_known(collection)
    account.runs.append(added(900, before=5))
    refreshes_to_find(collection, 900, most=10)


@pytest.mark.usefixtures("small_pages")
def test_known_runs_that_leave_the_list_do_not_hide_others(
    collection: Collection, account: ListedRuns
) -> None:
    account.runs = runs(40)
    all_known(collection)
    reread(collection)
    account.runs = [run for run in account.runs if not 12 <= run.number < 30]
    account.runs.append(added(900, before=10))
    refreshes_to_find(collection, 900, most=6)


@pytest.mark.usefixtures("small_pages")
def test_a_processing_run_whose_time_changes_is_found_again(
    collection: Collection, account: ListedRuns
) -> None:
    account.runs = [*runs(39), remote_run(40, ready=False)]
    all_known(collection)
    moved = added(40, before=10)
    replaced(account, moved)
    refresh(collection)
    while not reread(collection):
        pass
    run = collection.runs.get(number=40)
    assert (run.state, run.created_at) == (State.READY, moved.created_at)


@pytest.mark.usefixtures("small_pages")
def test_a_part_that_cannot_be_read_is_tried_again(collection: Collection, account: ListedRuns) -> None:
    account.runs = runs(40)
    all_known(collection)
    reread(collection)
    begin = collection.reread_from
    account.problem = DOWN
    with pytest.raises(SourceUnavailable):
        reread(collection)
    collection.refresh_from_db()
    assert collection.reread_from == begin == 13


# --- what is noted ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "problem",
    [DOWN, SourceTimeout("MultiCartAPI took too long."), NotConnected("The account is disconnected.")],
    ids=lambda problem: type(problem).__name__,
)
def test_a_problem_is_stored_and_cleared(
    collection: Collection, account: ListedRuns, problem: Exception
) -> None:
    account.runs = runs(2)
    with time_machine.travel(datetime(2026, 6, 21, tzinfo=UTC), tick=False) as now:
        first = datetime(2026, 6, 21, tzinfo=UTC)
        refresh(collection)
        assert (collection.refreshed_at, collection.refresh_tried_at) == (first, first)
        now.shift(60)
        account.problem = problem
        refresh(collection)
        later = first + timedelta(minutes=1)
        assert (collection.refreshed_at, collection.refresh_tried_at) == (first, later)
        assert collection.refresh_problem == str(problem)
        assert len(known(collection)) == 2
        now.shift(60)
        account.problem = None
        refresh(collection)
        assert (collection.refreshed_at, collection.refresh_problem) == (later + timedelta(minutes=1), "")


def test_a_long_problem_is_cut(collection: Collection, account: ListedRuns) -> None:
    account.problem = SourceUnavailable("x" * 1000)
    refresh(collection)
    assert collection.refresh_problem == "x" * 300


@pytest.mark.django_db(transaction=True)
def test_concurrent_refreshes_write_every_run_once(collection: Collection, account: ListedRuns) -> None:
    account.runs = runs(40) + runs(10, 41, ready=False)
    start = threading.Barrier(6, timeout=PATIENCE)

    def bring(_: int) -> None:
        try:
            mine = Collection.objects.select_related("account").get(pk=collection.pk)
            start.wait()
            sync.refresh(mine, seconds=PATIENCE)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(bring, range(6)))
    collection.refresh_from_db()
    assert collection.refresh_problem == ""
    assert known(collection) == list(range(50, 0, -1))
    assert [run.files.count() for run in collection.runs.newest_first()] == [0] * 10 + [2] * 40


def test_two_collections_with_the_same_runs_are_independent(crawlers: Team, account: ListedRuns) -> None:
    one = make_remote_collection(make_account(crawlers), remote_id=1)
    other = make_remote_collection(one.account, remote_id=2)  # type: ignore[arg-type]
    account.runs = runs(3)
    refresh(one)
    refresh(other)
    assert Run.objects.count() == 6
