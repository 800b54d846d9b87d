"""Upgrade a data folder from the first released schema to the current one."""

import hashlib
import io
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from tests.support import tools
from tests.support.server import environment, free_port, manage, wait_until_it_answers

pytestmark = pytest.mark.thorough

FIRST = ("collections_app", "0001_initial")
PASSWORD = "correct horse battery staple"
KEY = "0123abcd.key-of-the-first-release"
PAGE = json.dumps([{"asin": "B000000001", "title": "Laptop", "price_cents": 100}]).encode()
LIST = json.dumps([{"asin": "B000000002", "title": "Headphones"}]).encode()
CSV = (
    b"asin,parent_asin,is_variant,is_brand,is_store,is_prime,seller_name,price_cents,in_stock\r\n"
    b"B000000002,,,,,,,,\r\n"
)
WRITTEN = datetime(2026, 11, 23, 12, tzinfo=UTC)


def make_first_release() -> None:
    """Create the database and results of version 0.1.0: Alice's team with a run of each kind."""
    executor = MigrationExecutor(connection)
    others = [leaf for leaf in executor.loader.graph.leaf_nodes() if leaf[0] != FIRST[0]]
    executor.migrate([*others, FIRST])
    apps = executor.loader.project_state([*others, FIRST]).apps
    model = {name: apps.get_model("collections_app", name).objects for name in MODELS}
    alice = model["User"].create(email="alice@example.com", password=make_password(PASSWORD))
    team = model["Team"].create(name="Crawlers")
    owner = model["Membership"].create(user=alice, team=team, role="owner")
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    model["ApiKey"].create(membership=owner, name="cron job", prefix=KEY[:8], digest=digest)
    laptops = model["Collection"].create(
        pk=101, team=team, name="AU Laptops", search_name="au laptops", kind="amazon", last_run_number=2
    )
    ready = _run(model["Run"], laptops, 1)
    archive, place = _zip("AU Laptops_1_Results_Page_1.json", PAGE)
    _file(ready, "page", 1, "AU Laptops_1_Results_Page_1.json", PAGE, records=1, **place)
    _file(ready, "archive", 0, "AU Laptops_1_Results_All_Pages.zip", archive)
    model["Run"].create(collection=laptops, number=2, attempt="killed", lease_expires_at=WRITTEN)
    headphones = model["Collection"].create(
        pk=102, team=team, name="Headphones", search_name="headphones", kind="amazon_category_scrape"
    )
    listed = _run(model["Run"], headphones, 1)
    _file(listed, "category_list", 0, "category_asins.json", LIST, records=1)
    _file(listed, "category_csv", 0, "category_asins.csv", CSV, records=1)


MODELS = ["User", "Team", "Membership", "ApiKey", "Collection", "Run"]


def _run(runs: Any, collection: Any, number: int) -> Any:
    times = {"created_at": WRITTEN, "updated_at": WRITTEN}
    return runs.create(
        collection=collection, number=number, state="ready", extracted=1, total=1, file_count=2, **times
    )


def _file(run: Any, kind: str, position: int, name: str, content: bytes, **fields: int) -> None:
    key = f"{run.collection_id}/{run.number}/{kind}"
    path = settings.DATA_DIR / "results" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    facts = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "modified": WRITTEN}
    run.files.create(kind=kind, position=position, name=name, key=key, **facts, **fields)


