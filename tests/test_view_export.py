"""The page for exports of a run, and the files at records.<format>."""

import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from collections_app.models import Collection, Export, ExportState, Run, Team
from collections_app.records.exports import create
from collections_app.records.exports import sample as sampling
from collections_app.records.exports.build import build_next
from collections_app.records.exports.sample import sample
from collections_app.records.formats.export_formats import ExportSpec, Format
from collections_app.records.formats.json_records import Record
from collections_app.sources import SourceUnavailable, account
from tests.support import responses
from tests.support.html import text_of
from tests.support.mirrors import Files, files_of
from tests.support.responses import Response
from tests.support.results import (
    make_failed_run,
    make_processing_run,
    make_ready_run,
    make_run_of_pages,
    records,
)
from tests.support.upstream import make_account, make_remote_collection, make_remote_run

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/collections/101/runs/1/export"
HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    cache.clear()


@pytest.fixture
def run(laptops: Collection) -> Run:
    return make_ready_run(laptops, records(5), page_size=2)


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create, "_QUICK", dict.fromkeys(Format, -1))


def html(response: Response) -> str:
    assert response.status_code == 200
    return response.content.decode()


def addresses(page: str) -> list[str]:
    """Return the addresses of the links on the page."""
    return [unescape(address) for address in re.findall(r'href="([^"]*)"', page)]


def file_at(client: Client, address: str) -> bytes:
    response = client.get(address)
    assert response.status_code == 200, response.headers
    return responses.content(response)


