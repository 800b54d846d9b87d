"""Filling an empty database with the demo, and knowing it again."""

import fcntl
import json
import secrets
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from django.conf import settings
from django.core.management.color import no_style
from django.db import connection, transaction

from collections_app.demo.products import SECONDS_PER_RECORD, Record, product_records
from collections_app.demo.story import COLLECTIONS, NORTHWIND, OLIVIA, PEOPLE, TEAMS, Fate, Story
from collections_app.models import ApiKey, Collection, Membership, Run, Team, User
from collections_app.runs.removal import delete_run
from collections_app.runs.writer import ResultSetWriter
from collections_app.system import data_folder


@dataclass(frozen=True)
class Account:
    """What somebody needs to sign in to the demo, and whether the demo is all there."""

    email: str
    password: str
    api_key: str = ""
    finished: bool = False


class NotTheDemo(Exception):
    """The database holds something that isn't the demo's."""

    def __str__(self) -> str:
        return (
            "The database holds other data than the demo's, so the demo stays out. "
            "Point DATA_DIR at another folder to see it."
        )


def account() -> Account | None:
    """Return the account of a demo that is all there, or None."""
    kept = _kept_account()
    return kept if kept and kept.finished and User.objects.filter(email=kept.email).exists() else None


def has_room() -> bool:
    """Whether the database is empty, or holds nothing but a demo that was interrupted while it was made."""
    kept = _kept_account()
    if kept is None or kept.finished:
        return not any(model.objects.exists() for model in (User, Team, Collection))
    others = (
        User.objects.exclude(email__in=[person.email for person in PEOPLE]),
        Team.objects.exclude(pk__in=TEAMS),
        Collection.objects.exclude(pk__in=[story.id for story in COLLECTIONS]),
    )
    return not any(rows.exists() for rows in others)


def run_count() -> int:
    """Return how many runs the demo has."""
    return sum(len(story.runs) for story in COLLECTIONS)


def build() -> Generator[Run]:
    """Fill the database with the demo; yields each run once it is written.

    What an earlier attempt left that was killed half-way is removed first. Raises NotTheDemo
    where there is anything else.
    """
    with _alone():
        # Somebody else may have been first.
        if account() is None:
            yield from _build()


def go_on(run: Run) -> Iterator[int]:
    """Let a Processing run find the rest of its records, page by page; yields how many each page adds."""
    story = next(story for story in COLLECTIONS if story.id == run.collection_id)
    size = story.page_size_of(story.runs[-1])
    found, total = run.extracted or 0, run.total or 0
    records = islice(_records(story, run.number, total, run.created_at), found, None)
    while found < total:
        page = list(islice(records, size))
        found += len(page)
        with ResultSetWriter.resume(run, page_size=size) as writer:
            _add(writer, page)
            if found < total:
                writer.pause()
        yield len(page)


def start_next(collection: Collection) -> Run:
    """Start one more run of a collection and leave it Processing."""
    story = next(story for story in COLLECTIONS if story.id == collection.pk)
    with ResultSetWriter.start(collection, total=story.records) as writer:
        writer.pause()
    return writer.run


def _build() -> Iterator[Run]:
    if not has_room():
        raise NotTheDemo
    _remove_everything()
    # This file comes before the first row: it tells that what is there is ours and not finished.
    unfinished = Account(OLIVIA.email, secrets.token_urlsafe(9))
    _keep(unfinished)
    _make_people(unfinished.password)
    for story in COLLECTIONS:
        collection = _make_collection(story)
        for number in story.runs:
            yield _write_run(collection, story, number)
    _, api_key = ApiKey.objects.issue(
        Membership.objects.get(user__email=OLIVIA.email, team=NORTHWIND), "Demo"
    )
    _keep(Account(OLIVIA.email, unfinished.password, api_key, finished=True))


def _make_people(password: str) -> None:
    with transaction.atomic():
        teams = {pk: Team.objects.create(pk=pk, name=name) for pk, name in TEAMS.items()}
        hashed = ""
        for person in PEOPLE:
            user = User(email=person.email, name=person.name)
            # Everybody in the demo has the same password; hashing it once is enough.
            if not hashed:
                user.set_password(password)
                hashed = user.password
            user.password = hashed
            user.save()
            for team, role in person.roles.items():
                Membership.objects.create(user=user, team=teams[team], role=role)
        _let_ids_follow(Team)


def _make_collection(story: Story) -> Collection:
    first = story.runs[0] if story.runs else 1
    collection = Collection.objects.create(
        pk=story.id,
        team_id=story.team,
        name=story.name,
        kind=story.kind,
        created_at=story.started_at(1) if story.runs else story.last_run_at,
        archived_at=story.archived_at,
        last_run_number=first - 1,
    )
    _let_ids_follow(Collection)
    return collection


def _let_ids_follow(model: type[Team | Collection]) -> None:
    # Rows made with explicit ids leave PostgreSQL's sequences behind.
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), [model]):
            cursor.execute(statement)


def _write_run(collection: Collection, story: Story, number: int) -> Run:
    fate = story.fates.get(number, Fate())
    found = story.records if fate.found is None else fate.found
    started_at = story.started_at(number)
    ended_at = started_at + timedelta(seconds=found * SECONDS_PER_RECORD)
    size = story.page_size_of(number)
    with ResultSetWriter.start(
        collection, total=story.records, page_size=size, created_at=started_at
    ) as writer:
        _add(writer, islice(_records(story, number, story.records, started_at), found))
        if fate.failure:
            writer.fail(fate.failure, at=ended_at)
        elif fate.goes_on:
            writer.pause()
        else:
            writer.finish(at=ended_at)
    return writer.run


def _records(story: Story, number: int, count: int, started_at: datetime) -> Iterator[Record]:
    return product_records(story.kind, story.shelf, number, count, started_at)


def _add(writer: ResultSetWriter, records: Iterable[Record]) -> None:
    for record in records:
        writer.add_record(record)


@contextmanager
def _alone() -> Iterator[None]:
    with (Path(settings.DATA_DIR) / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_everything() -> None:
    # Nobody else makes the demo now, so whoever holds a lease was killed.
    Run.objects.update(lease_expires_at=None)
    for run in Run.objects.select_related("collection"):
        delete_run(run)
    Collection.objects.all().delete()
    Team.objects.all().delete()
    User.objects.all().delete()


def _account_file() -> Path:
    return Path(settings.DATA_DIR) / "demo.json"


def _kept_account() -> Account | None:
    try:
        return Account(**json.loads(_account_file().read_text()))
    except (FileNotFoundError, TypeError, ValueError):
        return None


def _keep(kept: Account) -> None:
    data_folder.write_secret(_account_file(), json.dumps(asdict(kept), indent=2) + "\n")
