"""The page of the changes between two runs."""

import re
from decimal import Decimal
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from collections_app.models import (
    Collection,
    Comparison,
    ComparisonState,
    Run,
    RunCoverage,
    TrackingSettings,
    Verdict,
    VerdictLevel,
    WatchedProduct,
)
from collections_app.records.exports import create
from collections_app.records.exports.build import build_next
from collections_app.records.tracking import comparisons
from collections_app.records.tracking.compare import Entry
from collections_app.records.tracking.kinds import ChangeKind
from collections_app.runs.removal import delete_run
from collections_app.views.changes.cells import amount_text, percent_text, values_of
from collections_app.views.changes.summary import changes_summaries
from tests.support.html import columns, links, rows, text_of
from tests.support.responses import Response, content
from tests.support.results import make_failed_run, make_processing_run, make_ready_run

pytestmark = pytest.mark.django_db(transaction=True)

HTMX = {"HX-Request": "true"}
LAPTOP = {"asin": "B01", "title": "Laptop", "price_cents": 129900, "currency": "AUD", "in_stock": True}
MOUSE = LAPTOP | {"asin": "B02", "title": "Mouse", "price_cents": 1500}
DESK = LAPTOP | {"asin": "B03", "title": "Desk", "price_cents": 30000}
CHAIR = LAPTOP | {"asin": "B04", "title": "Chair", "in_stock": False}
LAMP = LAPTOP | {"asin": "B05", "title": "Lamp"}
BEFORE = [LAPTOP, MOUSE, DESK, CHAIR]
AFTER = [
    LAPTOP | {"price_cents": 114900},
    MOUSE | {"price_cents": 3000},
    DESK | {"in_stock": False, "brand": "Oak"},
    LAMP,
]
PRICE_DOWN = ["Laptop", "B01", "Price down", "AUD 1,299.00", "AUD 1,149.00", "-11.5%", "-AUD 150.00", "1"]
PRICE_UP = ["Mouse", "B02", "Price up", "AUD 15.00", "AUD 30.00", "+100.0%", "+AUD 15.00", "2"]
SOLD_OUT = ["Desk", "B03", "Sold out", "true", "false", "", "", "3"]
NEW = ["Lamp", "B05", "New", "", "", "", "", "4"]
MISSING = ["Chair", "B04", "Missing", "", "", "", "", "4"]


def address(run: Run, **query: object) -> str:
    parameters = f"?{urlencode(query, doseq=True)}" if query else ""
    return f"/collections/{run.collection_id}/runs/{run.number}/changes{parameters}"


def page(client: Client, run: Run, since: Run | None = None, **query: object) -> Response:
    since_number = {"since": since.number} if since else {}
    answer: Response = client.get(address(run, **since_number, **query))
    assert answer.status_code == 200
    return answer


def headings(answer: Response) -> list[str]:
    return [text_of(each) for each in re.findall(r"<h[12]\b.*?</h[12]>", answer.content.decode(), re.DOTALL)]


@pytest.fixture
def since(laptops: Collection) -> Run:
    return make_ready_run(laptops, BEFORE)


@pytest.fixture
def run(laptops: Collection, since: Run) -> Run:
    return make_ready_run(laptops, AFTER)


