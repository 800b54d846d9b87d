"""All of last night's runs at once: as a ZIP with folders or a workbook with sheets, and what is left out."""

import io
import zipfile
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from collections_app.files.bundles import zip_downloads
from collections_app.files.names import MAX_BYTES, folder_name
from collections_app.models import Collection, Export, Layout, ResultFile, Run, Team
from collections_app.records.exports import create, subject
from collections_app.records.exports.build import build_next
from collections_app.records.formats.export_formats import Format
from collections_app.records.formats.sheet_names import SheetNames
from collections_app.runs.removal import delete_run
from tests.support import responses
from tests.support.html import links, text_of
from tests.support.ranges import check_ranges
from tests.support.responses import Response
from tests.support.results import make_failed_run, make_processing_run, make_ready_run, records
from tests.support.upstream import make_account, make_remote_collection, make_remote_run
from tests.support.workbooks import rows_of_xlsx, sheet_names

pytestmark = pytest.mark.django_db(transaction=True)

ZIP, XLSX, PAGE = "/last-night.zip", "/last-night.xlsx", "/last-night"


def content(response: Response) -> bytes:
    assert response.status_code == 200, responses.content(response)
    return responses.content(response)


def members(response: Response) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content(response))) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def make(team: Team, name: str, count: int = 2, **fields: object) -> Collection:
    """Create a collection with a run of a moment ago."""
    collection = Collection.objects.create(team=team, name=name, **fields)
    make_ready_run(collection, records(count))
    return collection


def make_late(collection: Collection) -> None:
    past = timezone.now() - timedelta(hours=1)
    Collection.objects.filter(pk=collection.pk).update(expected_at=past, late_at=past)


@pytest.fixture
def night(crawlers: Team, strangers: Team) -> None:
    """Two collections with results, two without, and some that weren't due."""
    laptops = make(crawlers, "Laptops", 1)
    make_ready_run(laptops, records(2))  # only the newest run counts
    make(crawlers, "Phones", 3)
    make_failed_run(Collection.objects.create(team=crawlers, name="Monitors"))
    make_late(Collection.objects.create(team=crawlers, name="Cables"))
    make(crawlers, "Archived", archived_at=timezone.now())
    make(crawlers, "Paused", paused_at=timezone.now())
    old = Collection.objects.create(team=crawlers, name="Weekly")
    make_ready_run(old, records(1), at=timezone.now() - timedelta(days=3))
    make(strangers, "Theirs")


