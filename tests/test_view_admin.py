import re
from collections.abc import Callable
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.apps import apps
from django.db.models import Model
from django.test import Client

from collections_app.models import ApiKey, Collection, Run, Team, User
from tests.conftest import PASSWORD
from tests.support.keys import recognize
from tests.support.meanwhile import ask_meanwhile
from tests.support.results import make_ready_run

TABLES = ["apikey", "collection", "membership", "resultfile", "run", "team", "user"]

NEW_PASSWORD = {
    "usable_password": "true",
    "password1": "a violet umbrella",
    "password2": "a violet umbrella",
    "set-password": "",
}


@pytest.fixture
def as_oscar(db: None) -> Client:
    """Oscar, an operator who is in no team."""
    client = Client()
    client.force_login(User.objects.create_superuser("oscar@example.com", PASSWORD, name="Oscar"))
    return client


@pytest.fixture
def run(laptops: Collection, bobs_key: str) -> Run:
    return make_ready_run(laptops)


@pytest.mark.parametrize("table", TABLES)
def test_an_operator_can_list_search_and_open_everything(as_oscar: Client, run: Run, table: str) -> None:
    address = f"/admin/collections_app/{table}/"
    assert as_oscar.get("/admin/").status_code == 200
    assert as_oscar.get(f"{address}?q=a").status_code == 200
    opened = re.search(rf'href="({address}\d+/change/)', as_oscar.get(address).content.decode())
    assert opened
    assert as_oscar.get(opened[1]).status_code == 200


@pytest.mark.parametrize("table", TABLES)
def test_nothing_can_be_deleted(as_oscar: Client, run: Run, table: str) -> None:
    row = apps.get_model("collections_app", table).objects.first()
    assert row is not None
    response = as_oscar.post(f"/admin/collections_app/{table}/{row.pk}/delete/", {"post": "yes"})
    assert response.status_code == 403
    assert type(row).objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize("table", ["apikey", "membership", "resultfile", "run"])
def test_rows_that_edits_would_break_are_read_only(as_oscar: Client, run: Run, table: str) -> None:
    row = apps.get_model("collections_app", table).objects.first()
    response = as_oscar.post(f"/admin/collections_app/{table}/{row.pk}/change/", {"name": "x"})
    assert response.status_code == 403


@pytest.mark.parametrize("table", ["apikey", "resultfile", "run"])
def test_rows_that_are_created_elsewhere_cannot_be_added(as_oscar: Client, table: str) -> None:
    assert as_oscar.get(f"/admin/collections_app/{table}/add/").status_code == 403


def test_a_keys_digest_is_never_shown(as_oscar: Client, bobs_key: str) -> None:
    key = ApiKey.objects.get()
    for address in ("", f"{key.pk}/change/"):
        assert key.digest not in as_oscar.get(f"/admin/collections_app/apikey/{address}").content.decode()


def test_an_operator_adds_a_user_with_a_password(as_oscar: Client) -> None:
    assert as_oscar.get("/admin/collections_app/user/add/").status_code == 200
    fields = {
        "email": "Dora@Example.com",
        "name": "Dora",
        "usable_password": "true",
        "password1": PASSWORD,
        "password2": PASSWORD,
    }
    assert as_oscar.post("/admin/collections_app/user/add/", fields).status_code == 302
    dora = User.objects.get(email="dora@example.com")
    assert (dora.name, dora.is_staff, dora.check_password(PASSWORD)) == ("Dora", False, True)


def test_an_address_that_is_taken_is_refused_in_any_case(as_oscar: Client, bob: User) -> None:
    fields = {
        "email": "BOB@example.com",
        "usable_password": "true",
        "password1": PASSWORD,
        "password2": PASSWORD,
    }
    response = as_oscar.post("/admin/collections_app/user/add/", fields)
    assert "A user with this email address already exists." in response.content.decode()


