"""Fill an empty database with the demo, and recognize a database that contains it."""

import fcntl
import json
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from pathlib import Path

from django.conf import settings
from django.core.management.color import no_style
from django.db import connection, transaction
from django.utils import timezone

from collections_app.demo.content import (
    ACCOUNT,
    COLLECTIONS,
    FAVORITES,
    LABELS,
    MIA,
    NORTHWIND,
    OLIVIA,
    OWNERS,
    PEOPLE,
    SAVED_EXPORTS,
    SOUTHBANK,
    TEAMS,
)
from collections_app.demo.events import record_history
from collections_app.demo.products import Shop
from collections_app.demo.schedule import FIRST_NIGHT, SYDNEY, PlannedRun, Story
from collections_app.models import (
    Account,
    ApiKey,
    Collection,
    CollectionPreferences,
    Event,
    EventSequence,
    Membership,
    Run,
    SavedExport,
    State,
    Team,
    User,
)
from collections_app.models.retention import RetentionKind, pin_runs, set_retention
from collections_app.models.run_status import progress
from collections_app.runs.removal import delete_run
from collections_app.runs.writer import ResultSetWriter
from collections_app.system import data_folder


@dataclass(frozen=True)
class SignIn:
    """The credentials for the demo, whether it is complete, and the time up to which it has runs."""

    email: str
    password: str
    api_key: str = ""
    finished: bool = False
    until: str = datetime.combine(FIRST_NIGHT, time(), UTC).isoformat()  # of demos of version 0.2.0

    @property
    def has_runs_until(self) -> datetime:
        """The time up to which the demo has runs."""
        return datetime.fromisoformat(self.until)


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
        Collection.objects.exclude(pk__in=[LABELS, *(story.id for story in COLLECTIONS)]),
    )
    return not any(rows.exists() for rows in others)


def count_missing(day: date | None = None) -> int:
    """Return the number of runs that build() would write."""
    now, saved = _time_of(day), sign_in()
    if saved is None:
        return sum(len(story.runs(now)) for story in COLLECTIONS)
    before = saved.has_runs_until
    return sum(len([*_continued(story, before, now), *_new(story, before, now)]) for story in COLLECTIONS)


def build(day: date | None = None) -> Generator[Run]:
    """Fill the database with the demo as of now, or as of noon on a day in Sydney. Yield each run it writes.

    If the demo exists, add the runs since the last time, and continue those that were unfinished. Don't
    change finished runs, restore deleted ones, or add runs to archived or deleted collections. Remove an
    unfinished demo first. Raises NotTheDemo if the database contains other data.
    """
    now = _time_of(day)
    with _locked():
        # Another process may have finished it while this one waited.
        saved = sign_in()
        yield from _build(now) if saved is None else _add_runs(saved, now)


def _time_of(day: date | None) -> datetime:
    return timezone.now() if day is None else datetime.combine(day, time(12), SYDNEY)


def _build(now: datetime) -> Iterator[Run]:
    if not can_build():
        raise NotTheDemo
    _remove_unfinished_demo()
    # Saved before the first row, so that the next attempt recognizes an unfinished demo.
    unfinished = SignIn(OLIVIA.email, secrets.token_urlsafe(9))
    _save(unfinished)
    _create_people(unfinished.password)
    _create_account(now)
    for story in COLLECTIONS:
        collection = _create_collection(story)
        shop = Shop(story)
        for planned in story.runs(now):
            yield _start(collection, shop, planned)
        _keep(story, collection)
    _, api_key = ApiKey.objects.issue(
        Membership.objects.get(user__email=OLIVIA.email, team=NORTHWIND), "Demo"
    )
    record_history(now)
    _save(SignIn(OLIVIA.email, unfinished.password, api_key, finished=True, until=now.isoformat()))


def _add_runs(saved: SignIn, now: datetime) -> Iterator[Run]:
    before = saved.has_runs_until
    current = Collection.objects.current().filter(account=None).in_bulk([story.id for story in COLLECTIONS])
    for story in COLLECTIONS:
        if collection := current.get(story.id):
            yield from _add_runs_of(story, collection, before, now)
    if now > before:
        _save(replace(saved, until=now.isoformat()))


def _add_runs_of(story: Story, collection: Collection, before: datetime, now: datetime) -> Iterator[Run]:
    shop = Shop(story)
    for planned in _continued(story, before, now):
        if run := _unfinished_run(collection, planned):
            yield _continue(run, shop, planned)
    for planned in _new(story, before, now):
        # It exists if the last call was interrupted.
        if run := _unfinished_run(collection, planned):
            yield _continue(run, shop, planned)
        elif not collection.runs.filter(created_at=planned.started_at).exists():
            yield _start(collection, shop, planned)


def _continued(story: Story, before: datetime, now: datetime) -> Iterator[PlannedRun]:
    """Yield the current state of the runs that were unfinished before and have progressed."""
    for old in story.runs(before) if now > before else ():
        run = story.run_of(old.night, now) if old.is_paused else old
        if run != old:
            has_hung = not (run.is_paused or run.step)
            yield replace(run, ended_at=now) if has_hung else run


def _new(story: Story, before: datetime, now: datetime) -> list[PlannedRun]:
    known = {run.started_at for run in story.runs(before)}
    return [run for run in story.runs(now) if run.started_at not in known] if now > before else []


