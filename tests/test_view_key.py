"""The key in a collection's settings, and the list of records that it doesn't name."""

from typing import Any
from unittest.mock import Mock

import pytest
from django.test import Client

from collections_app.models import (
    Collection,
    Comparison,
    ComparisonState,
    Run,
    Slice,
    SliceState,
    TrackingSettings,
)
from collections_app.records.preview.engine import QueryTimeout
from collections_app.records.tracking.run_checks import NewestRuns
from collections_app.records.tracking.settings import tracking_of
from collections_app.records.tracking.slice_builder import build_slice
from collections_app.records.tracking.slices import VERSION
from collections_app.views.run import duplicates
from collections_app.views.settings.key_lines import share
from tests.support.html import links, text_of
from tests.support.results import make_processing_run, make_ready_run, records
from tests.support.upstream import make_account, make_remote_collection, make_remote_run

SETTINGS = "/collections/101/settings"
KEY = f"{SETTINGS}/key"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("results_folder")]


def sliced(collection: Collection, content: list[dict[str, Any]]) -> Run:
    """Create a run with a slice."""
    run = make_ready_run(collection, content)
    build_slice(run)
    return run


@pytest.fixture
def run(laptops: Collection) -> Run:
    """A run of 100 records, of which two share an ASIN."""
    content = [each | {"model": f"M{each['price_cents'] // 1000}"} for each in records(100)]
    run = sliced(laptops, [*content[:99], content[99] | {"asin": content[0]["asin"]}])
    # 98% are unique, so the site suggests no key.
    TrackingSettings.objects.create(collection=laptops, key_columns=["asin"])
    return run


def shown(client: Client, address: str) -> str:
    return text_of(client.get(address).content.decode())


def save(client: Client, **form: Any) -> str:
    return text_of(client.post(f"{KEY}/save", form, follow=True).content.decode())


class TestSettings:
    def test_the_suggested_key_and_the_newest_comparison(
        self, as_bob: Client, laptops: Collection, run: Run
    ) -> None:
        later = make_ready_run(laptops)
        Comparison.objects.create(
            run=later,
            since=run,
            settings_version=1,
            state=ComparisonState.READY,
            counts={"duplicates": 2, "without_key": 1},
            summary={"volatile": ["position", "scraped_at"]},
        )
        page = shown(as_bob, SETTINGS)
        assert "Runs are compared by asin. The site suggested this key." in page
        assert f"Run {later.number} has 2 duplicates and 1 record without a key" in page
        assert "Volatile columns: position, scraped_at. These are positions, times and columns" in page
        assert "Check key" in page

    def test_before_the_first_slice(self, as_adam: Client, laptops: Collection) -> None:
        assert "The site suggests one once it has prepared a run." in shown(as_adam, SETTINGS)
        assert "This collection has no completed runs yet." in shown(as_adam, KEY)

    def test_no_column_names_the_products(self, as_adam: Client, laptops: Collection) -> None:
        sliced(laptops, [{"color": "red"}] * 5)
        tracking_of(laptops)
        assert "so runs can't be compared. Choose a key." in shown(as_adam, SETTINGS)
        assert "No column names most of the products." in shown(as_adam, KEY)