class TestPage:
    def test_it_shows_how_many_of_many_columns_it_offers(self, as_bob: Client, laptops: Collection) -> None:
        make_ready_run(laptops, [{f"col{number}": number for number in range(1_200)}])
        page = text_of(html(as_bob.get(PAGE)))
        assert "The columns of the first records: 500 of 1,200 are listed." in page
        assert "AU Laptops: 1 record in one file" in page

    def test_the_number_of_records_can_be_unknown(self, as_bob: Client, run: Run) -> None:
        Run.objects.update(extracted=None)
        Export.objects.create(run=run, state=ExportState.RUNNING, done=3, total=None, format="csv")
        page = html(as_bob.get(PAGE))
        assert "AU Laptops: all records in one file" in text_of(page)
        assert "3 records" in text_of(page)
        assert "None" not in page

    def test_it_offers_formats_with_sizes_and_columns(self, as_bob: Client, run: Run) -> None:
        page = html(as_bob.get(PAGE))
        assert [page.count(f'name="format"\n               value="{each}"') for each in Format] == [1] * 5
        assert page.count("about ") >= 5
        assert [page.count(f'name="column" value="{each}"') for each in ("asin", "title", "price_cents")] == [
            1
        ] * 3

    def test_the_list_of_runs_links_to_it(self, as_bob: Client, run: Run, laptops: Collection) -> None:
        make_processing_run(laptops)
        page = html(as_bob.get("/collections/101/download"))
        assert page.count("Choose columns") == 2  # of the run, and of a selection
        assert f'href="{PAGE}"' in page

    @pytest.mark.parametrize("number", [2, 3, 4])
    def test_only_completed_runs_have_the_page(
        self, as_bob: Client, run: Run, laptops: Collection, number: int
    ) -> None:
        make_processing_run(laptops, records(1))
        make_failed_run(laptops)
        for address in (
            f"/collections/101/runs/{number}/export",
            f"/collections/101/runs/{number}/records.csv",
        ):
            assert as_bob.get(address).status_code == 404

    def test_hostile_column_names_are_escaped(self, as_bob: Client, laptops: Collection) -> None:
        evil = '"><script>alert(1)</script>'
        make_ready_run(laptops, [{evil: 1, "a,b": 2}])
        assert evil not in html(as_bob.get(PAGE))
        as_bob.post(PAGE, {"format": "csv", "column": [evil, "a,b"]})
        (export,) = Export.objects.all()
        assert (export.columns, export.is_ready) == ([evil, "a,b"], True)
        page = html(as_bob.get(PAGE))
        assert evil not in page
        (address,) = [link for link in addresses(page) if "records.csv" in link]
        assert parse_qs(urlsplit(address).query)["columns"] == ['"""><script>alert(1)</script>","a,b"']
        assert file_at(as_bob, address) == b'"""><script>alert(1)</script>","a,b"\r\n1,2\r\n'

    def test_a_column_name_may_begin_with_a_space(self, as_bob: Client, laptops: Collection) -> None:
        make_ready_run(laptops, [{" price": 1, "price": 2, "asin": "A"}])
        as_bob.post(PAGE, {"format": "csv", "column": [" price", "asin"]})
        (address,) = [link for link in addresses(html(as_bob.get(PAGE))) if "records.csv" in link]
        assert parse_qs(urlsplit(address).query)["columns"] == ['" price",asin']
        assert file_at(as_bob, address) == b" price,asin\r\n1,A\r\n"
        unquoted = "/collections/101/runs/1/records.csv?columns=asin, price"
        assert file_at(as_bob, unquoted) == b"asin,price\r\nA,2\r\n"

    def test_a_column_name_may_contain_line_breaks(self, as_bob: Client, laptops: Collection) -> None:
        make_ready_run(laptops, [{"two\nlines": 1, "asin": "A"}])
        as_bob.post(PAGE, {"format": "csv", "column": ["two\r\nlines"]})  # as a browser sends it
        as_bob.post(PAGE, {"format": "csv", "column": ["two\nlines"]})
        page = html(as_bob.get(PAGE))
        (address,) = [link for link in addresses(page) if "records.csv" in link]
        assert file_at(as_bob, address) == b'"two\nlines"\r\n1\r\n'
        assert as_bob.get("/collections/101/runs/1/records.csv?columns=two%0Alines").status_code == 400

    def test_the_number_of_queries_does_not_grow_with_exports(
        self, as_bob: Client, run: Run, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        as_bob.get(PAGE)
        for name in ("asin", "title", "price_cents"):
            as_bob.post(PAGE, {"format": "csv", "column": name})
        # The session, the user, the memberships with the collection, the run, its files, what was found in
        # them before, the exports.
        with django_assert_num_queries(7):
            as_bob.get(PAGE)


class TestCreating:
    def test_a_small_export_is_ready_at_once(self, as_bob: Client, run: Run) -> None:
        response = as_bob.post(PAGE, {"format": "csv", "column": ["title", "asin"], "excel": "1"})
        assert (response.status_code, response.headers["Location"]) == (302, f"{PAGE}#exports")
        page = html(as_bob.get(PAGE))
        assert "CSV for spreadsheets" in text_of(page)
        assert "title, asin" in text_of(page)
        (address,) = [link for link in addresses(page) if "records.csv" in link]
        assert address == "/collections/101/runs/1/records.csv?columns=title%2Casin&excel=1"
        assert file_at(as_bob, address).startswith(b"\xef\xbb\xbftitle,asin\r\nLaptop 1,B000000001\r\n")
        assert "hx-trigger" not in page

    def test_a_longer_export_shows_its_progress(self, as_bob: Client, run: Run, slowly: None) -> None:
        as_bob.post(PAGE, {"format": "xlsx"})
        page = html(as_bob.get(PAGE))
        assert "Queued." in page
        assert 'hx-trigger="every 2s"' in page
        assert f'href="{PAGE}#exports">Refresh</a>' in page
        Export.objects.update(state=ExportState.RUNNING, done=3)
        assert '<progress value="3" max="5"' in html(as_bob.get(PAGE))
        Export.objects.update(state=ExportState.QUEUED)
        build_next()
        page = html(as_bob.get(PAGE))
        assert "hx-trigger" not in page
        assert "/collections/101/runs/1/records.xlsx" in addresses(page)

    def test_a_full_queue_is_reported(
        self, as_bob: Client, run: Run, slowly: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(create, "MOST_QUEUED", 1)
        as_bob.post(PAGE, {"format": "xlsx"})
        for request in (
            lambda: as_bob.post(PAGE, {"format": "csv"}),
            lambda: as_bob.get("/collections/101/runs/1/records.csv"),
        ):
            assert request().headers["Location"] == f"{PAGE}#exports"  # type: ignore[no-untyped-call]
            assert "Your team has 1 exports in the queue" in text_of(html(as_bob.get(PAGE)))

    def test_polling_returns_the_list_and_announces_finished_exports(
        self, as_bob: Client, run: Run, slowly: None
    ) -> None:
        as_bob.post(PAGE, {"format": "jsonl"})
        export = Export.objects.get()
        fragment = html(as_bob.get(f"{PAGE}?before={export.pk}", headers=HTMX))
        assert "<html" not in fragment
        assert f'hx-get="{PAGE}?before={export.pk}"' in fragment
        assert "data-announce" not in fragment
        build_next()
        fragment = html(as_bob.get(f"{PAGE}?before={export.pk}", headers=HTMX))
        assert 'data-announce="JSON Lines is ready."' in fragment
        assert "hx-get" not in fragment
        assert "data-announce" not in html(as_bob.get(f"{PAGE}?before=x", headers=HTMX))

    def test_a_failed_export_can_be_retried(
        self, as_bob: Client, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(
                "collections_app.records.exports.build.write_records", lambda *args, **options: 1 / 0
            )
            as_bob.post(PAGE, {"format": "csv", "excel": "1", "column": "asin"})
        page = html(as_bob.get(PAGE))
        assert "Something went wrong on our side." in page
        assert "Try again" in page
        as_bob.post(PAGE, {"format": "csv", "excel": "1", "column": "asin"})
        assert Export.objects.get().is_ready

    def test_an_impossible_export_shows_the_reason(self, as_bob: Client, run: Run) -> None:
        response = as_bob.get("/collections/101/runs/1/records.csv?columns=asn")
        assert response.headers["Location"] == f"{PAGE}#exports"
        page = html(as_bob.get(PAGE))
        assert "No record has a column “asn”" in page
        assert "Try again" not in page

    @pytest.mark.parametrize(
        "data",
        [{}, {"format": "xml"}, {"format": "csv", "column": "a\0"}, {"format": "csv", "separator": "x"}],
    )
    def test_invalid_options_are_refused(self, as_bob: Client, run: Run, data: dict[str, str]) -> None:
        assert as_bob.post(PAGE, data).status_code == 400
        assert not Export.objects.exists()

    def test_semicolons(self, as_bob: Client, run: Run) -> None:
        as_bob.post(PAGE, {"format": "csv", "excel": "1", "separator": ";"})
        page = html(as_bob.get(PAGE))
        assert "CSV for spreadsheets with semicolons" in text_of(page)
        response = as_bob.get("/collections/101/runs/1/records.csv?excel=1&separator=%3B")
        assert responses.content(response).startswith(b"\xef\xbb\xbfasin;title;price_cents\r\n")
        assert Export.objects.count() == 1


class TestFile:
    def test_it_supports_ranges(self, as_bob: Client, run: Run) -> None:
        response = as_bob.get("/collections/101/runs/1/records.jsonl", headers={"Range": "bytes=0-9"})
        assert response.status_code == 206
        assert responses.content(response) == b'{"asin":"B'

    def test_another_team_is_refused(self, as_carol: Client, run: Run) -> None:
        for address in (PAGE, "/collections/101/runs/1/records.csv"):
            assert as_carol.get(address).status_code == 403
        assert as_carol.post(PAGE, {"format": "csv"}).status_code == 403
        assert not Export.objects.exists()

    def test_an_unfinished_export_redirects_to_the_page(self, as_bob: Client, run: Run, slowly: None) -> None:
        response = as_bob.get("/collections/101/runs/1/records.csv?columns=asin")
        export = Export.objects.get()
        assert export.state == ExportState.QUEUED
        assert response.headers["Location"] == f"{PAGE}?start={export.pk}#exports"

    def test_an_unknown_format_is_not_found(self, as_bob: Client, run: Run) -> None:
        response = as_bob.get("/collections/101/runs/1/records.xml")
        assert response.status_code == 404
        assert "Use one of: json, jsonl, csv, xlsx, parquet." in response.content.decode()
        assert as_bob.get("/collections/101/runs/1/records.csv?excel=x").status_code == 400


class TestEstimate:
    @pytest.mark.thorough
    def test_it_is_roughly_correct(self, laptops: Collection) -> None:
        run = make_ready_run(laptops, records(20_000), page_size=5000)
        estimated = sample(run).sizes
        for wanted in Format:
            assert 0.5 < estimated[wanted] / create.create_export(run, ExportSpec(wanted)).size < 2, wanted

    def test_columns_are_those_of_the_first_records(self, laptops: Collection) -> None:
        run = make_ready_run(laptops, [{"a": {"b": 1}}, {"c": [1]}])
        assert sample(run).columns == ["a.b", "c"]

    def test_records_with_many_columns_are_sampled(
        self, laptops: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        most: list[int] = []
        size_of = sampling._size_of

        def noted(some: list[Record], wanted: Format) -> int:
            most.append(len(some))
            return size_of(some, wanted)

        monkeypatch.setattr(sampling, "_size_of", noted)
        wide: Record = {str(number): number for number in range(1_000)}
        found = sample(make_ready_run(laptops, [wide, *[{}] * 9_000], page_size=10_000))
        assert max(most) == 100
        assert 9_000 * 1_000 < found.sizes[Format.CSV] < 2 * 9_000 * 1_000  # one comma per cell

    def test_the_first_columns_can_be_chosen_if_there_are_too_many(
        self, laptops: Collection, as_bob: Client
    ) -> None:
        make_ready_run(laptops, [{f"{number}": 1} for number in range(6_000)], page_size=10_000)
        page = html(as_bob.get(PAGE))
        assert page.count('name="column"') == 500
        assert "500 of 5,001 are listed" in text_of(page)

    def test_a_run_without_records(self, laptops: Collection, as_bob: Client) -> None:
        make_run_of_pages(laptops, {"a.json": b"[]"})
        assert "Choose columns" not in html(as_bob.get(PAGE))

    def test_missing_files_are_reported(
        self, as_bob: Client, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(run: Run) -> None:
            raise SourceUnavailable("The results storage is not available. Try again later.")

        monkeypatch.setattr(sampling, "_sample", fail)
        assert "The columns can't be listed." in html(as_bob.get(PAGE))


class TestAnAccount:
    @pytest.fixture
    def files(self, crawlers: Team, monkeypatch: pytest.MonkeyPatch) -> Files:
        files = files_of(make_remote_run(make_remote_collection(make_account(crawlers)), pages=2))
        files.missing = SourceUnavailable
        monkeypatch.setattr(account, "UpstreamBody", files.body)
        monkeypatch.setattr(account, "size_of", files.size)
        return files

    @pytest.fixture
    def address(self, files: Files) -> str:
        run = Run.objects.get()
        return f"/collections/{run.collection_id}/runs/{run.number}/export"

    def test_the_page_does_not_wait_for_the_account(self, as_bob: Client, files: Files, address: str) -> None:
        page = html(as_bob.get(address))
        assert files.opened == []
        assert f'hx-get="{address}?sample" hx-trigger="load"' in page
        form = html(as_bob.get(f"{address}?sample", headers=HTMX))
        assert form.lstrip().startswith("<form")
        assert 'value="asin"' in form
        assert len(files.opened) == 1
        assert 'value="asin"' in html(as_bob.get(address))  # it is cached

    def test_an_unavailable_account_is_reported(self, as_bob: Client, files: Files, address: str) -> None:
        files.contents.clear()
        page = html(as_bob.get(f"{address}?sample"))
        assert "The columns can't be listed. The account no longer has this file." in page
        as_bob.post(address, {"format": "json"})
        build_next()
        assert "The account no longer has this file." in html(as_bob.get(address))
