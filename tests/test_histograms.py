"""The histograms of a run's records, below the headers of the table."""

import html
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.test import Client

from collections_app.models import Collection, Run
from collections_app.records.preview.histogram_edges import number_edges, time_edges
from collections_app.records.preview.histograms import histograms_of
from collections_app.records.preview.records import files_of_records
from collections_app.records.preview.removal import cache_names
from collections_app.records.preview.table import table_of
from tests.support.previews import at_once  # noqa: F401
from tests.support.results import make_ready_run
from tests.test_view_run import HTMX, address, numbers, page, words

DASH = "\N{EN DASH}"


@pytest.mark.parametrize(
    ("low", "high", "edges"),
    [
        ("12.99", "3499", ["0", "500", "3500", 8]),
        ("2.7", "5", ["2.5", "2.75", "5", 11]),
        ("0", "4", ["0", "1", "4", 5]),
        ("3", "40", ["0", "5", "40", 9]),
        ("0.001", "0.0019", ["0.001", "0.0011", "0.0019", 10]),
        ("-7", "1e308", ["-2e307", "0", "1e308", 7]),
        (str(10**40), str(10**40 + 5), [str(10**40), str(10**40 + 1), str(10**40 + 5), 6]),
    ],
)
def test_bars_of_numbers_begin_at_round_numbers(low: str, high: str, edges: list[Any]) -> None:
    found = number_edges(Decimal(low), Decimal(high), is_whole=not re.search("[.e]", low + high))
    assert [found[0], found[1], found[-1], len(found)] == [*map(Decimal, edges[:3]), edges[3]]


@pytest.mark.parametrize(
    ("low", "high", "edges"),
    [
        ("2026-06-20", "2026-06-20", ["2026-06-20T00:00", "2026-06-20T00:01"]),
        ("2026-06-20T11:59", "2026-06-20T20:00", ["2026-06-20T11:00", "2026-06-20T21:00"]),
        ("2026-06-20", "2026-06-29", ["2026-06-20T00:00", "2026-06-30T00:00"]),
        ("2026-01-31", "2026-12-31", ["2026-01-01T00:00", "2027-01-01T00:00"]),
        ("0001-01-01", "9998-12-31", ["0001-01-01T00:00", ""]),
    ],
)
def test_bars_of_dates_begin_at_round_times(low: str, high: str, edges: list[str]) -> None:
    times = [datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (low, high)]
    try:
        found = time_edges(*times)
    except (OverflowError, ValueError):
        assert not edges[1]
        return
    assert [f"{each:%Y-%m-%dT%H:%M}".zfill(16) for each in (found[0], found[-1])] == edges


SHOP: list[dict[str, Any]] = [
    {"price_cents": cents, "stars": stars, "stock": stock, "seller": seller, "at": at, "code": code}
    for cents, stars, stock, seller, at, code in [
        (129900, 4.5, True, "Bob's", "2026-06-20", "0012"),
        (149900, 5, False, "Bob's", "2026-06-20T12:00Z", "nan"),
        (9900, 1, True, "Alice, Inc.", "2026-06-22T23:59:59Z", "inf"),
        (9950, 1e308, True, None, "2026-06-24T10:00:00+10:00", "1e5"),
        (149901, None, True, "", "2026-06-20", "12"),
    ]
]


@pytest.fixture
def shop(laptops: Collection) -> Run:
    return make_ready_run(laptops, SHOP)


@pytest.mark.django_db
def test_each_bar_shows_the_records_that_its_filter_selects(as_bob: Client, shop: Run) -> None:
    table = table_of(files_of_records(shop), seconds=60)
    found = histograms_of(table, list(table.columns), seconds=60)
    bars = {name: [(str(bar.filter), bar.count) for bar in each.bars] for name, each in found.items()}
    assert bars["price_cents"][:2] == [
        ("price_cents,from,0,below,20000", 2),
        ("price_cents,from,20000,below,40000", 0),
    ]
    assert bars["price_cents"][-1] == ("price_cents,from,140000,to,160000", 2)
    assert bars["stars"] == [
        ("stars,from,0,below,1E+307", 3),
        *bars["stars"][1:-1],
        ("stars,from,9E+307,to,1E+308", 1),
    ]
    assert bars["stock"] == [("stock,is,true", 4), ("stock,is,false", 1)]
    assert bars["seller"] == [("seller,is,Bob's", 2), ('seller,is,"Alice, Inc."', 1)]
    assert (found["seller"].missing, found["seller"].distinct) == (2, 2)
    assert bars["at"][0] == ("at,from,2026-06-20,below,2026-06-20T12:00Z", 2)
    assert [count for _, count in bars["code"]] == [1] * 5
    for each, count in [bars["price_cents"][0], bars["stars"][-1], bars["seller"][1], bars["at"][0]]:
        assert len(numbers(page(as_bob, shop, {"filter": each}))) == count


@pytest.mark.django_db
def test_the_page_shows_them_once_they_are_ready(as_bob: Client, shop: Run) -> None:
    (later,) = re.findall(r'id="histograms" hx-get="([^"]*)"', page(as_bob, shop))
    loaded = as_bob.get(html.unescape(later), headers=HTMX).content.decode()
    text = page(as_bob, shop)
    assert 'hx-get="/collections/101/runs/1/histograms' not in text
    assert f"99.00{DASH}1,499.01 : values of price_cents" in words(loaded)
    assert f"99.00{DASH}1,499.01 : values of price_cents" in words(text)
    assert "80% true" in words(text)
    assert "2 values · 40% missing" in words(text)
    assert as_bob.get(html.unescape(later)).headers["Location"] == address(shop, "?")


@pytest.mark.django_db
def test_a_bar_replaces_the_filter_of_its_column_and_removes_itself(as_bob: Client, shop: Run) -> None:
    text = page(as_bob, shop, "?sort=stars&filter=stock,is,true&filter=seller,missing")
    bars = html.unescape(" ".join(re.findall(r'<a href="([^"]*)#records" tabindex="-1"', text))).split()
    there = address(shop, "?sort=stars&filter=")
    assert f"{there}seller%2Cmissing&filter=stock%2Cis%2Cfalse" in bars
    assert f"{there}seller%2Cmissing" in bars
    assert 'class="value-0 chosen"><title>true: 4 records</title>' in text


@pytest.mark.django_db
def test_the_values_of_a_column_are_a_table_with_links(as_bob: Client, shop: Run) -> None:
    text = as_bob.get(address(shop, "values?of=seller&sort=stars")).content.decode()
    assert "2 values, in 5 records Value Records Share Bob's 2 Alice, Inc. 1 No value 2" in words(text)
    assert f'href="{address(shop)}?sort=stars&amp;filter=seller%2Cmissing#records"' in text
    assert as_bob.get(address(shop, "values?of=nothing")).status_code == 404


@pytest.mark.django_db
def test_they_are_cached_and_deleted_with_the_run(as_bob: Client, shop: Run) -> None:
    page(as_bob, shop, "?sort=stars")
    cache = Path(storages["converted"].path(""))
    (stored,) = cache.glob("*.histograms*")
    assert {each["column"] for each in json.loads(stored.read_bytes())} == SHOP[0].keys()
    assert stored.name in cache_names(shop)