class TestCheck:
    def test_the_shares_of_the_current_key_and_of_possible_ones(self, as_bob: Client, run: Run) -> None:
        page = shown(as_bob, KEY)
        assert "Run 1 100 100% 98.0% 2 0" in page
        assert "title 100 100% 100% Check title asin 100 100% 98.0% Check asin" in page

    def test_a_key_that_is_not_unique_gets_a_warning_with_numbers(self, as_adam: Client, run: Run) -> None:
        page = shown(as_adam, f"{KEY}?column=model")
        assert (
            "In run 1, this key is filled in and unique in only 1.0% of 100 records. "
            "The other 99 can't be compared." in page
        )
        assert "Save key" in page

    def test_several_columns_name_a_product_together(self, as_adam: Client, laptops: Collection) -> None:
        content = [each | {"store": store} for each in records(3) for store in ("Hobart", "Perth")]
        sliced(laptops, content)
        assert "asin + store 6 100% 100% Check asin + store" in shown(as_adam, KEY)
        page = shown(as_adam, f"{KEY}?column=asin&column=store")
        assert "Check of asin + store" in page
        assert "can't be compared" not in page

    @pytest.mark.parametrize(
        ("columns", "error"),
        [
            (["gtin"], "Run 1 has no column “gtin”. Choose columns of this run."),
            ([*"abcdef"], "Choose at most 5 columns."),
            (["asin", "asin"], "Choose each column once."),
            ([], "Choose at least one column."),
        ],
    )
    def test_other_columns_are_refused(
        self, as_adam: Client, run: Run, columns: list[str], error: str
    ) -> None:
        assert error in save(as_adam, column=columns)
        assert TrackingSettings.objects.get().version == 1

    def test_a_run_is_not_checked_forever(
        self, as_adam: Client, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(NewestRuns, "check", Mock(side_effect=QueryTimeout))
        assert "Checking these runs takes too long. Try again later." in shown(as_adam, KEY)

    def test_why_there_is_no_slice(self, as_adam: Client, laptops: Collection) -> None:
        run = make_ready_run(laptops)
        assert "No run has been prepared for comparison yet." in shown(as_adam, KEY)
        Slice.objects.create(run=run, version=VERSION, state=SliceState.FAILED, failure="The disk is full.")
        assert "No run could be prepared for comparison. The disk is full." in shown(as_adam, KEY)

    def test_an_account_whose_runs_are_not_compared(self, as_adam: Client, laptops: Collection) -> None:
        remote = make_remote_collection(make_account(laptops.team))
        make_remote_run(remote)
        page = shown(as_adam, f"/collections/{remote.pk}/settings/key")
        assert "aren't compared. An admin can change this on the Accounts page." in page


class TestSave:
    def test_an_admin_chooses_a_key_and_returns_to_the_suggested_one(
        self, as_adam: Client, laptops: Collection, run: Run
    ) -> None:
        page = save(as_adam, column=["title", "model"])
        assert "Runs are compared by title + model. Adam" in page
        tracking = TrackingSettings.objects.get()
        assert (tracking.key, tracking.is_suggested, tracking.version) == (("title", "model"), False, 2)
        page = save(as_adam, suggested="")
        assert "uses the suggested key again" in page
        tracking.refresh_from_db()
        assert (tracking.key, tracking.is_suggested, tracking.version) == ((), True, 3)

    def test_the_same_key_keeps_its_version(self, as_adam: Client, run: Run) -> None:
        assert "chose this key" in save(as_adam, column=["asin"])
        assert TrackingSettings.objects.get().version == 1

    def test_a_member_only_checks(self, as_bob: Client, run: Run) -> None:
        assert "Only admins and owners can change the key." in shown(as_bob, f"{KEY}?column=title")
        assert as_bob.post(f"{KEY}/save", {"column": "title"}).status_code == 403


class TestDuplicates:
    def test_they_are_listed_with_links_to_the_records(self, as_bob: Client, run: Run) -> None:
        response = as_bob.get("/collections/101/runs/1/duplicates")
        page = response.content.decode()
        assert "Duplicates (2) Without a key (0)" in text_of(page)
        assert "1 Laptop 1 B000000001 2 100 Laptop 100 B000000001 2" in text_of(page)
        assert links(response)["100"] == "/collections/101/runs/1/records/100"

    def test_they_are_listed_in_parts(
        self, as_bob: Client, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(duplicates, "_PAGE", 1)
        address = "/collections/101/runs/1/duplicates?show=duplicates&after=1"
        assert links(as_bob.get("/collections/101/runs/1/duplicates"))["Load more"] == address
        rows = as_bob.get(address, headers={"HX-Request": "true"}).content.decode()
        assert "100 Laptop 100" in text_of(rows)
        assert "Load more" not in rows

    def test_a_run_that_is_too_large_says_what_to_do(
        self, as_bob: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        TrackingSettings.objects.create(collection=laptops, key_columns=["asin"])
        build_slice(make_ready_run(laptops, [{"asin": "B01"}]))
        monkeypatch.setitem(duplicates._LISTS, "duplicates", Mock(side_effect=QueryTimeout))
        said = shown(as_bob, "/collections/101/runs/1/duplicates")
        assert "This run has too many records to list these here. Export the columns of the key" in said

    def test_records_without_a_key(self, as_bob: Client, laptops: Collection) -> None:
        sliced(laptops, [{"asin": "B1"}, {"asin": None, "title": "Mouse"}])
        TrackingSettings.objects.create(collection=laptops, key_columns=["asin"])
        assert "2 Mouse None" in shown(as_bob, "/collections/101/runs/1/duplicates?show=without-key")

    def test_why_there_is_no_list(self, as_bob: Client, laptops: Collection) -> None:
        make_ready_run(laptops)
        make_processing_run(laptops)
        assert "This collection has no key yet." in shown(as_bob, "/collections/101/runs/1/duplicates")
        TrackingSettings.objects.create(collection=laptops, key_columns=["asin"])
        assert "hasn't been prepared" in shown(as_bob, "/collections/101/runs/1/duplicates")
        assert "Run 2 isn't completed." in shown(as_bob, "/collections/101/runs/2/duplicates")

    @pytest.mark.parametrize("query", ["show=all", "after=0", "after=x", "after=" + "9" * 30])
    def test_a_bad_query_is_refused(self, as_bob: Client, run: Run, query: str) -> None:
        assert as_bob.get(f"/collections/101/runs/1/duplicates?{query}").status_code == 400


def test_a_share_is_100_percent_only_if_that_is_exact() -> None:
    assert [share(part, 10_000) for part in (0, 9980, 9999, 10_000)] == ["0.0%", "99.8%", "99.9%", "100%"]
