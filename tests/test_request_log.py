"""The log: a line for each request when its response has ended, in JSON or for people, without secrets."""

import io
import json
import logging
import logging.config
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, Settings
from structlog.contextvars import clear_contextvars

from collections_app.models import ApiKey, Collection, ResultFile, User
from collections_app.people.password_links import password_path
from collections_app.sources import SourceTimeout
from collections_app.system.observability import logs
from collections_app.system.observability.logs import CONTEXT_FIELDS, REQUEST_FIELDS
from collections_app.system.serving import serving
from dashboard.gunicorn_worker import Logger
from tests.conftest import PASSWORD
from tests.support.results import make_ready_run, records
from tests.support.tools import ROOT
from tests.test_parallel_downloads import close

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def output(caplog: pytest.LogCaptureFixture) -> Iterator[io.StringIO]:
    """Log as a server does to a file or a collector."""
    caplog.set_level(logging.INFO, "collections_app.system.observability.requests")
    clear_contextvars()
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(logs._formatter(for_people=False))
    logging.getLogger().addHandler(handler)
    yield handler.stream
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def lines(output: io.StringIO) -> Lines:
    """Return the lines since the last call."""

    def lines() -> list[dict[str, Any]]:
        text = output.getvalue()
        output.seek(0)
        output.truncate()
        return [json.loads(line) for line in text.splitlines()]

    return lines


@pytest.fixture
def file(laptops: Collection) -> ResultFile:
    return make_ready_run(laptops, records(3)).files.get(kind="page")


def without_time(line: dict[str, Any]) -> dict[str, Any]:
    """Check the values that vary, and return the others."""
    line = dict(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("time"))
    assert re.fullmatch(r"[0-9a-f]{16}", line.pop("request_id"))
    assert 0 <= line.pop("seconds") < 60
    return line


# --- a line for each request --------------------------------------------------------------------


@pytest.mark.parametrize(("leaves", "status"), [(True, 499), (False, 504)])
def test_a_client_that_disconnects_while_we_wait_for_an_account_is_a_499(
    as_bob: Client,
    file: ResultFile,
    lines: Lines,
    monkeypatch: pytest.MonkeyPatch,
    leaves: bool,  # noqa: FBT001
    status: int,
) -> None:
    ours, theirs = socket.socketpair()

    def wait(*_: object) -> None:
        if leaves:
            theirs.close()
        raise SourceTimeout("It sleeps.")

    monkeypatch.setattr("collections_app.sources.local.StoredBody.open", wait)
    with ours, theirs, serving(ours, lambda: False):
        close(as_bob.get(f"/collections/101/runs/1/files/{quote(file.name)}"))
    assert lines()[-1]["status"] == status


def test_a_page_has_a_line(as_bob: Client, bob: User, laptops: Collection, lines: Lines) -> None:
    response = as_bob.get("/collections/101/download?before=secret")
    response = as_bob.get("/collections/101/download?q=secret")
    (_, line) = lines()
    assert line["request_id"] == response["X-Request-ID"]
    assert list(line)[:3] == ["time", "level", "event"]
    assert without_time(line) == {
        "level": "info",
        "event": "request",
        "logger": "collections_app.system.observability.requests",
        "method": "GET",
        "route": "download",
        "status": 200,
        "bytes": len(response.content),
        "user": bob.pk,
        "team": laptops.team_id,
        "collection": 101,
    }


def test_a_download_has_a_line_when_it_ends(
    client: Client, bob: User, bobs_key: str, file: ResultFile, lines: Lines
) -> None:
    address = f"/api/v1/results/101/1/{quote(file.name)}"
    response: Any = client.get(address, headers={"x-api-key": bobs_key})
    assert lines() == []
    assert response.getvalue()
    (line,) = lines()
    assert without_time(line) == {
        "level": "info",
        "event": "request",
        "logger": "collections_app.system.observability.requests",
        "method": "GET",
        "route": "api:download_result_file",
        "status": 200,
        "bytes": file.size,
        "complete": True,
        "user": bob.pk,
        "team": file.run.collection.team_id,
        "key": ApiKey.objects.get().prefix,
        "collection": 101,
        "run": 1,
        "file": file.pk,
    }
    close(response)
    assert lines() == []


