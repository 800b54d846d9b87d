"""Static files are collected and served."""

import gzip
from importlib.metadata import version
from pathlib import Path

import brotli
import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from pytest_django import Settings

from dashboard import static_files
from dashboard.static_files import DigestedStaticFiles
from tests.support.tools import cpu_seconds


@pytest.fixture(autouse=True)
def collected(settings: Settings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    (tmp_path / "staticfiles.json").write_text('{"paths": {}, "version": "1.1"}')
    (tmp_path / "sheet.0123456789ab.css").write_text("p {}")


def test_it_is_written_for_the_installed_version() -> None:
    """If this fails, compare what is overridden with the new version, then name that in the file."""
    assert f"as read in version {version('whitenoise')}." in str(static_files.__doc__)


def test_a_static_file_is_served(client: Client) -> None:
    assert client.get("/static/sheet.0123456789ab.css").getvalue() == b"p {}"


@pytest.mark.django_db
def test_the_manifest_of_static_files_is_not_served(client: Client) -> None:
    assert client.get("/static/staticfiles.json").status_code == 404


@pytest.fixture(scope="module")
def script() -> bytes:
    return Path(str(finders.find("vendor/swagger-ui/swagger-ui-bundle.js"))).read_bytes()[:200_000]


@pytest.fixture
def storage(tmp_path: Path) -> DigestedStaticFiles:
    return DigestedStaticFiles(location=tmp_path, base_url="/static/")


def test_each_is_compressed_for_every_browser(
    storage: DigestedStaticFiles, tmp_path: Path, script: bytes
) -> None:
    (tmp_path / "site.js").write_bytes(script)
    list(storage.post_process({"site.js": (storage, "site.js")}))
    (compressed,) = tmp_path.glob("site.*.js.br")
    assert brotli.decompress(compressed.read_bytes()) == script
    assert gzip.decompress(compressed.with_suffix(".gz").read_bytes()) == script
    assert compressed.with_suffix("").read_bytes() == script


def test_compressing_them_takes_little_time(storage: DigestedStaticFiles, script: bytes) -> None:
    compressor = storage.create_compressor(quiet=True)
    usual = cpu_seconds(lambda: compressor.compress_gzip(script))
    assert cpu_seconds(lambda: compressor.compress_brotli(script)) < 15 * usual
