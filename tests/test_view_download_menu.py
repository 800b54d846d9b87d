"""The Download menu of a run, and of a collection's newest completed run."""

import re
from html import unescape

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from collections_app.models import Collection, Export, Kind, Preferences, Run, Team, User
from collections_app.records.exports import create
from collections_app.records.exports.build import build_next
from collections_app.records.formats.export_formats import Format
from tests.support import responses
from tests.support.html import links, text_of
from tests.support.results import make_failed_run, make_processing_run, make_ready_run, records
from tests.support.upstream import make_account, make_remote_collection, make_remote_run, refreshed_just_now

RUNS = "/collections/101/download"
RUN = "/collections/101/runs/1/"
EXPORTS = f"{RUN}export"


@pytest.fixture
def run(laptops: Collection) -> Run:
    return make_ready_run(laptops, records(3), page_size=2)


def menus(client: Client, address: str) -> list[dict[str, str]]:
    """Return the links of each menu on a page by their visible text."""
    page = client.get(address).content.decode().partition("<main")[2]
    page = re.sub(r'<span class="visually-hidden">.*?</span>', "", page, flags=re.DOTALL)
    return [
        {
            text_of(text): unescape(link)
            for link, text in re.findall(r'<a href="([^"]*)">(.*?)</a>', menu, re.DOTALL)
        }
        for menu in re.findall(
            r'<details class="menu(?: download-menu)?" data-menu>(.*?)</details>', page, re.DOTALL
        )
    ]


@pytest.mark.parametrize("address", [RUNS, RUN])
def test_every_format_of_a_run_is_in_its_menu(as_bob: Client, run: Run, address: str) -> None:
    (menu,) = menus(as_bob, address)
    assert menu == {
        "Excel": f"{RUN}records.xlsx",
        "CSV": f"{RUN}records.csv",
        "JSON": f"{RUN}records.json",
        "JSON Lines": f"{RUN}records.jsonl",
        "Parquet": f"{RUN}records.parquet",
        "ZIP": f"{RUN}all.zip",
        "Choose columns…": EXPORTS,
    }
    assert {as_bob.head(link).status_code for link in menu.values()} == {200}


def test_a_category_run_has_no_zip_and_names_its_export_differently(
    as_bob: Client, headphones: Collection
) -> None:
    make_ready_run(headphones)
    (menu,) = menus(as_bob, f"/collections/{headphones.pk}/download")
    assert list(menu) == ["Excel", "CSV, all columns", "JSON", "JSON Lines", "Parquet", "Choose columns…"]


def test_a_run_without_files_has_no_menu(as_bob: Client, laptops: Collection) -> None:
    make_failed_run(laptops)
    make_processing_run(laptops)
    assert [menus(as_bob, address) for address in (RUNS, RUN)] == [[], []]


def test_only_the_zip_of_an_account_is_offered(as_bob: Client, crawlers: Team) -> None:
    collection = make_remote_collection(make_account(crawlers))
    refreshed_just_now(collection)
    run = make_remote_run(collection)
    address = f"/collections/{collection.pk}/download"
    assert "ZIP" in menus(as_bob, address)[0]
    run.files.filter(kind="archive").delete()
    assert "ZIP" not in menus(as_bob, f"/collections/{collection.pk}/runs/88/")[0]


def test_the_menu_of_a_collection_downloads_the_newest_completed_run(
    as_bob: Client, run: Run, laptops: Collection
) -> None:
    make_failed_run(laptops)
    menu, actions = menus(as_bob, "/collections/")
    assert "Download results" in actions
    response = as_bob.get(menu["Excel"], follow=True)
    assert responses.content(response)
    assert response.redirect_chain == [(f"{RUN}records.xlsx", 302)]
    assert response["Content-Disposition"].endswith('filename="AU Laptops_1_Records.xlsx"')
    assert as_bob.get(menu["Choose columns…"], follow=True).redirect_chain == [(EXPORTS, 302)]


def test_without_a_completed_run_there_is_nothing_to_download(as_bob: Client, laptops: Collection) -> None:
    make_failed_run(laptops)
    (menu,) = menus(as_bob, "/collections/")
    assert "Download results" in menu