@pytest.mark.usefixtures("night")
class TestZip:
    def test_it_has_a_folder_for_each_collection_and_says_what_is_left_out(self, as_bob: Client) -> None:
        found = members(as_bob.get(ZIP))
        readme = found.pop("README.txt").decode()
        assert list(found) == [
            "Laptops/Laptops_2_Results_Page_1.json",
            "Phones/Phones_1_Results_Page_1.json",
        ]
        text = readme.replace("\r\n", "\n")
        assert text.startswith("The runs of Crawlers since ")
        assert text.endswith(
            "Included:\nLaptops: run 2.\nPhones: run 1.\n\n"
            "Left out:\nCables: The run is late.\nMonitors: The run failed or stalled.\n"
        )

    def test_the_same_night_has_the_same_bytes_and_any_range_can_be_read(self, as_bob: Client) -> None:
        head = as_bob.head(ZIP)
        evening = timezone.now().date() - timedelta(days=1)
        assert f'filename="Crawlers_Last_Night_{evening}.zip"' in head["Content-Disposition"]
        assert head["Content-Length"] == str(len(content(as_bob.get(ZIP))))
        check_ranges(as_bob, ZIP, 5)
        make_ready_run(Collection.objects.get(name="Phones"))
        assert as_bob.head(ZIP)["ETag"] != head["ETag"]

    def test_names_that_are_the_same_on_some_systems_get_different_folders(
        self, as_bob: Client, crawlers: Team
    ) -> None:
        for name in ("laptops", "CON", "a/b: c. ", "README.txt", "ü" * 150):
            make(crawlers, name)
        folders = {name.partition("/")[0] for name in members(as_bob.get(ZIP)) if "/" in name}
        assert folders == {
            "Laptops", "Phones", "laptops (2)", "_CON", "a_b_ c__", "README (2).txt", "ü" * 20
        }  # fmt: skip
        longest = len(f"{folder_name('x' * 200)}/") + MAX_BYTES
        assert longest < 260  # what Windows allows

    def test_files_at_an_account_and_damaged_files_are_left_out(self, as_bob: Client, crawlers: Team) -> None:
        remote = make_remote_collection(make_account(crawlers))
        make_remote_run(remote, 7, at=timezone.now())
        ResultFile.objects.filter(run__collection__name="Phones").update(is_damaged=True)
        found = members(as_bob.get(ZIP))
        assert {name.partition("/")[0] for name in found} == {"README.txt", "Laptops"}
        reason = "The files are only at the account, or one of them is damaged."
        assert f"{remote.name}: {reason}" in found["README.txt"].decode()
        assert f"Phones: {reason}" in found["README.txt"].decode()

    def test_too_many_files_are_rejected_with_a_clear_error(
        self, as_bob: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(zip_downloads, "MOST_FILES", 1)
        response = as_bob.get(ZIP)
        assert response.status_code == 400
        assert "A ZIP file can contain at most 1 files." in text_of(response.content.decode())

    def test_the_number_of_queries_does_not_grow_with_the_collections(
        self, as_bob: Client, crawlers: Team, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        as_bob.head(ZIP)
        for number in range(8):
            make(crawlers, f"More {number}", 1)
        with django_assert_max_num_queries(14):
            as_bob.head(ZIP)


@pytest.mark.usefixtures("night")
class TestWorkbook:
    def test_it_has_a_sheet_for_each_collection(self, as_bob: Client) -> None:
        response = as_bob.get(XLSX)
        assert "_Last_Night_" in response["Content-Disposition"]
        workbook = content(response)
        assert sheet_names(workbook) == ["Laptops", "Phones"]
        assert [len(rows_of_xlsx(workbook, number)) for number in (1, 2)] == [3, 4]
        assert rows_of_xlsx(workbook)[0] == {"A": "asin", "B": "title", "C": "price_cents"}
        (export,) = Export.objects.all()
        assert (export.layout, export.done, export.total) == (Layout.SHEETS, 5, 5)

    def test_a_large_one_is_built_in_the_background_and_then_starts(
        self, as_bob: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(create, "_QUICK", dict.fromkeys(Format, -1))
        response = as_bob.get(XLSX)
        export = Export.objects.get()
        assert response["Location"] == f"{PAGE}?start={export.pk}#exports"
        assert "Queued. The download starts automatically." in text_of(
            as_bob.get(f"{PAGE}?start={export.pk}").content.decode()
        )
        assert build_next()
        polled = as_bob.get(f"{PAGE}?before={export.pk}&start={export.pk}", headers={"HX-Request": "true"})
        assert f'href="{XLSX}"' in polled.content.decode()
        assert "Excel A sheet for each collection Download" in text_of(polled.content.decode())
        assert as_bob.head(XLSX).status_code == 200

    def test_a_newer_run_and_another_name_make_another_workbook(self, as_bob: Client) -> None:
        phones = Collection.objects.get(name="Phones")
        assert len(rows_of_xlsx(content(as_bob.get(XLSX)), 2)) == 4
        run = make_ready_run(phones, records(1))
        assert len(rows_of_xlsx(content(as_bob.get(XLSX)), 2)) == 2
        Collection.objects.filter(pk=phones.pk).update(name="Mobiles")
        assert sheet_names(content(as_bob.get(XLSX)))[1] == "Mobiles"
        assert Export.objects.count() == 3
        delete_run(run)
        assert Export.objects.count() == 1

    def test_too_many_collections_are_rejected_with_a_clear_error(
        self, as_bob: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(subject, "MOST_SHEETS", 1)
        response = as_bob.get(XLSX)
        assert response.status_code == 400
        assert "A workbook can contain at most 1 collections." in text_of(response.content.decode())


@pytest.mark.usefixtures("night")
class TestPages:
    def test_the_overview_offers_both_and_the_page_says_what_is_included(self, as_bob: Client) -> None:
        menu = links(as_bob.get("/"))
        assert menu["Excel workbook of last night's runs"] == XLSX
        assert menu["ZIP of all files of last night's runs"] == ZIP
        assert menu["Show what is included in last night's runs"] == PAGE
        page = text_of(as_bob.get(PAGE).content.decode())
        for line in (
            "Cables No The run is late.",
            "Laptops Run 2 2",
            "Monitors No The run failed or stalled.",
        ):
            assert line in page
        assert not any(name in page for name in ("Archived", "Paused", "Weekly", "Theirs"))

    def test_a_run_that_is_followed_by_a_failed_one_is_included(self, as_bob: Client, crawlers: Team) -> None:
        tablets = make(crawlers, "Tablets")
        Run.objects.filter(collection=tablets).update(total=5)
        make_failed_run(tablets)
        make_processing_run(Collection.objects.create(team=crawlers, name="Watches"))
        page = text_of(as_bob.get(PAGE).content.decode())
        assert "Tablets Run 1 2 3 of 5 records are missing. A newer run failed or stalled." in page
        assert "Watches No The run is still processing." in page

    def test_each_team_has_its_own_night(self, as_carol: Client) -> None:
        assert list(members(as_carol.get(ZIP)))[1:] == ["Theirs/Theirs_1_Results_Page_1.json"]
        assert "Phones" not in as_carol.get(PAGE).content.decode()


def test_without_results_the_overview_offers_nothing(as_bob: Client, laptops: Collection) -> None:
    make_failed_run(laptops)
    assert "Download last night" not in as_bob.get("/").content.decode()
    for address in (ZIP, XLSX):
        assert as_bob.get(address).status_code == 404
    assert as_bob.post(PAGE)["Location"] == f"{PAGE}#exports"


def test_signing_in_for_the_file_leads_to_the_overview(client: Client) -> None:
    assert client.get(ZIP)["Location"] == "/accounts/login/?next=/"


def test_names_of_sheets_are_valid_and_unique() -> None:
    names, wide = SheetNames(), "😀" * 20
    assert [
        names.add(name)
        for name in ("AU Laptops", "au laptops", "a/b:c?[d]*\\", "'quoted'", "History", "", "x" * 40)
    ] == ["AU Laptops", "au laptops 2", "a_b_c__d___", "quoted", "History 2", "_", "x" * 31]
    assert names.add("x" * 50) == "x" * 29 + " 2"
    assert names.add("\0\ud800\n") == "___"
    assert names.add(wide) == "😀" * 15
    assert names.add(wide) == "😀" * 14 + " 2"