def test_an_interrupted_download_logs_how_much_was_sent(
    as_bob: Client, file: ResultFile, lines: Lines
) -> None:
    response: Any = as_bob.get(f"/collections/101/runs/1/files/{quote(file.name)}")
    stream = response._resource_closers[0].__self__
    stream.read(7)
    close(response)
    (line,) = lines()
    assert (line["bytes"], line["complete"]) == (7, False)


@pytest.mark.parametrize(
    ("method", "headers", "said"),
    [
        ("HEAD", {}, (200, 0)),
        ("GET", {"If-None-Match": "*"}, (304, 0)),
        ("GET", {"Range": "bytes=2-5"}, (206, 4)),
    ],
)
def test_the_bytes_that_were_sent_are_logged(
    as_bob: Client,
    file: ResultFile,
    lines: Lines,
    method: str,
    headers: dict[str, str],
    said: tuple[int, int],
) -> None:
    response: Any = as_bob.generic(
        method, f"/collections/101/runs/1/files/{quote(file.name)}", headers=headers
    )
    response.getvalue()
    (line,) = lines()
    assert (line["status"], line["bytes"]) == said


def test_no_context_is_left_for_the_next_request(as_bob: Client, file: ResultFile, lines: Lines) -> None:
    as_bob.head(f"/collections/101/runs/1/files/{quote(file.name)}")
    Client().get("/accounts/login/")
    _, line = lines()
    assert not line.keys() & {"user", "team", "key", "collection", "run", "file"}


def test_other_lines_of_a_request_have_its_id(
    as_bob: Client, bob: User, file: ResultFile, results_folder: Any, lines: Lines
) -> None:
    (results_folder / file.key).unlink()
    as_bob.get(f"/collections/101/runs/1/files/{quote(file.name)}")
    problem, line = lines()
    assert problem["level"] == "error"
    assert file.key in problem["event"]
    assert problem["request_id"] == line["request_id"]
    assert (problem["user"], problem["run"]) == (bob.pk, 1)


@pytest.mark.parametrize("address", ["/healthz", "/static/css/site.css"])
def test_frequent_requests_have_no_line(client: Client, lines: Lines, address: str) -> None:
    client.get(address)
    assert [line["status"] for line in lines()] in ([], [404])  # no static files were collected


def test_an_unknown_path_is_not_logged(client: Client, db: None, lines: Lines) -> None:
    client.get("/canary/canary")
    (line,) = lines()
    assert (line["route"], line["status"]) == ("none", 404)
    assert "canary" not in json.dumps(line)


def test_it_does_not_use_the_database(
    client: Client, db: None, lines: Lines, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        client.get("/accounts/login/")
    assert lines()


# --- the id -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behind", "given", "taken"),
    [
        (True, "4bf92f3577b34da6a3ce929d0e0e4736", True),
        (True, "a-b_c.d-8", True),
        (True, "short", False),
        (True, "x" * 65, False),
        (True, "with space", False),
        (True, "line\\nbreak", False),
        (False, "4bf92f3577b34da6a3ce929d0e0e4736", False),
    ],
)
def test_a_valid_id_from_the_proxy_is_used(
    client: Client,
    settings: Settings,
    behind: bool,  # noqa: FBT001
    given: str,
    taken: bool,  # noqa: FBT001
) -> None:
    settings.IS_BEHIND_A_PROXY = behind
    response = client.get("/healthz", headers={"X-Request-ID": given})
    assert (response["X-Request-ID"] == given) is taken


# --- what goes wrong ----------------------------------------------------------------------------


def test_an_error_has_a_traceback(
    as_bob: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    def broken(*args: object) -> None:
        password = "-".join(["canary", "in", "a", "variable"])  # noqa: F841
        raise RuntimeError("a mistake")

    monkeypatch.setattr("collections_app.views.collections.list.page_of", broken)
    as_bob.raise_request_exception = False
    response = as_bob.get("/collections/")
    problem, line = lines()
    assert (problem["level"], problem["event"]) == ("error", "Internal Server Error")
    assert "RuntimeError: a mistake" in problem["exception"]
    assert "Traceback" in problem["exception"]
    assert "canary-in" not in problem["exception"]
    assert (line["route"], line["status"]) == ("collections", 500)
    assert problem["request_id"] == line["request_id"] == response["X-Request-ID"]
    assert b"a mistake" not in response.content


def test_the_format_for_people() -> None:
    clear_contextvars()
    record = logging.LogRecord("x", logging.WARNING, "", 0, "It %s.", ("broke",), None)
    record.route = "download"
    said = logs._formatter(for_people=True).format(record)
    assert re.search(r"\[warning +\] It broke\. +\[x\] +route=download$", said)


def test_a_traceback_for_people_has_no_variables() -> None:
    try:
        password = "-".join(["canary", "in", "a", "variable"])  # noqa: F841
        raise RuntimeError("a mistake")  # noqa: TRY301
    except RuntimeError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "", 0, "It broke.", (), info)
    said = logs._formatter(for_people=True).format(record)
    assert "RuntimeError: a mistake" in said
    assert "canary-in" not in said


