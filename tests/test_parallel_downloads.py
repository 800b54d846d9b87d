"""Limits for the simultaneous downloads of a person and an API key in a process."""

import gc
import io
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, BinaryIO
from urllib.parse import quote

import pytest
from django.core.signals import request_finished
from django.db import close_old_connections
from django.http.response import HttpResponseBase
from django.test import Client
from pytest_django import Settings

from collections_app.files.delivery.body import BoundedStream
from collections_app.files.delivery.parallel_downloads import Downloader, Streams, TooManyStreams, most
from collections_app.models import ApiKey, Collection, ResultFile, User
from collections_app.sources import ResultNotFound, SourceUnavailable
from collections_app.sources.local import StoredBody
from tests.support.results import make_ready_run, records

BY_PERSON = "/collections/101/runs/1/files/"
BY_SCRIPT = "/api/v1/results/101/1/"


@pytest.fixture(autouse=True)
def streams(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Streams:
    """Allow three downloads per person and two per key, with none running."""
    settings.WEB_THREADS = 6
    ours = Streams()
    # By its name the function of the same name would be found.
    monkeypatch.setattr(import_module("collections_app.files.delivery.deliver"), "streams", ours)
    return ours


@pytest.fixture
def file(laptops: Collection) -> ResultFile:
    return make_ready_run(laptops, records(3)).files.get(kind="page")


def close(response: Any) -> None:
    """Close a response as the server does, but keep the database connection of the test."""
    request_finished.disconnect(close_old_connections)
    try:
        response.close()
    finally:
        request_finished.connect(close_old_connections)


@pytest.fixture
def running() -> Iterator[list[Any]]:
    """Collect responses, and close the open ones at the end."""
    responses: list[Any] = []
    yield responses
    for response in responses:
        close(response)


Begin = Callable[[], Any]


@pytest.fixture
def as_a_person(as_bob: Client, file: ResultFile, running: list[HttpResponseBase]) -> Begin:
    """Request the file as Bob, and read nothing of it yet."""

    def begin() -> HttpResponseBase:
        running.append(as_bob.get(BY_PERSON + quote(file.name)))
        return running[-1]

    return begin


@pytest.fixture
def as_a_script(
    client: Client, file: ResultFile, bobs_key: str, running: list[HttpResponseBase]
) -> Callable[..., Any]:
    """Request the file with one of Bob's keys, and read nothing of it yet."""

    def begin(key: str = bobs_key) -> HttpResponseBase:
        running.append(client.get(BY_SCRIPT + quote(file.name), headers={"x-api-key": key}))
        return running[-1]

    return begin


# --- the limits ---------------------------------------------------------------------------------


def test_normal_use_stays_below_the_limits(settings: Settings) -> None:
    settings.WEB_THREADS = 300  # as by default
    assert most("key") > 5 * 16  # aria2c -x16, which fetches five files at once
    assert most("person") > most("key") + 40  # and a browser that is sent 40 pages meanwhile


@pytest.mark.parametrize("threads", [2, 3, 20, 300])
def test_no_one_can_occupy_all_threads(settings: Settings, threads: int) -> None:
    settings.WEB_THREADS = threads
    assert 1 <= most("key") <= most("person") <= most("everybody") < threads


def test_one_thread_is_enough_for_one_file(settings: Settings) -> None:
    settings.WEB_THREADS = 1
    assert most("key") == most("person") == 1


def statuses(begin: Callable[[], Any], count: int) -> list[int]:
    return [begin().status_code for _ in range(count)]


def test_a_person_over_the_limit_gets_an_error_page(as_a_person: Begin) -> None:
    assert statuses(as_a_person, 3) == [200] * 3
    refused = as_a_person()
    assert (refused.status_code, refused["Retry-After"]) == (429, "10")
    page = refused.content.decode()
    assert "Too many downloads" in page
    assert "You have 3 downloads running" in page
    assert "Go to the collections" in page


def test_a_key_over_the_limit_gets_an_envelope(as_a_script: Begin) -> None:
    assert statuses(as_a_script, 2) == [200] * 2
    refused = as_a_script()
    assert (refused.status_code, refused["Retry-After"]) == (429, "10")
    assert refused.json() == {
        "code": 429,
        "data": "This API key has 2 downloads running, the maximum per key. Wait for one to finish.",
        "status": 0,
    }


def test_a_script_counts_towards_the_limit_of_its_owner(as_a_person: Begin, as_a_script: Begin) -> None:
    assert statuses(as_a_script, 2) == [200] * 2
    assert statuses(as_a_person, 2) == [200, 429]


def test_another_key_does_not_raise_the_limit_of_a_person(as_a_script: Callable[..., Any], bob: User) -> None:
    keys = [ApiKey.objects.issue(bob.memberships.get(), "many")[1] for _ in range(4)]
    responses = [as_a_script(key) for key in keys]
    assert [response.status_code for response in responses] == [200, 200, 200, 429]
    assert "You have 3 downloads running" in responses[-1].json()["data"]


def test_other_people_have_limits_of_their_own(
    as_a_person: Begin, as_adam: Client, file: ResultFile, running: list[Any]
) -> None:
    assert statuses(as_a_person, 3) == [200] * 3
    running.append(as_adam.get(BY_PERSON + quote(file.name)))
    assert running[-1].status_code == 200


def test_all_downloads_together_leave_threads_for_pages(
    as_a_person: Begin, as_alice: Client, streams: Streams, laptops: Collection
) -> None:
    slots = [streams.begin(Downloader(user_id)) for user_id in range(1001, 1006)]
    refused = as_a_person()
    assert refused.status_code == 429
    assert "Too many downloads are running" in refused.content.decode()
    assert as_alice.get("/collections/101/download").status_code == 200
    slots[0].end()
    assert as_a_person().status_code == 200


def test_access_is_checked_before_the_limits(
    as_a_script: Callable[..., Any], carol: User, carols_key: str, streams: Streams
) -> None:
    key = ApiKey.objects.get(membership__user=carol)
    for _ in range(2):
        streams.begin(Downloader(carol.pk, key.pk))
    assert as_a_script(carols_key).status_code == 403
    assert as_a_script("unknown").status_code == 401


# --- what counts, and when it ends --------------------------------------------------------------


def test_a_download_counts_until_its_response_is_closed(as_a_person: Begin, running: list[Any]) -> None:
    assert statuses(as_a_person, 3) == [200] * 3
    assert running[0].getvalue()
    close(running[0])
    assert as_a_person().status_code == 200
    assert as_a_person().status_code == 429
    close(running[1])  # a client that disconnected
    close(running[1])
    assert as_a_person().status_code == 200
    assert as_a_person().status_code == 429


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("HEAD", {}, 200),
        ("GET", {"If-None-Match": "*"}, 304),
        ("GET", {"If-Match": '"other"'}, 412),
        ("GET", {"Range": "bytes=99999999-"}, 416),
    ],
)
def test_a_response_without_a_file_does_not_count(
    as_a_person: Begin,
    as_bob: Client,
    file: ResultFile,
    streams: Streams,
    method: str,
    headers: dict[str, str],
    status: int,
) -> None:
    assert statuses(as_a_person, 3) == [200] * 3
    for _ in range(5):
        response = as_bob.generic(method, BY_PERSON + quote(file.name), headers=headers)
        assert response.status_code == status
    assert streams.running() == 3