def _unfinished_run(collection: Collection, planned: PlannedRun) -> Run | None:
    return collection.runs.filter(state=State.PROCESSING, created_at=planned.started_at).first()


def _create_people(password: str) -> None:
    with transaction.atomic():
        teams = {
            pk: Team.objects.create(pk=pk, name=name, time_zone=SYDNEY.key) for pk, name in TEAMS.items()
        }
        hashed = ""
        for person in PEOPLE:
            flag = person.is_operator
            user = User(email=person.email, name=person.name, is_staff=flag, is_superuser=flag)
            # All users of the demo have the same password, so it is hashed only once.
            if not hashed:
                user.set_password(password)
                hashed = user.password
            user.password = hashed
            user.save()
            for team, role in person.roles.items():
                Membership.objects.create(user=user, team=teams[team], role=role)
        _reset_sequence(Team)


def _create_account(now: datetime) -> None:
    """Create an account without a key, and its collection, which is no longer up to date."""
    since = now - timedelta(hours=9)
    with transaction.atomic():
        account = Account.objects.create(team_id=SOUTHBANK, name=ACCOUNT, created_at=now - timedelta(days=40))
        Collection.objects.create(
            pk=LABELS,
            team_id=SOUTHBANK,
            account=account,
            remote_id=7214,
            name="Label printers",
            created_at=account.created_at,
            refreshed_at=since,
            failing_since=since,
            refresh_problem=f"The account “{account}” is disconnected. Ask an admin to enter a new key.",
        )


def _create_collection(story: Story) -> Collection:
    collection = Collection.objects.create(
        pk=story.id,
        team_id=story.team,
        name=story.name,
        kind=story.kind,
        created_at=story.created_at,
        archived_at=story.archived_at,
        last_run_number=story.first_number - 1,
        owner=Membership.objects.filter(team=story.team, user__email=OWNERS.get(story.id)).first(),
    )
    _reset_sequence(Collection)
    if story.id in FAVORITES:
        olivia = User.objects.get(email=OLIVIA.email)
        CollectionPreferences.objects.create(user=olivia, collection=collection, is_favorite=True)
    if story.id in SAVED_EXPORTS:
        name, columns = SAVED_EXPORTS[story.id]
        olivia = User.objects.get(email=OLIVIA.email)
        SavedExport.save_as(name, collection, olivia, format="xlsx", columns=columns)
    return collection


def _reset_sequence(model: type[Team | Collection]) -> None:
    # Rows with explicit ids don't advance PostgreSQL's sequences.
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), [model]):
            cursor.execute(statement)


def _keep(story: Story, collection: Collection) -> None:
    """Pin runs, and set the retention. The site deletes the other runs after the grace period."""
    pin_runs(collection.runs.filter(number__in=story.pinned), by=User.objects.get(email=MIA.email))
    if story.keeps:
        olivia = User.objects.get(email=OLIVIA.email)
        set_retention(collection, RetentionKind.RUNS, story.keeps, by=olivia)


def _start(collection: Collection, shop: Shop, planned: PlannedRun) -> Run:
    writer = ResultSetWriter.start(
        collection,
        total=shop.story.records,
        page_size=planned.page_size,
        created_at=planned.started_at,
    )
    return _write(writer, shop, planned)


def _continue(run: Run, shop: Shop, planned: PlannedRun) -> Run:
    # Only this process writes the demo's runs, so any other holder of a lease was killed.
    Run.objects.filter(pk=run.pk).update(lease_expires_at=None)
    return _write(ResultSetWriter.resume(run, page_size=planned.page_size), shop, planned)


def _write(writer: ResultSetWriter, shop: Shop, planned: PlannedRun) -> Run:
    """Add the records that a run has found since its last page, and finish it if it has ended."""
    run = writer.run
    with writer:
        for record in islice(shop.records(planned), run.extracted or 0, planned.found):
            writer.add_record(record)
        if planned.is_paused:
            writer.pause()
        elif planned.outcome.failure:
            writer.fail(planned.outcome.failure, at=planned.ended_at)
        else:
            writer.finish(at=planned.ended_at)
    if planned.is_paused or planned.step:
        _set_progress(run, planned)
    return run


def _set_progress(run: Run, planned: PlannedRun) -> None:
    """Store the times of a run's progress, because it was written within a second."""
    at = planned.progressed_at
    usual_step = run.collection.runs.longest_recent_step()
    times = progress(at, usual_step=usual_step, longest_step=planned.step)
    Run.objects.filter(pk=run.pk).update(updated_at=at, **times)


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
    Account.objects.all().delete()
    Team.objects.all().delete()
    User.objects.all().delete()
    Event.objects.all().delete()
    EventSequence.objects.all().delete()


def _sign_in_file() -> Path:
    return Path(settings.DATA_DIR) / "demo.json"


def _saved_sign_in() -> SignIn | None:
    try:
        saved = SignIn(**json.loads(_sign_in_file().read_text()))
        datetime.fromisoformat(saved.until)
    except (FileNotFoundError, TypeError, ValueError):
        return None
    return saved


def _save(sign_in: SignIn) -> None:
    data_folder.write_secret(_sign_in_file(), json.dumps(asdict(sign_in), indent=2) + "\n")
