"""Accounts, connected collections and their runs for tests, and a fake list of an account."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from collections_app.models import Account, Collection, FileKind, Kind, ResultFile, Run, State, Team
from collections_app.sources import sync
from collections_app.sources.upstream.runs import Listing, RemoteFile, RemoteRun, UnreadableRun
from collections_app.system import background

KEY = "canary-key-0123456789abcdef"
NOON = datetime(2026, 6, 20, 12, tzinfo=UTC)


def make_account(
    team: Team,
    name: str = "MultiCartAPI",
    *,
    base_url: str = Account.DEFAULT_BASE_URL,
    key: str = KEY,
    tracks_runs: bool = False,
) -> Account:
    """Create an account of a team, connected with a key. With an empty key, it is disconnected."""
    account = Account(team=team, name=name, base_url=base_url, tracks_runs=tracks_runs)
    account.set_key(key)
    account.save()
    return account


def make_remote_collection(
    account: Account,
    *,
    remote_id: int = 7001,
    name: str = "AU Laptops",
    kind: Kind = Kind.AMAZON,
    refreshed_at: datetime | None = None,
    has_older_runs: bool = False,
) -> Collection:
    """Create a connected collection in the account's team, without runs."""
    return Collection.objects.create(
        team=account.team,
        account=account,
        remote_id=remote_id,
        name=name,
        kind=kind,
        refreshed_at=refreshed_at,
        has_older_runs=has_older_runs,
    )


def make_remote_run(
    collection: Collection,
    number: int = 88,
    *,
    ready: bool = True,
    pages: int = 1,
    at: datetime = NOON,
    size: int | None = None,
) -> Run:
    """Create a run of a connected collection, with rows for its files if it is ready.

    `size` is every file's size in bytes; None while it isn't known.
    """
    remote = remote_run(
        number, ready=ready, pages=pages, at=at, name=collection.name, category=collection.is_category
    )
    files = [*remote.files]
    if ready and collection.is_category:
        files.append(RemoteFile(FileKind.CATEGORY_CSV, 0, ""))
    run: Run = collection.runs.create(
        number=number,
        state=State.READY if ready else State.PROCESSING,
        created_at=remote.created_at,
        updated_at=remote.updated_at,
        extracted=remote.extracted,
        total=remote.total,
        file_count=len(files),
    )
    ResultFile.objects.bulk_create(
        ResultFile(
            run=run,
            kind=file.kind,
            position=file.position,
            name=file.remote_name or "category_asins.csv",
            remote_name=file.remote_name,
            size=size,
            modified=run.updated_at,
        )
        for file in files
    )
    return run


def remote_run(
    number: int,
    *,
    ready: bool = True,
    pages: int = 1,
    at: datetime | None = None,
    name: str = "AU Laptops",
    category: bool = False,
    extracted: int | None = None,
) -> RemoteRun:
    """Return a run as in an account's list. By default, run 1 was created at noon, and others hourly."""
    created_at = at or NOON + timedelta(hours=number - 1)
    return RemoteRun(
        number=number,
        is_ready=ready,
        extracted=(250 if ready else 100) if extracted is None else extracted,
        total=250,
        created_at=created_at,
        updated_at=created_at + timedelta(minutes=5),
        files=_files(name, number, pages, category=category) if ready else (),
    )


def _files(name: str, number: int, pages: int, *, category: bool) -> tuple[RemoteFile, ...]:
    if category:
        return (RemoteFile(FileKind.CATEGORY_LIST, 0, "category_asins.json"),)
    stem = f"{name}_{number}_Results"
    return (
        *(RemoteFile(FileKind.PAGE, page, f"{stem}_Page_{page}.json") for page in range(1, pages + 1)),
        RemoteFile(FileKind.ARCHIVE, 0, f"{stem}_All_Pages.zip"),
    )


class ListedRuns:
    """A fake `list_runs`: an account's list, newest first. It records the calls."""

    def __init__(self, runs: Iterable[RemoteRun] = ()) -> None:
        self.runs = list(runs)
        self.calls: list[tuple[int, int]] = []  # skip and limit of each
        self.unreadable: set[int] = set()  # numbers of unreadable runs
        self.nameless: set[int] = set()  # unreadable runs whose number can't be read either
        self.order: Callable[[RemoteRun], Any] = lambda run: -run.number  # of runs with the same time
        self.most = 1000  # maximum number of runs in a response
        self.problem: Exception | None = None  # raised instead of a response
        self.before_each: Callable[[], object] = lambda: None  # called before each response

    def __call__(self, collection: Collection, *, skip: int, limit: int, seconds: float) -> Listing:
        """Return a part of the list."""
        assert seconds > 0
        self.calls.append((skip, limit))
        self.before_each()
        if self.problem:
            raise self.problem
        newest_first = sorted(sorted(self.runs, key=self.order), key=lambda run: run.created_at, reverse=True)
        return Listing([self._entry(run) for run in newest_first[skip : skip + min(limit, self.most)]])

    def _entry(self, run: RemoteRun) -> RemoteRun | UnreadableRun:
        if run.number in self.nameless:
            return UnreadableRun(None, "no valid ID")
        if run.number in self.unreadable:
            return UnreadableRun(run.number, "no valid time")
        return run


def lists(monkeypatch: pytest.MonkeyPatch, runs: Iterable[RemoteRun] = ()) -> ListedRuns:
    """Replace the lists of all accounts, and read them in the thread of the test, which sees its rows."""
    listed = ListedRuns(runs)
    monkeypatch.setattr(sync, "list_runs", listed)
    list_in_the_same_thread(monkeypatch)
    return listed


def list_in_the_same_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read lists in the thread of the test: another thread doesn't see rows of an open transaction."""
    monkeypatch.setattr(background, "in_background", lambda work, **_: work())


def refreshed_just_now(collection: Collection) -> None:
    """Record that the rows were refreshed now, so that no page requests the list."""
    Collection.objects.filter(pk=collection.pk).update(
        refreshed_at=timezone.now(), refresh_tried_at=timezone.now(), refresh_problem=""
    )