class TestChanges:
    def test_the_table_shows_both_values_and_links_to_the_records(
        self, as_bob: Client, run: Run, since: Run
    ) -> None:
        answer = page(as_bob, run, since)
        assert columns(answer) == ["Product", "Key", "What", "Was", "Now", "Change", "Amount", "Record"]
        assert rows(answer) == [PRICE_DOWN, PRICE_UP, SOLD_OUT, NEW, MISSING]
        assert headings(answer)[0] == "Run 2 compared with run 1"
        assert links(answer)["Lamp"] == "/collections/101/products/B05"
        assert re.findall(r'href="(/\S+/records/4)"', answer.content.decode()) == [
            "/collections/101/runs/2/records/4",
            "/collections/101/runs/1/records/4",
        ]

    def test_without_an_earlier_run_it_redirects_to_the_usual_one(
        self, as_bob: Client, run: Run, since: Run
    ) -> None:
        answer = as_bob.get(address(run, what="new"))
        assert (answer.status_code, answer["Location"]) == (302, address(run, since=1, what="new"))

    def test_each_count_is_a_filter_that_can_be_removed(self, as_bob: Client, run: Run, since: Run) -> None:
        found = links(page(as_bob, run, since))
        assert found["Price down 1 median -11.5%"] == address(run, since=1, what="price_down")
        chosen = as_bob.get(found["Sold out 1"])
        assert rows(chosen) == [SOLD_OUT]
        assert links(chosen)["Sold out 1"] == address(run, since=1)

    def test_changes_are_filtered_and_sorted(self, as_bob: Client, run: Run, since: Run) -> None:
        def shown(**query: object) -> list[list[str]]:
            return rows(page(as_bob, run, since, **query))

        assert shown(column="in_stock") == [SOLD_OUT]
        assert shown(min_percent="50") == [PRICE_UP]
        assert shown(min_amount="20.5") == [PRICE_DOWN]
        assert shown(q="lamp") == [NEW]
        assert shown(what=["missing", "price_up"]) == [PRICE_UP, MISSING]
        assert shown(what=["missing", "new"], sort="title") == [MISSING, NEW]
        assert shown(column="price_cents", sort="percent", dir="desc") == [PRICE_UP, PRICE_DOWN]
        assert links(page(as_bob, run, since, min_percent=500))["Show all changes"] == address(run, since=1)

    def test_only_the_watchlist_is_shown(self, as_bob: Client, run: Run, since: Run) -> None:
        WatchedProduct.objects.create(collection=run.collection, key='["B02"]')
        answer = page(as_bob, run, since, watched=1)
        assert rows(answer) == [PRICE_UP]
        assert links(answer)["Price up 1 median +100.0%"] == address(run, since=1, what="price_up", watched=1)
        WatchedProduct.objects.all().delete()
        assert "Show all changes" in links(page(as_bob, run, since, watched=1))

    def test_more_changes_are_loaded_in_parts(self, as_bob: Client, laptops: Collection) -> None:
        since = make_ready_run(laptops, [LAPTOP | {"asin": f"B{n}", "price_cents": 1000} for n in range(150)])
        run = make_ready_run(laptops, [LAPTOP | {"asin": f"B{n}", "price_cents": n} for n in range(150)])
        first = page(as_bob, run, since)
        more = links(first)["Load more"]
        rest = as_bob.get(more, headers=HTMX)
        assert [len(rows(each)) for each in (first, rest)] == [100, 50]
        assert more == address(run, since=1, after=100)
        assert "<html" not in rest.content.decode()

    def test_the_chosen_changes_are_downloaded(self, as_bob: Client, run: Run, since: Run) -> None:
        found = links(page(as_bob, run, since, min_percent=50))
        file = found["CSV of the changes since run 1"]
        assert file == "/collections/101/runs/2/changes.csv?since=1&min_percent=50"
        answer = as_bob.get(file)
        assert [line.partition(",")[0] for line in content(answer).decode().splitlines()] == ["key", "B02"]
        assert as_bob.get("/collections/101/runs/2/changes.dbf?since=1").status_code == 404
        assert as_bob.get("/collections/101/runs/2/changes.csv").status_code == 400

    def test_a_row_can_be_a_product(self, as_bob: Client, run: Run, since: Run) -> None:
        file = links(page(as_bob, run, since))["CSV, one row per product of the changes since run 1"]
        assert file == "/collections/101/runs/2/changes.csv?since=1&layout=wide"
        lines = content(as_bob.get(file)).decode().splitlines()
        assert "price_cents (was)" in lines[0]
        assert as_bob.get(file.replace("wide", "tall")).status_code == 400

    @pytest.mark.django_db(transaction=True)
    def test_a_large_file_starts_to_download_when_it_is_ready(
        self, as_bob: Client, run: Run, since: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(create, "_QUICK_CHANGES", -1)
        file = links(page(as_bob, run, since, min_percent=50))[
            "Excel, one row per product of the changes since run 1"
        ]
        shown = as_bob.get(file, follow=True).content.decode()
        assert (
            "Changes since run 1, one row per product Queued. The download starts automatically."
            in text_of(shown)
        )
        (polled,) = re.findall(r'hx-get="([^"]*)" hx-trigger="every 2s"', shown)
        build_next()
        ready = as_bob.get(unescape(polled), headers=HTMX | {"HX-Target": "exports"}).content.decode()
        assert [unescape(each) for each in re.findall(r'href="([^"]*)" data-start', ready)] == [file]
        assert "<table" not in ready
        assert as_bob.get(file)["Content-Disposition"].startswith("attachment")

    def test_any_earlier_run_can_be_chosen(self, as_bob: Client, run: Run, since: Run) -> None:
        newest = make_ready_run(run.collection, BEFORE)
        found = links(page(as_bob, newest, run))
        (choice,) = [found[text] for text in found if text.startswith("Run 1 ")]
        assert choice == address(newest, since=1)
        assert "Nothing changed" in page(as_bob, newest, since).content.decode()


class TestInvalidAddresses:
    def test_invalid_parameters_are_refused(self, as_bob: Client, run: Run) -> None:
        def status(**query: object) -> int:
            return as_bob.get(address(run, **query)).status_code

        make_ready_run(run.collection, AFTER)
        assert [status(since=each) for each in (2, 3, "x", "9" * 30)] == [400] * 4
        assert status(since=77) == 404
        assert [status(what="x"), status(sort="x"), status(after=-1), status(q="x" * 201)] == [400] * 4
        assert [status(min_percent="NaN"), status(min_amount="-1"), status(column="x" * 501)] == [400] * 3

    def test_a_deleted_run_is_not_found(self, as_bob: Client, run: Run, since: Run) -> None:
        page(as_bob, run, since)
        delete_run(since)
        assert as_bob.get(address(run, since=1)).status_code == 404

    def test_other_teams_are_refused(self, as_carol: Client, run: Run) -> None:
        assert as_carol.get(address(run)).status_code == 403


class TestStates:
    def test_the_first_run_has_nothing_to_compare_with(self, as_bob: Client, since: Run) -> None:
        assert "Nothing to compare with" in headings(page(as_bob, since))

    def test_a_run_that_is_unlike_all_earlier_ones(self, as_bob: Client, run: Run, since: Run) -> None:
        Verdict.objects.create(
            run=run, level=VerdictLevel.LEARNING, settings_version=1, coverage=RunCoverage.AVAILABILITY
        )
        answer = page(as_bob, run)
        assert "No run to compare with" in headings(answer)
        assert links(answer)["Show the quality"] == "/collections/101/runs/2/quality"

    def test_identical_runs(self, as_bob: Client, run: Run) -> None:
        same = make_ready_run(run.collection, AFTER)
        answer = page(as_bob, same, run)
        assert "Nothing changed" in headings(answer)
        assert "The 4 products in both runs have the same values." in answer.content.decode()

    @pytest.mark.parametrize("make", [make_processing_run, make_failed_run])
    def test_a_run_without_records(self, as_bob: Client, laptops: Collection, make: Any) -> None:
        run = make(laptops)
        expected = "Run 1 is still processing" if make is make_processing_run else "Run 1 failed"
        assert expected in headings(page(as_bob, run))

    def test_a_collection_without_a_key_links_to_its_settings(
        self, as_bob: Client, run: Run, since: Run
    ) -> None:
        TrackingSettings.objects.create(collection=run.collection, key_columns=[])
        answer = page(as_bob, run, since)
        assert links(answer)["Choose a key"] == "/collections/101/settings/key"

    def test_a_queued_comparison_updates_itself(
        self, as_bob: Client, run: Run, since: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(comparisons, "_QUICK_RECORDS", -1)
        answer = page(as_bob, run, since)
        assert "Comparing the runs" in headings(answer)
        assert "The records of run 1 and run 2 are read first." in answer.content.decode()
        again = address(run, since=1, wait=1)
        assert f'hx-get="{again.replace("&", "&amp;")}"' in answer.content.decode()
        assert "Comparing the runs" in headings(as_bob.get(again, headers=HTMX))
        Comparison.objects.update(
            state=ComparisonState.FAILED, failure="The records are gone.", failed_at=timezone.now()
        )
        assert as_bob.get(again, headers=HTMX)["HX-Refresh"] == "true"
        assert "The records are gone." in page(as_bob, run, since).content.decode()

    def test_an_incomplete_run_is_announced(self, as_bob: Client, run: Run, since: Run) -> None:
        Run.objects.filter(pk=run.pk).update(total=5)
        answer = page(as_bob, run, since)
        assert "Run 2 is incomplete. Products that it lacks are shown as not scraped." in text_of(
            answer.content.decode()
        )
        assert rows(answer)[-1][:3] == ["Chair", "B04", "Not scraped"]
        assert "4 changes · 1 not scraped" in text_of(answer.content.decode())

    def test_products_of_an_empty_run_are_no_changes(
        self, as_bob: Client, laptops: Collection, since: Run
    ) -> None:
        run = make_ready_run(laptops, [])
        Run.objects.filter(pk=run.pk).update(total=4)
        answer = page(as_bob, run, since)
        text = text_of(answer.content.decode())
        assert "4 not scraped · 0 products in both runs" in text
        assert "4 changes" not in text
        assert rows(answer)[0][:3] == ["Laptop", "B01", "Not scraped"]
        assert changes_summaries([run])[run.pk].text == "4 not scraped"

    def test_products_that_an_incomplete_run_lacked_are_no_news(
        self, as_bob: Client, laptops: Collection, since: Run
    ) -> None:
        partial = make_ready_run(laptops, BEFORE[:2])
        page(as_bob, partial, since)
        Verdict.objects.create(run=partial, level=VerdictLevel.CHECK, settings_version=1, is_partial=True)
        run = make_ready_run(laptops, BEFORE)
        answer = page(as_bob, run, partial)
        assert [row[2] for row in rows(answer)] == ["Returned", "Returned"]
        assert "Run 2 is incomplete. Products that it lacks are shown as returned or new." in text_of(
            answer.content.decode()
        )
        assert changes_summaries([run])[run.pk].text == "No changes"

    def test_a_broken_run_is_announced(self, as_bob: Client, run: Run, since: Run) -> None:
        Verdict.objects.create(run=run, level=VerdictLevel.BROKEN, settings_version=1)
        answer = page(as_bob, run, since)
        assert "Run 2 can't be trusted" in text_of(answer.content.decode())

    def test_duplicates_and_records_without_a_key_are_counted(self, as_bob: Client, since: Run) -> None:
        TrackingSettings.objects.create(collection=since.collection, key_columns=["asin"])
        run = make_ready_run(since.collection, [*BEFORE, DESK, {"title": "Nothing"}])
        answer = page(as_bob, run, since)
        assert "3 products in both runs have the same values" in text_of(answer.content.decode())
        text = text_of(answer.content.decode())
        assert "2 records of run 2 are not compared (duplicate key)." in text
        assert "1 record of run 1 is not compared (duplicate key)." in text
        listed = "/collections/101/runs/2/duplicates?show=without-key"
        assert links(answer)["1 record of run 2 is not compared (no key)"] == listed

    def test_changes_in_every_run_are_folded(self, as_bob: Client, laptops: Collection) -> None:
        since, run = (
            make_ready_run(laptops, [LAPTOP | {"asin": f"B{n}", "position": n + shift} for n in range(30)])
            for shift in (0, 1)
        )
        answer = page(as_bob, run, since)
        assert "Nothing changed" in headings(answer)
        shown = as_bob.get(links(answer)["Show these changes"])
        assert len(rows(shown)) == 30
        assert rows(shown)[0][2:5] == ["position", "0", "1"]
        assert links(shown)["Show the other changes"] == address(run, since=1)


class TestValues:
    @pytest.mark.parametrize(
        ("column", "was", "now", "currency", "texts"),
        [
            ("price_cents", "129900", "114900", "AUD", ("AUD 1,299.00", "AUD 1,149.00")),
            ("price_cents", "129900", "null", "AUD", ("AUD 1,299.00", "null")),
            ("price", '"12.5"', "12", "", ("12.50", "12.00")),
            ("price", "1300", "1299", "JPY", ("JPY 1,300", "JPY 1,299")),
            ("price", '"$1,299"', '"$1,399"', "", ("$1,299", "$1,399")),
            ("price", "1e400", "2E400", "", ("1e400", "2E400")),
            ("price", "1e999999999", "1e-999999999", "", ("1e999999999", "1e-999999999")),
            ("rating", "4.50", None, "", ("4.50", "absent")),
            ("tags", '["a"]', '""', "", ('["a"]', "empty")),
            ("text", f'"{"b" * 1000}', "true", "", ("b" * 160 + "…", "true")),
        ],
    )
    def test_prices_are_money_and_other_values_are_as_scraped(
        self, column: str, was: str | None, now: str | None, currency: str, texts: tuple[str, str]
    ) -> None:
        entry = Entry(
            "[]", "", ChangeKind.OTHER, column, was, now, currency_before=currency, currency=currency
        )
        assert tuple(cell.text for cell in values_of(entry)) == texts

    def test_prices_that_name_no_currency_have_that_of_the_collection(self) -> None:
        entry = Entry(
            "[]", "", ChangeKind.PRICE_UP, "price", "1", "3", currency_before="EUR", amount=Decimal(2)
        )
        assert [cell.text for cell in values_of(entry, "AUD")] == ["EUR 1.00", "AUD 3.00"]
        assert amount_text(entry, "AUD") == "+AUD 2.00"

    @pytest.mark.parametrize(
        ("percent", "amount", "texts"),
        [
            (Decimal("-11.5"), Decimal(-150), ("-11.5%", "-AUD 150.00")),
            (Decimal("1234.5"), Decimal("0.01"), ("+1,234.5%", "+AUD 0.01")),
            (None, None, ("", "")),
            (Decimal("0.0"), Decimal("-0.01"), ("-0.0%", "-AUD 0.01")),
        ],
    )
    def test_changes_of_prices_have_a_sign(
        self, percent: Decimal | None, amount: Decimal | None, texts: tuple[str, str]
    ) -> None:
        entry = Entry(
            "[]", "", ChangeKind.PRICE_DOWN, "price_cents", percent=percent, amount=amount, currency="AUD"
        )
        assert (percent_text(entry), amount_text(entry)) == texts


class TestSummary:
    """The changes of the newest run in a few words, on four pages."""

    PAGES = ("/", "/collections/", "/collections/101/download", "/collections/101/runs/2/")

    def test_it_links_to_the_changes_once_the_runs_are_compared(
        self, as_bob: Client, run: Run, since: Run
    ) -> None:
        wanted = address(run, since=1)
        assert [wanted in links(as_bob.get(each)).values() for each in self.PAGES] == [False] * 4
        page(as_bob, run, since)
        found = [
            next((text for text, where in links(as_bob.get(each)).items() if where == wanted), "")
            for each in self.PAGES
        ]
        short = "1 price down, 1 up in run 2 since run 1"
        assert found == [short] * 3 + ["1 price down, 1 up, 1 sold out, 1 new, 1 missing"]

    def test_a_run_that_is_not_trusted_has_none(self, as_bob: Client, run: Run, since: Run) -> None:
        page(as_bob, run, since)
        Verdict.objects.create(run=run, level=VerdictLevel.BROKEN, settings_version=1)
        texts = [as_bob.get(each).content.decode() for each in self.PAGES]
        assert not ["1 price down" for text in texts if "1 price down" in text]

    def test_the_number_of_queries_is_constant(
        self, as_bob: Client, run: Run, since: Run, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        page(as_bob, run, since)
        again = make_ready_run(run.collection, AFTER)
        page(as_bob, again, run)
        with django_assert_max_num_queries(4):
            found = changes_summaries([since, run, again])
        assert [found[each.pk].shown for each in (run, again)] == [["1 price down", "1 up"], ["No changes"]]

    def test_the_row_of_a_new_run_waits_for_its_changes_and_its_verdict(
        self, as_bob: Client, run: Run, since: Run, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        text = as_bob.get("/collections/101/download").content.decode()
        (version,) = re.findall(r'id="run-2" data-live="(\w+)"', text)
        live = f"/collections/101/live?runs=2.{version}"
        assert as_bob.get(live).status_code == 204
        page(as_bob, run, since)
        (row,) = as_bob.get(live).json()["rows"]
        assert row["news"] == "Run 2: 1 price down, 1 up, 1 sold out, 1 new, 1 missing."
        (version,) = re.findall(r'data-live="(\w+)"', row["html"])
        live = f"/collections/101/live?runs=2.{version}"
        assert as_bob.get(live).status_code == 204
        Verdict.objects.create(run=run, level=VerdictLevel.CHECK, settings_version=1)
        with django_assert_max_num_queries(14):
            (row,) = as_bob.get(live).json()["rows"]
        assert row["news"].startswith("Run 2: Check, 1 price down, ")
        assert "verdict check" in row["html"]
        assert "data-live" not in row["html"]

    def test_the_row_of_a_broken_run_waits_for_no_changes(self, as_bob: Client, run: Run, since: Run) -> None:
        Verdict.objects.create(run=run, level=VerdictLevel.BROKEN, settings_version=1)
        text = as_bob.get("/collections/101/download").content.decode()
        assert re.findall(r'id="run-(\d)" data-live', text) == ["1"]
