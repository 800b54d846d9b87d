"""/metrics: who can read it, and what it contains."""

import re
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import DjangoAssertNumQueries, Settings

from collections_app import measurements
from collections_app.models import Collection, Run, State, Team
from collections_app.sources import NotTheFile, deliverable
from collections_app.system import background
from collections_app.system.observability import metrics
from collections_app.system.observability.metrics import registry
from collections_app.views import metrics as metrics_view
from collections_app.views.metrics import DatabaseMetrics, DiskSpace
from tests.support import tools
from tests.support.faults import FileServer
from tests.support.results import make_ready_run, records
from tests.support.tools import ROOT
from tests.support.upstream import make_account, make_remote_collection, make_remote_run
from tests.test_parallel_downloads import close

TOKEN = "a token for the tests"[:7] + "x" * 16
SENT = {"Authorization": f"Bearer {TOKEN}"}

Figures = dict[tuple[str, ...], float]


@pytest.fixture
def read(settings: Settings, db: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Figures]:
    """Read all metrics, by name and sorted labels."""
    settings.METRICS_TOKEN = TOKEN
    # In the test's own thread, which sees its rows.
    monkeypatch.setattr(background, "in_background", lambda work, **_: work())

    def read() -> Figures:
        response = Client().get("/metrics", headers=SENT)
        assert response.status_code == 200
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(response.content.decode())
            for sample in family.samples
        }

    return read


def grown(before: Figures, after: Figures) -> Figures:
    """Return the difference of the counters, without durations."""
    return {
        key: value - before.get(key, 0)
        for key, value in after.items()
        if value != before.get(key, 0) and not key[0].endswith(("_bucket", "_sum", "_created", "_free_bytes"))
    }


# --- who may read it ----------------------------------------------------------------------------


def test_without_a_token_there_are_no_metrics(as_alice: Client) -> None:
    for sent in ({}, SENT, {"Authorization": "Bearer "}):
        assert as_alice.get("/metrics", headers=sent).status_code == 404


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN, "Bearer é" * 9]
)
def test_a_wrong_token_is_refused(settings: Settings, as_alice: Client, sent: str) -> None:
    settings.METRICS_TOKEN = TOKEN
    response = as_alice.get("/metrics", headers={"Authorization": sent})
    assert (response.status_code, response["WWW-Authenticate"]) == (401, 'Bearer realm="metrics"')
    assert "results_" not in response.content.decode()


def test_it_can_only_be_read(settings: Settings, client: Client) -> None:
    settings.METRICS_TOKEN = TOKEN
    assert client.post("/metrics", headers=SENT).status_code == 405


# --- what it tells ------------------------------------------------------------------------------


def test_requests_are_counted_by_route_not_by_path(
    read: Callable[[], Figures], as_bob: Client, laptops: Collection
) -> None:
    before = read()
    as_bob.get("/collections/101/download?q=secret")
    as_bob.get("/collections/999/download")
    as_bob.generic("BREW", "/no/such/address")
    as_bob.get("/api/nothing/here")
    after = grown(before, read())
    assert after == {
        ("results_http_requests_total", "GET", "download", "2xx"): 1,
        ("results_http_requests_total", "GET", "download", "4xx"): 1,
        ("results_http_requests_total", "other", "none", "4xx"): 1,
        ("results_http_requests_total", "GET", "collections_app.api.urls._unknown", "4xx"): 1,
        ("results_http_requests_total", "GET", "metrics", "2xx"): 1,
        ("results_http_request_seconds_count", "download"): 2,
        ("results_http_request_seconds_count", "none"): 1,
        ("results_http_request_seconds_count", "collections_app.api.urls._unknown"): 1,
        ("results_http_request_seconds_count", "metrics"): 1,
    }


def test_downloads_are_counted_while_they_run_and_when_they_end(
    read: Callable[[], Figures], as_bob: Client, laptops: Collection
) -> None:
    file = make_ready_run(laptops, records(3)).files.get(kind="page")
    address = f"/collections/101/runs/1/files/{quote(file.name)}"
    begun = read()
    response: Any = as_bob.get(address)
    assert read()["results_file_streams",] - begun["results_file_streams",] == 1
    assert len(response.getvalue()) == file.size
    close(as_bob.get(address))  # a client that disconnected
    as_bob.head(address)
    after = grown(begun, read())
    assert after["results_file_bytes_total",] == file.size
    assert after["results_file_streams_ended_total", "complete"] == 1
    assert after["results_file_streams_ended_total", "broken off"] == 1
    assert ("results_file_streams",) not in after


def test_a_refused_download_is_counted(
    read: Callable[[], Figures], settings: Settings, as_bob: Client, laptops: Collection
) -> None:
    file = make_ready_run(laptops, records(3)).files.get(kind="page")
    settings.WEB_THREADS = 2
    address = f"/collections/101/runs/1/files/{quote(file.name)}"
    before, running = read(), as_bob.get(address)
    assert as_bob.get(address).status_code == 429
    assert grown(before, read())["results_file_streams_refused_total", "person"] == 1
    assert running.getvalue()