def _zip(name: str, content: bytes) -> tuple[bytes, dict[str, int]]:
    """Return a ZIP with one page, and the page's position in it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    (member,) = archive.infolist()
    begins = member.header_offset + zipfile.sizeFileHeader + len(name)  # type: ignore[attr-defined]
    return out.getvalue(), {
        "archive_offset": begins,
        "archive_size": member.compress_size,
        "crc32": member.CRC,
    }


@pytest.mark.sqlite(reason="only SQLite copies tables")
@pytest.mark.django_db(transaction=True)
def test_no_migration_since_0_2_0_copies_the_runs_or_their_files() -> None:
    loader = MigrationLoader(connection)
    (leaf,) = (key for key in loader.graph.leaf_nodes() if key[0] == FIRST[0])
    keys = [key for key in loader.graph.forwards_plan(leaf) if key[0] == FIRST[0] and key[1] > "0014"]
    statements = "\n".join(loader.collect_sql([(loader.graph.nodes[key], False) for key in keys]))
    assert "run_unready" in statements
    for table in ("collections_app_run", "collections_app_resultfile"):
        assert f'"new__{table}"' not in statements


@pytest.fixture(scope="module")
def upgraded(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a site that serves the data folder of the first release."""
    folder = tmp_path_factory.mktemp("upgrade")
    data_dir, log, port = folder / "data", folder / "log", free_port()
    data_dir.mkdir()
    (data_dir / "static").symlink_to(demo_data / "static")
    make = "from tests.test_upgrade import make_first_release; make_first_release()"
    manage(data_dir, "shell", "--no-imports", "--command", make)
    env = environment(data_dir, PORT=str(port), WEB_CONCURRENCY="1")
    with tools.running(sys.executable, "manage.py", "serve", log=log, env=env) as process:
        wait_until_it_answers(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    assert "Traceback" not in log.read_text()
    steps = re.findall(r"database, step (\d+) of (\d+) \(\w+\)$", log.read_text(), re.MULTILINE)
    assert [int(step) for step, _ in steps] == [*range(1, int(steps[0][1]) + 1)]


@pytest.fixture(scope="module")
def alices(upgraded: str) -> requests.Session:
    """Alice's browser, signed in with her old password."""
    browser = requests.Session()
    browser.get(f"{upgraded}/accounts/login/")
    form = {"login": "alice@example.com", "password": PASSWORD}
    form["csrfmiddlewaretoken"] = browser.cookies["csrftoken"]
    answer = browser.post(f"{upgraded}/accounts/login/", form)
    assert answer.url == f"{upgraded}/"
    assert "AU Laptops" in answer.text
    return browser


def test_the_database_has_the_current_version(upgraded: str) -> None:
    assert requests.get(f"{upgraded}/readyz").json()["status"] == "ready"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("collections/101/download", ["Completed", "Page 1", "Failed"]),
        ("collections/102/download", ["Completed", "Download full list (JSON)", "Download CSV"]),
        ("collections/101/runs/1/", ["B000000001", "AU Laptops_1_Results_Page_1.json"]),
        ("collections/102/runs/1/", ["B000000002"]),
        ("members/", ["alice@example.com"]),
        ("profile/", ["cron job"]),
    ],
)
def test_pages_show_the_old_data(
    upgraded: str, alices: requests.Session, address: str, shown: list[str]
) -> None:
    answer = alices.get(f"{upgraded}/{address}")
    assert answer.status_code == 200
    for text in shown:
        assert text in answer.text


@pytest.mark.parametrize(
    ("address", "content"),
    [
        ("101/runs/1/files/AU Laptops_1_Results_Page_1.json", PAGE),
        ("102/runs/1/files/category_asins.json", LIST),
        ("102/runs/1/files/category_asins.csv", CSV),
    ],
)
def test_files_are_unchanged(upgraded: str, alices: requests.Session, address: str, content: bytes) -> None:
    assert alices.get(f"{upgraded}/collections/{address}").content == content


def test_scripts_get_the_old_files_and_new_formats(upgraded: str) -> None:
    headers = {"x-api-key": KEY}
    listed = requests.post(
        f"{upgraded}/api/v1/schedules/collections/results/download/",
        json={"collection_id": 101},
        headers=headers,
    ).json()["data"]
    assert {run["id"]: run["is_download_generated"] for run in listed} == {1: True, 2: False}
    (link,) = (page for run in listed for page in run["download_links"]["pages"])
    assert requests.get(link, headers=headers).content == PAGE

    def get(rest: str) -> requests.Response:
        return requests.get(f"{upgraded}/api/v1/collections/{rest}", headers=headers)

    for made in (get("101/runs/1/all.zip"), get("101/selection.zip?runs=1")):
        with zipfile.ZipFile(io.BytesIO(made.content)) as archive:
            assert [archive.read(name) for name in archive.namelist()] == [PAGE]
    assert json.loads(get("101/selection.json?runs=1").content) == json.loads(PAGE)
    assert get("101/runs/1/records.csv").text.splitlines()[1] == "B000000001,Laptop,100"
    manifest = get("102/runs/1/manifest.json").json()
    assert manifest["files"][0]["sha256"] == hashlib.sha256(LIST).hexdigest()
