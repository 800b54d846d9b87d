"""Real, messy records stay unchanged from the import to a script's download."""

import io
import json
import zipfile
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.management import call_command
from django.test import Client

from collections_app.models import Collection, Run
from collections_app.records.preview.facts import facts_of
from collections_app.records.preview.queries import TableQuery, run_query
from collections_app.records.preview.records import files_of_records
from collections_app.records.preview.table import Table, table_of
from tests.support import responses
from tests.support.previews import at_once  # noqa: F401
from tests.support.tools import ROOT

SHARED = ROOT.parent / "shared" / "data"

pytestmark = [pytest.mark.shared, pytest.mark.django_db]


@pytest.fixture(params=["lazada", "shein"])
def scraped(request: pytest.FixtureRequest, laptops: Collection) -> list[dict[str, Any]]:
    """A shop's records, imported as run 1 of AU Laptops."""
    path = SHARED / f"{request.param}-products.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    call_command("import_run", "101", str(path), stdout=io.StringIO())
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def run(client: Client, bobs_key: str, scraped: object) -> dict[str, Any]:
    """Run 1 as the API lists it."""
    response = client.post(
        "/api/v1/schedules/collections/results/download/",
        '{"collection_id": 101}',
        content_type="application/json",
        headers={"x-api-key": bobs_key},
    )
    (run,) = response.json()["data"]
    listed: dict[str, Any] = run
    return listed


def content(client: Client, key: str, link: str) -> bytes:
    """Return the bytes behind a link of the API."""
    response = client.get(urlsplit(link).path, headers={"x-api-key": key})
    assert response.status_code == 200
    return responses.content(response)


def test_the_pages_contain_every_record(
    client: Client, bobs_key: str, scraped: list[dict[str, Any]], run: dict[str, Any]
) -> None:
    assert (run["total_results"], run["total_exacted_result"]) == (1000, 1000)
    pages = [json.loads(content(client, bobs_key, link)) for link in run["download_links"]["pages"]]
    assert [len(page) for page in pages] == [250] * 4
    assert [record for page in pages for record in page] == scraped


def test_the_zip_contains_the_same_pages_byte_for_byte(
    client: Client, bobs_key: str, run: dict[str, Any]
) -> None:
    with zipfile.ZipFile(
        io.BytesIO(content(client, bobs_key, run["download_links"]["all_pages"]))
    ) as archive:
        assert archive.testzip() is None
        zipped = {name: archive.read(name) for name in archive.namelist()}
    pages = {Path(link).name: content(client, bobs_key, link) for link in run["download_links"]["pages"]}
    assert list(zipped.items()) == list(pages.items())


def test_the_dashboard_and_the_api_send_the_same_file(
    client: Client, as_bob: Client, bobs_key: str, run: dict[str, Any]
) -> None:
    for link in [*run["download_links"]["pages"], run["download_links"]["all_pages"]]:
        response = as_bob.get(f"/collections/101/runs/1/files/{Path(link).name}")
        assert responses.content(response) == content(client, bobs_key, link)


# --- on the run's page --------------------------------------------------------------------------


@pytest.fixture
def table(scraped: object) -> Table:
    return table_of(files_of_records(Run.objects.with_files().get()), seconds=60)


def test_each_currency_has_its_price_range(table: Table, scraped: list[dict[str, Any]]) -> None:
    amounts = defaultdict(list)
    for record in scraped:
        amounts[record["currency"]].append(Decimal(record["final_price"]))
    found = facts_of(table, seconds=60).prices
    assert (found.column, found.problem, found.more_currencies) == ("final_price", "", 0)
    ranges = {prices.currency: (prices.low, prices.high, prices.count) for prices in found.prices}
    assert ranges == {name: (min(each), max(each), len(each)) for name, each in amounts.items()}


def test_prices_sort_by_amount(table: Table, scraped: list[dict[str, Any]]) -> None:
    order = sorted(range(1000), key=lambda index: Decimal(scraped[index]["final_price"]))
    found = run_query(table, TableQuery(sort="final_price"))
    assert [record.number - 1 for record in found.records] == order[:100]


def test_stock_is_counted(table: Table, scraped: list[dict[str, Any]]) -> None:
    stock = facts_of(table, seconds=60).stock
    in_stock = [record["in_stock"] for record in scraped if "in_stock" in record]
    assert (stock.in_stock, stock.count, stock.problem) == (in_stock.count(True), len(in_stock), "")
