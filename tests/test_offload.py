"""Which files nginx sends. tests/test_nginx.py checks that it sends them correctly."""

import logging
import os
import runpy
from pathlib import Path
from urllib.parse import quote

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.test import Client
from pytest_django import Settings

from collections_app.models import Collection, FileKind, ResultFile
from tests.support.results import make_ready_run, stored_bytes
from tests.test_settings import SETTINGS


@pytest.fixture(autouse=True)
def behind_nginx(settings: Settings) -> None:
    settings.DELIVERY = "nginx"


@pytest.fixture
def page(laptops: Collection) -> ResultFile:
    return make_ready_run(laptops).files.get(kind=FileKind.PAGE)


@pytest.fixture
def address(page: ResultFile) -> str:
    return f"/collections/101/runs/1/files/{quote(page.name)}"


def test_nginx_gets_the_location_and_name_of_the_file(
    page: ResultFile, address: str, as_bob: Client, results_folder: Path
) -> None:
    response = as_bob.get(address)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["X-Accel-Redirect"] == f"/_delivered/results/{page.key}"
    assert response.headers["X-Delivery-Disposition"] == f'attachment; filename="{page.name}"'
    assert response.headers["Content-Type"] == "application/octet-stream"
    # They would stay on a page that says what is wrong.
    assert not {"Cache-Control", "Content-Disposition"} & set(response.headers)


def test_the_log_line_has_no_bytes(address: str, as_bob: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "collections_app.system.observability.requests")
    as_bob.get(address)
    as_bob.head(address)
    left_to_it, head = caplog.records
    assert not hasattr(left_to_it, "bytes")
    assert vars(head)["bytes"] == 0


@pytest.mark.parametrize("requested", ["bytes=0-1", "bytes=1-", "bytes=-1", "bytes=0-999"])
def test_nginx_sends_a_range(address: str, as_bob: Client, requested: str) -> None:
    assert "X-Accel-Redirect" in as_bob.get(address, headers={"Range": requested}).headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-1,3-4"},
        {"Range": "bytes = 0-1"},
        {"Range": "bytes=0-9999999999999999999"},
        {"Range": "bytes=0-1", "If-Range": '"another"'},
        {"If-None-Match": '"another"'},
        {"X-Delivery-Failed": "1"},
    ],
    ids=str,
)
def test_we_send_what_nginx_might_interpret_differently(
    page: ResultFile, address: str, as_bob: Client, headers: dict[str, str]
) -> None:
    response = as_bob.get(address, headers=headers)
    assert "X-Accel-Redirect" not in response.headers
    assert response.getvalue()
    assert response.headers["Content-Disposition"]


def test_we_respond_to_head_and_refused_requests(page: ResultFile, address: str, as_bob: Client) -> None:
    head = as_bob.head(address)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(page.size))
    outside = as_bob.get(address, headers={"Range": "bytes=999-"})
    assert outside.status_code == 416
    known = as_bob.get(address, headers={"If-None-Match": page.etag})
    assert known.status_code == 304
    for response in (head, outside, known):
        assert "X-Accel-Redirect" not in response.headers


def test_we_send_a_file_whose_time_has_changed(
    page: ResultFile, address: str, as_bob: Client, results_folder: Path
) -> None:
    os.utime(results_folder / page.key, (1, 1))
    response = as_bob.get(address)
    assert response.getvalue() == stored_bytes(page)
    assert response.headers["ETag"] == page.etag


def test_a_missing_file_is_not_left_to_nginx(page: ResultFile, address: str, as_bob: Client) -> None:
    storages["results"].delete(page.key)
    assert as_bob.get(address).status_code == 404


def test_a_stranger_gets_no_instructions_for_nginx(address: str, as_carol: Client) -> None:
    response = as_carol.get(address)
    assert response.status_code == 403
    assert "X-Accel-Redirect" not in response.headers


def test_without_nginx_we_send_every_file(address: str, as_bob: Client, settings: Settings) -> None:
    settings.DELIVERY = "app"
    response = as_bob.get(address)
    assert "X-Accel-Redirect" not in response.headers
    assert response.getvalue()


def test_an_unknown_delivery_setting_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    for text, found in (("", "app"), ("nginx", "nginx")):
        monkeypatch.setenv("DELIVERY", text)
        assert runpy.run_path(SETTINGS)["DELIVERY"] == found
    monkeypatch.setenv("DELIVERY", "apache")
    with pytest.raises(ImproperlyConfigured, match="DELIVERY is 'apache'; it must be app or nginx"):
        runpy.run_path(SETTINGS)