@pytest.fixture
def loggers_restored() -> Iterator[None]:
    """Restore all handlers, because new ones would keep the captured output of this test and fail later."""
    loggers = [logging.root, *map(logging.getLogger, logging.root.manager.loggerDict)]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.mark.usefixtures("loggers_restored")
def test_the_lines_of_gunicorn_have_the_same_format() -> None:
    from gunicorn.config import Config  # noqa: PLC0415

    error_log = logging.getLogger("gunicorn.error")
    config = Config()
    config.set("loglevel", "warning")
    log = Logger(config)
    log.setup(config)  # as on a reload
    assert (error_log.handlers, error_log.propagate) == ([], True)
    assert error_log.level == logging.WARNING


# --- secrets ------------------------------------------------------------------------------------


@pytest.fixture
def canaries(settings: Settings, alice: User, bob: User, bobs_key: str) -> dict[str, str]:
    settings.PUBLIC_URL = "http://testserver"
    link = password_path(bob)
    return {
        "password": PASSWORD,
        "key": bobs_key.partition(".")[2],
        "link": link.removesuffix("/").rpartition("-")[2],
        "path": link,
        "query": "canary-in-a-query",
        "agent": "canary-in-an-agent",
        "referrer": "canary-in-a-referrer",
    }


def test_no_secret_is_in_any_line(
    client: Client,
    bob: User,
    bobs_key: str,
    file: ResultFile,
    canaries: dict[str, str],
    output: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    more: dict[str, Any] = {
        "headers": {"User-Agent": canaries["agent"], "Referer": f"http://testserver/?{canaries['referrer']}"}
    }
    client.raise_request_exception = False
    client.get("/accounts/login/?next=/" + canaries["query"], **more)
    client.post("/accounts/login/", {"login": bob.email, "password": canaries["password"]}, **more)
    assert client.session["_auth_user_id"] == str(bob.pk)
    cookies = {cookie.value for cookie in client.cookies.values() if len(cookie.value) > 16}
    assert cookies
    client.get(f"/collections/101/download?q={canaries['query']}", **more)
    for key in (bobs_key, bobs_key + "x"):
        for header in ({"x-api-key": key}, {"Authorization": f"Bearer {key}"}, {"Authorization": key}):
            address = f"/api/v1/results/101/1/{quote(file.name)}"
            response: Any = client.get(address, headers=header | more["headers"])
            response.getvalue()
    anonymous = Client(raise_request_exception=False)
    assert anonymous.get(canaries["path"], follow=True, **more).status_code == 200
    anonymous.get(canaries["path"] + "x", **more)
    with monkeypatch.context() as broken:  # also where we fail in the midst of it

        def fail(*args: object, **kwargs: object) -> None:
            raise RuntimeError("a mistake of ours")

        broken.setattr("collections_app.people.password_links.PasswordLinkTokens.check_token", fail)
        assert Client(raise_request_exception=False).get(canaries["path"], **more).status_code == 500
        broken.setattr("collections_app.models.ApiKey.note_use", fail)
        failed = client.get("/api/v1/results/101/1/x", headers={"x-api-key": bobs_key} | more["headers"])
        assert failed.status_code == 500
    said = output.getvalue() + caplog.text
    assert said.count("a mistake of ours") >= 2
    assert reverse("account_reset_password") not in said
    for what, canary in [*canaries.items(), *(("cookie", cookie) for cookie in cookies)]:
        assert canary not in said, what


# --- the handbook -------------------------------------------------------------------------------


def test_the_documentation_lists_every_field() -> None:
    ours = {"time", "level", "event", "logger", "exception", *REQUEST_FIELDS, *CONTEXT_FIELDS}
    handbook = (ROOT / "docs" / "operations.md").read_text().partition("## Logs")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", handbook, re.MULTILINE)) == ours