def test_the_database_has_the_pending_work(
    read: Callable[[], Figures], laptops: Collection, settings: Settings
) -> None:
    now = timezone.now()
    Run.objects.create_next(laptops, attempt="dead", lease_expires_at=now - timedelta(seconds=1))
    Run.objects.create_next(laptops, attempt="alive", lease_expires_at=now + timedelta(seconds=50))
    remote = make_remote_collection(make_account(laptops.team))
    for number in (1, 2):
        make_remote_run(remote, number)
    Run.objects.filter(collection=remote).update(state=State.READY)
    after = read()
    assert after["results_database_up",] == 1
    assert after["results_runs_being_written",] == 1
    assert after["results_runs_interrupted",] == 1
    assert after["results_runs_to_keep",] == 0  # no one has requested it
    assert after["results_refresh_age_seconds",] == 0  # never yet
    Collection.objects.filter(pk=remote.pk).update(
        keeps_results=True, refresh_tried_at=now - timedelta(minutes=10)
    )
    after = read()
    assert after["results_runs_to_keep",] == 2
    assert 600 <= after["results_refresh_age_seconds",] < 700


def test_storage_metrics_appear_once_they_are_measured(
    read: Callable[[], Figures], laptops: Collection, results_folder: Path
) -> None:
    assert not [key for key in read() if key[0].startswith("results_storage")]
    file = make_ready_run(laptops, records(3)).files
    measurements.measure()
    after = read()
    assert after["results_storage_bytes", "results", ""] == sum(each.size or 0 for each in file.all())
    assert 0 <= after["results_storage_age_seconds", "results", ""] < 60
    assert after["results_storage_bytes", "cache", socket.gethostname()] == 0


def test_it_takes_few_queries(
    read: Callable[[], Figures], django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    # On PostgreSQL, another query reads the clock of the database, which decides when leases expire.
    with django_assert_max_num_queries(6 if connection.vendor == "sqlite" else 8):
        read()


def test_other_metrics_are_available_without_the_database(read: Callable[[], Figures]) -> None:
    def gone(*args: object) -> None:
        raise OperationalError("The database is gone.")

    with connection.execute_wrapper(gone):
        after = read()
    assert after["results_database_up",] == 0
    assert ("results_runs_being_written",) not in after
    assert ("results_file_streams",) in after


def test_metrics_do_not_wait_for_a_database_that_hangs(
    read: Callable[[], Figures], monkeypatch: pytest.MonkeyPatch
) -> None:
    proceed, calls = threading.Event(), []

    def hang() -> list[Metric]:
        calls.append(1)
        proceed.wait(tools.PATIENCE)
        return []

    def in_a_thread(work: Callable[[], None], *, name: str) -> None:
        threads.append(threading.Thread(target=work))
        threads[-1].start()

    threads: list[threading.Thread] = []
    monkeypatch.setattr(background, "in_background", in_a_thread)
    monkeypatch.setattr(metrics_view, "_query", hang)
    monkeypatch.setattr(metrics_view, "READY_WITHIN_SECONDS", 0.1)
    try:
        for _ in range(2):
            figures = read()
            assert figures["results_database_up",] == 0
            assert ("results_file_streams",) in figures
        assert len(calls) == 1
    finally:
        proceed.set()
        threads[0].join()


def test_upstream_calls_are_timed_and_their_failures_counted(read: Callable[[], Figures]) -> None:
    before = read()
    kinds: dict[type[Exception], str] = {KeyError: "narrow", LookupError: "wide"}
    for error in (KeyError(), IndexError()):
        with pytest.raises(LookupError), metrics.upstream_call("list", kinds):
            raise error
    with metrics.upstream_call("list", kinds):
        pass
    after = grown(before, read())
    assert after["results_upstream_seconds_count", "list"] == 3
    assert after["results_upstream_errors_total", "list", "narrow"] == 1
    assert after["results_upstream_errors_total", "list", "wide"] == 1


def test_wrong_content_is_counted(read: Callable[[], Figures], settings: Settings, crawlers: Team) -> None:
    with FileServer({"AU Laptops_88_Results_Page_1.json": b"<html></html>"}).running() as server:
        settings.UPSTREAM_ORIGINS = [f"http://127.0.0.1:{server.port}"]
        run = make_remote_run(make_remote_collection(make_account(crawlers, base_url=server.base_url)))
        before = read()
        with pytest.raises(NotTheFile):
            deliverable(run.files.select_related("run__collection__account").get(position=1))
    assert grown(before, read())["results_upstream_errors_total", "file", "wrong content"] == 1


@pytest.mark.django_db
def test_the_documentation_lists_every_metric() -> None:
    ours = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for collector in (registry, DatabaseMetrics(), DiskSpace())
        for metric in collector.collect()
    }
    handbook = (Path(ROOT) / "docs" / "operations.md").read_text()
    assert set(re.findall(r"^\| `(results_\w+)` \|", handbook, re.MULTILINE)) == ours