def test_the_format_of_the_last_download_is_the_first_in_all_menus(
    as_bob: Client, as_adam: Client, run: Run, crawlers: Team
) -> None:
    make_ready_run(Collection.objects.create(team=crawlers, name="Phones", kind=Kind.AMAZON))
    for link, first in (("records.parquet", "Parquet"), ("all.zip", "ZIP"), ("records.csv", "CSV")):
        assert responses.content(as_bob.get(RUN + link))
        for address in (RUNS, RUN):
            (menu,) = menus(as_bob, address)
            assert next(iter(menu)) == first
        listed = [next(iter(menu)) for menu in menus(as_bob, "/collections/")]
        assert listed == [first, "Download results"] * 2
    assert [next(iter(menu)) for menu in menus(as_adam, RUNS)] == ["Excel"]


def test_the_last_format_is_stored_in_the_database(as_bob: Client, bob: User, run: Run) -> None:
    assert responses.content(as_bob.get(f"{RUN}records.jsonl"))
    assert Preferences.objects.get().user == bob
    assert Preferences.objects.get().download_format == "jsonl"
    as_bob.head(f"{RUN}records.csv")
    assert Preferences.objects.get().download_format == "jsonl"
    assert as_bob.get(f"{EXPORTS}").content.decode().count('value="jsonl"\n               required') == 1


def test_a_format_that_no_longer_exists_is_ignored(as_bob: Client, bob: User, run: Run) -> None:
    Preferences.objects.create(user=bob, download_format="dbf")
    assert next(iter(menus(as_bob, RUNS)[0])) == "Excel"
    assert as_bob.get(EXPORTS).status_code == 200


def test_preferences_are_read_with_the_memberships(
    as_bob: Client, run: Run, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    assert responses.content(as_bob.get(f"{RUN}records.csv"))
    Run.objects.update(needs_slice=False)
    as_bob.get(RUNS)
    # The session, the user, the memberships with the preferences, the runs, their earlier runs and verdicts,
    # and how many are kept.
    with django_assert_num_queries(7):
        as_bob.get(RUNS)


class TestUnfinished:
    """An export that has to be created before the download."""

    @pytest.fixture(autouse=True)
    def slowly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(create, "_QUICK", dict.fromkeys(Format, -1))

    @pytest.mark.django_db(transaction=True)
    def test_its_page_shows_progress_and_then_starts_the_download(self, as_bob: Client, run: Run) -> None:
        response = as_bob.get(f"{RUN}records.xlsx", follow=True)
        (export,) = Export.objects.all()
        page = response.content.decode()
        assert response.redirect_chain == [(f"{EXPORTS}?start={export.pk}#exports", 302)]
        assert "Queued. The download starts automatically." in text_of(page)
        assert "data-start" not in page
        (polled,) = re.findall(r'hx-get="([^"]*)" hx-trigger="every 2s"', page)
        build_next()
        page = as_bob.get(unescape(polled), headers={"HX-Request": "true"}).content.decode()
        assert re.findall(r'href="([^"]*)" data-start', page) == [f"{RUN}records.xlsx"]
        assert "hx-trigger" not in page

    @pytest.mark.django_db(transaction=True)
    def test_a_saved_export_keeps_its_name(self, as_bob: Client, run: Run) -> None:
        form = {"name": "Prices", "format": "csv", "column": ["title"]}
        as_bob.post(f"{RUN}export/save", form)
        page = as_bob.get(f"{RUN}exports/prices.csv", follow=True).content.decode()
        (polled,) = re.findall(r'hx-get="([^"]*)" hx-trigger="every 2s"', page)
        build_next()
        page = as_bob.get(unescape(polled), headers={"HX-Request": "true"}).content.decode()
        assert re.findall(r'href="([^"]*)" data-start', page) == [f"{RUN}exports/prices.csv"]
        assert as_bob.get(f"{RUN}export?saved=deleted.csv").status_code == 200

    @pytest.mark.django_db(transaction=True)
    def test_without_javascript_its_page_can_be_refreshed_until_it_has_a_link(
        self, as_bob: Client, run: Run
    ) -> None:
        response = as_bob.get(f"{RUN}records.xlsx", follow=True)
        refresh = links(response)["Refresh"]
        build_next()
        response = as_bob.get(refresh)
        (download,) = [link for link in links(response).values() if link.endswith("records.xlsx")]
        assert responses.content(as_bob.get(download)).startswith(b"PK")

    @pytest.mark.parametrize("start", ["x", "0", "1e9", "9" * 50, "-1"])
    def test_an_unknown_export_starts_nothing(self, as_bob: Client, run: Run, start: str) -> None:
        page = as_bob.get(EXPORTS, {"start": start})
        assert page.status_code == 200
        assert "data-start" not in page.content.decode()
