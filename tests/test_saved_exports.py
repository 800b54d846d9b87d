"""Saved exports: an export under a name, for each run of a collection."""

import pytest
from django.test import Client

from collections_app.models import Collection, Run, SavedExport, User
from collections_app.models.saved_exports import MOST_SAVED
from tests.support import responses
from tests.support.html import links
from tests.support.results import make_ready_run, records
from tests.test_view_run import address, words

pytestmark = pytest.mark.django_db

NAME = "Prices for the buyers"
FORM = {"name": NAME, "format": "csv", "column": ["title", "price_cents"], "separator": ";"}
FILE = "prices-for-the-buyers.csv"
SETTINGS = "/collections/101/settings"


@pytest.fixture
def run(laptops: Collection) -> Run:
    return make_ready_run(laptops, records(2))


def save(client: Client, run: Run, **changes: object) -> str:
    """Save an export, and return the page that follows."""
    response = client.post(address(run, "export/save"), FORM | changes, follow=True)
    assert response.status_code == 200
    return words(response.content.decode())


def test_a_member_saves_an_export_which_each_run_then_offers(as_bob: Client, bob: User, run: Run) -> None:
    assert f"Saved “{NAME}”." in save(as_bob, run)
    saved = SavedExport.objects.get()
    assert (saved.name, saved.columns, saved.separator, saved.created_by) == (NAME, FORM["column"], ";", bob)
    newer = make_ready_run(run.collection, records(1))
    for page in (address(newer), "/collections/101/download"):
        assert links(as_bob.get(page))[f"{NAME} of run 2"] == address(newer, f"exports/{FILE}")
    response = as_bob.get(address(newer, f"exports/{FILE}"))
    assert responses.content(response) == b"title;price_cents\r\nLaptop 1;100\r\n"
    assert "_2_Prices%20for%20the%20buyers.csv" in response["Content-Disposition"].replace(" ", "%20")
    assert as_bob.get(f"/collections/101/latest/exports/{FILE}").headers["Location"] == address(
        newer, f"exports/{FILE}"
    )


def test_a_column_that_a_later_run_lacks_is_empty(as_bob: Client, run: Run) -> None:
    save(as_bob, run)
    later = make_ready_run(run.collection, [{"title": "Laptop"}])
    content = responses.content(as_bob.get(address(later, f"exports/{FILE}")))
    assert content == b"title;price_cents\r\nLaptop;\r\n"
    page = as_bob.get(address(later, "export")).content.decode()
    assert "records.csv?columns=title%2Cprice_cents&amp;separator=%3B&amp;missing=empty" in page
    assert as_bob.get(address(later, "records.csv?columns=title,price_cents")).status_code == 302


def test_the_row_of_a_run_follows_changes_of_saved_exports(as_bob: Client, run: Run) -> None:
    for name in (NAME, "Renamed"):
        if SavedExport.objects.exists():
            SavedExport.objects.get().rename(name)
        else:
            save(as_bob, run)
        assert f"{name} of run 1" in links(as_bob.get("/collections/101/download"))


INVALID = [
    ("", "Enter a name for the saved export."),
    ("\u2800", "Enter at least one visible character."),
    ("a\x1fb", "Remove line breaks and other control characters."),
    ("x" * 61, "at most 60 characters"),
    (NAME.upper(), "This collection already has a saved export with this name. Choose another name."),
]


def test_an_invalid_name_keeps_the_choices(as_bob: Client, run: Run) -> None:
    save(as_bob, run)
    for name, problem in INVALID:
        response = as_bob.post(address(run, "export/save"), FORM | {"name": name})
        text = response.content.decode()
        assert problem in words(text)
        assert 'value="price_cents" checked' in text
        assert '<option value=";" selected>' in text
    assert SavedExport.objects.count() == 1


def test_their_number_is_limited_and_their_addresses_are_unique(as_bob: Client, bob: User, run: Run) -> None:
    save(as_bob, run, name="Q&A")
    save(as_bob, run, name="Q A")
    save(as_bob, run, name="価格")
    assert [each.slug for each in SavedExport.objects.order_by("pk")] == ["qa", "q-a", "export"]
    for number in range(MOST_SAVED - 3):
        SavedExport.save_as(f"{number}!", run.collection, by=bob, format="csv")
    assert f"This collection has {MOST_SAVED} saved exports, the maximum." in save(as_bob, run)


def test_its_creator_and_admins_rename_and_delete_it(
    as_bob: Client, as_adam: Client, adam: User, run: Run
) -> None:
    save(as_bob, run)
    saved = SavedExport.objects.get()
    change = f"{SETTINGS}/exports/{saved.pk}"
    text = words(as_bob.get(SETTINGS).content.decode())
    assert f"{NAME} CSV with semicolons · title, price_cents · saved by Bob" in text
    assert f"/api/v1/collections/101/latest/exports/{FILE}" in text
    as_bob.post(f"{change}/rename", {"name": "Buyers"})
    assert (SavedExport.objects.get().name, SavedExport.objects.get().file_name) == ("Buyers", FILE)
    SavedExport.objects.update(created_by=adam)
    assert as_bob.post(f"{change}/delete").status_code == 403
    assert as_adam.post(f"{change}/delete").status_code == 302
    assert not SavedExport.objects.exists()
    assert as_bob.get(address(run, f"exports/{FILE}")).status_code == 404


def test_scripts_download_it(as_bob: Client, client: Client, run: Run, bobs_key: str) -> None:
    save(as_bob, run)
    for folder in ("runs/1", "latest"):
        response = client.get(
            f"/api/v1/collections/101/{folder}/exports/{FILE}", headers={"x-api-key": bobs_key}
        )
        assert responses.content(response).startswith(b"title;price_cents")
    assert response["Content-Location"] == f"/api/v1/collections/101/runs/1/exports/{FILE}"