@pytest.mark.parametrize("problem", [ResultNotFound("gone"), SourceUnavailable("down"), RuntimeError("bug")])
def test_a_file_that_cannot_be_opened_does_not_count(
    as_bob: Client, file: ResultFile, monkeypatch: pytest.MonkeyPatch, streams: Streams, problem: Exception
) -> None:
    def fail(self: StoredBody, start: int, length: int) -> BinaryIO:
        raise problem

    monkeypatch.setattr(StoredBody, "open", fail)
    as_bob.raise_request_exception = False
    for _ in range(4):
        assert as_bob.get(BY_PERSON + quote(file.name)).status_code in {404, 502, 500}
    assert streams.running() == 0


def test_a_file_that_cannot_be_closed_stops_counting(
    as_a_person: Begin, monkeypatch: pytest.MonkeyPatch, streams: Streams
) -> None:
    class Stubborn(io.BytesIO):
        def close(self) -> None:
            super().close()
            raise OSError("Input/output error")

    monkeypatch.setattr(StoredBody, "open", lambda self, start, length: Stubborn(b"x" * length))
    response = as_a_person()
    assert streams.running() == 1
    close(response)
    assert streams.running() == 0


def test_a_response_that_is_never_closed_stops_counting(streams: Streams) -> None:
    """This happens if a middleware fails afterwards."""
    slot = streams.begin(Downloader(7))
    body = BoundedStream(io.BytesIO(b"abc"), 0, 3, slot.end)
    assert streams.running() == 1
    del body
    gc.collect()
    assert streams.running() == 0


def test_a_slot_ends_once(streams: Streams) -> None:
    downloader = Downloader(7, 8)
    first, second = streams.begin(downloader), streams.begin(downloader)
    with pytest.raises(TooManyStreams):
        streams.begin(downloader)
    first.end()
    first.end()
    streams.begin(downloader)
    with pytest.raises(TooManyStreams):
        streams.begin(downloader)
    second.end()
    assert streams.running() == 1