def test_a_new_address_replaces_the_old_one(as_oscar: Client, client: Client, bob: User) -> None:
    EmailAddress.objects.create(user=bob, email="bob@example.com")
    fields = {"email": "robert@example.com", "name": "Bob", "is_active": "on"}
    response = as_oscar.post(f"/admin/collections_app/user/{bob.pk}/change/", fields)
    assert response.status_code == 302
    old, new = (
        client.post("/accounts/login/", {"login": email, "password": PASSWORD}).status_code
        for email in ("bob@example.com", "robert@example.com")
    )
    assert (old, new) == (200, 302)


def test_an_operator_sets_a_password(as_oscar: Client, bob: User) -> None:
    assert as_oscar.post(f"/admin/collections_app/user/{bob.pk}/password/", NEW_PASSWORD).status_code == 302
    bob.refresh_from_db()
    assert bob.check_password("a violet umbrella")


@pytest.mark.django_db(transaction=True)
def test_setting_a_password_does_not_reactivate_a_user(as_oscar: Client, bob: User) -> None:
    address = f"/admin/collections_app/user/{bob.pk}/password/"
    closed = User.objects.filter(pk=bob.pk)
    response = ask_meanwhile(
        lambda: closed.update(is_active=False), lambda: as_oscar.post(address, NEW_PASSWORD)
    )
    assert response.status_code == 302
    bob.refresh_from_db()
    assert (bob.is_active, bob.check_password("a violet umbrella")) == (False, True)


def meanwhile(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Change something between the admin's reading of a row and its saving."""
    clean = Model.full_clean

    def change_and_clean(row: Model, *args: Any, **kwargs: Any) -> None:
        change()
        clean(row, *args, **kwargs)

    monkeypatch.setattr(Model, "full_clean", change_and_clean)


def test_saving_a_user_saves_only_what_was_changed(
    as_oscar: Client, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, lambda: User.objects.filter(pk=bob.pk).update(password="!", is_active=False))
    fields = {"email": "bob@example.com", "name": "Robert", "is_active": "on"}
    assert as_oscar.post(f"/admin/collections_app/user/{bob.pk}/change/", fields).status_code == 302
    bob.refresh_from_db()
    assert (bob.name, bob.password, bob.is_active) == ("Robert", "!", False)


def test_an_operator_adds_a_teams_first_owner(as_oscar: Client, bob: User) -> None:
    as_oscar.post("/admin/collections_app/team/add/", {"name": "Newcomers"})
    team = Team.objects.get(name="Newcomers")
    as_oscar.post(
        "/admin/collections_app/membership/add/", {"user": bob.pk, "team": team.pk, "role": "owner"}
    )
    assert team.memberships.get().user == bob


def test_an_operator_revokes_keys(as_oscar: Client, bobs_key: str) -> None:
    fields = {"action": "revoke", "_selected_action": ApiKey.objects.get().pk}
    response = as_oscar.post("/admin/collections_app/apikey/", fields, follow=True)
    assert "Revoked 1 API key." in response.content.decode()
    assert recognize(bobs_key) is None


def test_only_the_name_of_a_collection_can_be_changed(
    as_oscar: Client, laptops: Collection, strangers: Team
) -> None:
    fields = {"name": "NZ Laptops", "team": strangers.pk, "kind": "amazon_category_scrape"}
    as_oscar.post("/admin/collections_app/collection/101/change/", fields)
    changed = Collection.objects.get()
    assert (changed.name, changed.team, changed.kind) == ("NZ Laptops", laptops.team, laptops.kind)


def test_saving_a_collection_keeps_new_runs(
    as_oscar: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, lambda: Run.objects.create_next(laptops))
    as_oscar.post("/admin/collections_app/collection/101/change/", {"name": "NZ Laptops"})
    laptops.refresh_from_db()
    assert (laptops.name, laptops.last_run_number) == ("NZ Laptops", 1)


def test_a_team_owner_cannot_open_the_admin(as_alice: Client) -> None:
    response = as_alice.get("/admin/")
    assert response.status_code == 403
    assert "Only operators may open these pages." in response.content.decode()


def test_a_visitor_is_sent_to_the_sites_sign_in_page(client: Client, db: None) -> None:
    assert client.get("/admin/")["Location"] == "/accounts/login/?next=/admin/"
