"""Exports of the records that match a search."""

import html
import json
import re
from typing import Any

import pytest
from django.test import Client

from collections_app.models import Collection, Export, Run
from collections_app.records.exports import create
from collections_app.records.exports.build import build_next
from collections_app.records.formats.export_formats import Format
from collections_app.records.preview import table
from tests.support import responses
from tests.support.previews import at_once  # noqa: F401
from tests.support.results import make_ready_run
from tests.test_view_run import address, numbers, page, words

pytestmark = pytest.mark.django_db

LAMPS: list[dict[str, Any]] = [
    {"name": "Zürich lamp", "price": 20.50, "tags": ["bright", "Öko"]},
    {"name": "apple", "price": 3},
    {"name": "Desk lamp", "shop": {"name": "Bob's"}},
    {"name": "lamp", "price": 5},
]


@pytest.fixture
def shop(laptops: Collection) -> Run:
    return make_ready_run(laptops, LAMPS, page_size=2)


def exported(client: Client, run: Run, query: str, ending: str = "json") -> bytes:
    return responses.content(client.get(address(run, f"records.{ending}?{query}")))


@pytest.mark.parametrize("search", ["lamp", "LAMP oko", '"desk lamp"', "bob's", "nothing like this"])
def test_an_export_contains_what_the_page_finds(as_bob: Client, shop: Run, search: str) -> None:
    found = [LAMPS[number - 1] for number in numbers(page(as_bob, shop, {"q": search}))]
    assert json.loads(exported(as_bob, shop, f"q={search}")) == found


def test_every_format_can_export_a_search(as_bob: Client, shop: Run) -> None:
    csv = exported(as_bob, shop, "q=lamp", "csv").decode().splitlines()
    assert csv[0] == "name,price,tags,shop.name"
    assert [line.partition(",")[0] for line in csv[1:]] == ["Zürich lamp", "Desk lamp", "lamp"]
    lines = exported(as_bob, shop, "q=lamp&columns=price", "jsonl").decode().splitlines()
    assert lines == ['{"price":20.5}', "{}", '{"price":5}']
    for ending in (Format.XLSX, Format.PARQUET):
        assert exported(as_bob, shop, "q=lamp", ending) != exported(as_bob, shop, "", ending)


def test_the_file_name_says_that_it_has_only_matching_records(as_bob: Client, shop: Run) -> None:
    response = as_bob.get(address(shop, "records.csv?q=lamp"))
    responses.content(response)
    assert "Laptops_1_Records_matching.csv" in response["Content-Disposition"]


def test_a_search_offers_its_records_as_files(as_bob: Client, shop: Run) -> None:
    text = page(as_bob, shop, {"q": "lamp"})
    assert "Export these 3" in words(text)
    links = html.unescape(" ".join(re.findall(r'href="([^"]*records\.\w+\?[^"]*)"', text)))
    assert links.split() == [
        f"{address(shop)}records.{each}?q=lamp" for each in ("xlsx", "csv", "json", "jsonl", "parquet")
    ]
    assert "Export these" not in words(page(as_bob, shop))


def test_the_columns_of_a_search_can_be_chosen(as_bob: Client, shop: Run) -> None:
    text = as_bob.get(address(shop, "export?q=lamp")).content.decode()
    assert 'name="q" value="lamp"' in text
    as_bob.post(address(shop, "export"), {"format": "csv", "column": "name", "q": "lamp"})
    assert "Records that match “lamp” · name" in words(as_bob.get(address(shop, "export")).content.decode())


def test_the_worker_builds_the_export_of_a_search(
    as_bob: Client, shop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create, "_QUICK", dict.fromkeys(Format, -1))
    assert as_bob.get(address(shop, "records.json?q=apple")).status_code == 302
    assert build_next()
    assert json.loads(exported(as_bob, shop, "q=apple")) == [LAMPS[1]]


def test_a_search_that_covers_only_part_of_a_run_is_not_exported(
    as_bob: Client, shop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "MOST_BYTES", 1)
    monkeypatch.setattr(table, "_BATCH", 2)
    assert as_bob.get(address(shop, "records.json?q=lamp")).status_code == 302
    problem = "Search covers only the first 2 records of this run. Export all records instead."
    assert [export.failure for export in Export.objects.all()] == [problem]


def test_exports_of_other_searches_are_separate(as_bob: Client, shop: Run) -> None:
    for query in ("q=lamp", "q=lamp", "q=+lamp+", "q=apple", ""):
        exported(as_bob, shop, query)
    assert sorted(Export.objects.values_list("search", flat=True)) == ["", "apple", "lamp"]


def test_a_search_that_is_too_long_is_rejected(as_bob: Client, shop: Run) -> None:
    response = as_bob.get(address(shop, f"records.csv?q={'x' * 201}"))
    assert response.status_code == 400
    assert "The search is too long. Use at most 200 characters." in words(response.content.decode())
