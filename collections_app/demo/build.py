"""Fill an empty database with the demo, and recognize a database that contains it."""

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

from collections_app.demo.content import COLLECTIONS, NORTHWIND, OLIVIA, PEOPLE, TEAMS, Outcome, Story
from collections_app.demo.products import SECONDS_PER_RECORD, Record, product_records
from collections_app.models import ApiKey, Collection, Membership, Run, Team, User
from collections_app.runs.removal import delete_run
from collections_app.runs.writer import ResultSetWriter
from collections_app.system import data_folder


@dataclass(frozen=True)
class SignIn:
    """The credentials for the demo, and whether the demo is complete."""

    email: str
    password: str
    api_key: str = ""
    finished: bool = False


class NotTheDemo(Exception):
    """The database contains data that isn't part of the demo."""

    def __str__(self) -> str:
        return (
            "The database contains other data, so the demo isn't created. "
            "Set DATA_DIR to another folder to create it there."
        )


def sign_in() -> SignIn | None:
    """Return the sign-in of a complete demo, or None."""
    saved = _saved_sign_in()
    return saved if saved and saved.finished and User.objects.filter(email=saved.email).exists() else None


def can_build() -> bool:
    """Whether the database is empty, or contains only an unfinished demo."""
    saved = _saved_sign_in()
    if saved is None or saved.finished:
        return not any(model.objects.exists() for model in (User, Team, Collection))
    others = (
        User.objects.exclude(email__in=[person.email for person in PEOPLE]),
        Team.objects.exclude(pk__in=TEAMS),
        Collection.objects.exclude(pk__in=[story.id for story in COLLECTIONS]),
    )
    return not any(rows.exists() for rows in others)


def run_count() -> int:
    """Return the number of runs in the demo."""
    return sum(len(story.runs) for story in COLLECTIONS)


def build() -> Generator[Run]:
    """Fill the database with the demo. Yield each run after it is written.

    Remove an unfinished demo first. Raises NotTheDemo if the database contains other data.
    """
    with _locked():
        # Another process may have finished it while this one waited.
        if sign_in() is None:
            yield from _build()


def continue_run(run: Run) -> Iterator[int]:
    """Add the remaining records to a Processing run, page by page. Yield the size of each page."""
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
    """Start the collection's next run and leave it Processing."""
    story = next(story for story in COLLECTIONS if story.id == collection.pk)
    with ResultSetWriter.start(collection, total=story.records) as writer:
        writer.pause()
    return writer.run


def _build() -> Iterator[Run]:
    if not can_build():
        raise NotTheDemo
    _remove_unfinished_demo()
    # Saved before the first row, so that the next attempt recognizes an unfinished demo.
    unfinished = SignIn(OLIVIA.email, secrets.token_urlsafe(9))
    _save(unfinished)
    _create_people(unfinished.password)
    for story in COLLECTIONS:
        collection = _create_collection(story)
        for number in story.runs:
            yield _write_run(collection, story, number)
    _, api_key = ApiKey.objects.issue(
        Membership.objects.get(user__email=OLIVIA.email, team=NORTHWIND), "Demo"
    )
    _save(SignIn(OLIVIA.email, unfinished.password, api_key, finished=True))


def _create_people(password: str) -> None:
    with transaction.atomic():
        teams = {pk: Team.objects.create(pk=pk, name=name) for pk, name in TEAMS.items()}
        hashed = ""
        for person in PEOPLE:
            user = User(email=person.email, name=person.name)
            # All users of the demo have the same password, so it is hashed only once.
            if not hashed:
                user.set_password(password)
                hashed = user.password
            user.password = hashed
            user.save()
            for team, role in person.roles.items():
                Membership.objects.create(user=user, team=teams[team], role=role)
        _reset_sequence(Team)


def _create_collection(story: Story) -> Collection:
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
    _reset_sequence(Collection)
    return collection


def _reset_sequence(model: type[Team | Collection]) -> None:
    # Rows with explicit ids don't advance PostgreSQL's sequences.
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), [model]):
            cursor.execute(statement)


def _write_run(collection: Collection, story: Story, number: int) -> Run:
    outcome = story.outcomes.get(number, Outcome())
    found = story.records if outcome.found is None else outcome.found
    started_at = story.started_at(number)
    ended_at = started_at + timedelta(seconds=found * SECONDS_PER_RECORD)
    size = story.page_size_of(number)
    with ResultSetWriter.start(
        collection, total=story.records, page_size=size, created_at=started_at
    ) as writer:
        _add(writer, islice(_records(story, number, story.records, started_at), found))
        if outcome.failure:
            writer.fail(outcome.failure, at=ended_at)
        elif outcome.is_processing:
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
def _locked() -> Iterator[None]:
    with (Path(settings.DATA_DIR) / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_unfinished_demo() -> None:
    # Only this process builds the demo, so any other holder of a lease was killed.
    Run.objects.update(lease_expires_at=None)
    for run in Run.objects.select_related("collection"):
        delete_run(run)
    Collection.objects.all().delete()
    Team.objects.all().delete()
    User.objects.all().delete()


def _sign_in_file() -> Path:
    return Path(settings.DATA_DIR) / "demo.json"


def _saved_sign_in() -> SignIn | None:
    try:
        return SignIn(**json.loads(_sign_in_file().read_text()))
    except (FileNotFoundError, TypeError, ValueError):
        return None


def _save(sign_in: SignIn) -> None:
    data_folder.write_secret(_sign_in_file(), json.dumps(asdict(sign_in), indent=2) + "\n")
