"""Static files are collected and served."""

import gzip
import re
from importlib.metadata import version
from pathlib import Path

import brotli
import pytest
from django.core.files.storage import FileSystemStorage
from django.test import Client
from pytest_django import Settings

from dashboard import static_files
from dashboard.static_files import BundledStaticFiles
from tests.support.tools import ROOT, cpu_seconds

STATIC = ROOT / "static"


@pytest.fixture(autouse=True)
def collected(settings: Settings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    (tmp_path / "staticfiles.json").write_text('{"paths": {}, "version": "1.1"}')
    (tmp_path / "sheet.0123456789ab.css").write_text("p {}")


def test_it_is_written_for_the_installed_version() -> None:
    """If this fails, compare what is overridden with the new version, then update the version in the file."""
    assert f"as read in version {version('whitenoise')}." in str(static_files.__doc__)


def test_a_static_file_is_served(client: Client) -> None:
    assert client.get("/static/sheet.0123456789ab.css").getvalue() == b"p {}"


@pytest.mark.django_db
def test_the_manifest_of_static_files_is_not_served(client: Client) -> None:
    assert client.get("/static/staticfiles.json").status_code == 404


@pytest.fixture(scope="module")
def script() -> bytes:
    return b"".join(path.read_bytes() for path in sorted((STATIC / "js").iterdir()))


@pytest.fixture
def storage(tmp_path: Path) -> BundledStaticFiles:
    return BundledStaticFiles(location=tmp_path, base_url="/static/")


def collect(storage: BundledStaticFiles, source: Path, bundle: str) -> str:
    """Collect a folder and return its bundle as it is served."""
    files = FileSystemStorage(source)
    names = [str(path.relative_to(source)) for path in source.glob("*/*.*")]
    list(storage.post_process({name: (files, name) for name in names}))
    return Path(storage.path(storage.stored_name(bundle))).read_text()


def test_the_stylesheet_contains_all_of_its_parts(storage: BundledStaticFiles) -> None:
    served = collect(storage, STATIC, "css/site.css")
    assert "@import" not in served
    for part in (STATIC / "css").iterdir():
        assert part.name == "site.css" or part.read_text() in served, part


def test_the_script_contains_all_of_its_parts(storage: BundledStaticFiles) -> None:
    served = collect(storage, STATIC, "js/site.js")
    assert not re.search("^(import|export) ", served, re.MULTILINE)
    parts = {part.name for part in (STATIC / "js").iterdir()} - {"site.js"}
    assert parts == set(re.findall(r'^modules\["([\w.-]+)"\] = ', served, re.MULTILINE))


def test_scripts_can_use_what_earlier_scripts_export(storage: BundledStaticFiles, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "js").mkdir(parents=True)
    (source / "js" / "site.js").write_text('import "./one.js";\nimport "./two.js";\n')
    (source / "js" / "one.js").write_text("const secret = 1;\nexport function one() {\n  return secret;\n}\n")
    (source / "js" / "two.js").write_text('import { one } from "./one.js";\n\nconst secret = one();\n')
    assert collect(storage, source, "js/site.js") == (
        "const modules = {};\n"
        'modules["one.js"] = (() => {\nconst secret = 1;\nfunction one() {\n  return secret;\n}\n\n'
        "return { one };\n})();\n"
        'modules["two.js"] = (() => {\nconst { one } = modules["one.js"];\n\nconst secret = one();\n\n'
        "return {  };\n})();\n"
    )


def test_each_is_compressed_for_every_browser(
    storage: BundledStaticFiles, tmp_path: Path, script: bytes
) -> None:
    (tmp_path / "site.js").write_bytes(script)
    list(storage.post_process({"site.js": (storage, "site.js")}))
    (compressed,) = tmp_path.glob("site.*.js.br")
    assert brotli.decompress(compressed.read_bytes()) == script
    assert gzip.decompress(compressed.with_suffix(".gz").read_bytes()) == script
    assert compressed.with_suffix("").read_bytes() == script


def test_compressing_them_takes_little_time(storage: BundledStaticFiles, script: bytes) -> None:
    compressor = storage.create_compressor(quiet=True)
    usual = cpu_seconds(lambda: compressor.compress_gzip(script))
    assert cpu_seconds(lambda: compressor.compress_brotli(script)) < 15 * usual
