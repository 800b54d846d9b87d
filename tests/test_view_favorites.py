"""Favorite collections, and the owners of collections."""

import pytest
import time_machine
from django.test import Client

from collections_app.models import Collection, CollectionPreferences, Membership, Team, User
from tests.support.html import links, rows, text_of
from tests.support.run_history import make_runs
from tests.support.upstream import NOON

pytestmark = pytest.mark.django_db


def shows_only(client: Client, show: str, name: str) -> bool:
    """Whether both lists show one collection only."""
    found = [rows(client.get(f"{address}?show={show}")) for address in ("/", "/collections/")]
    return all(len(each) == 1 and name in " ".join(each[0]) for each in found)


@pytest.fixture
def others(crawlers: Team, laptops: Collection) -> Collection:
    """A second collection of the team."""
    return Collection.objects.create(team=crawlers, name="Tablets")


class TestFavorites:
    def test_a_star_adds_a_favorite_of_this_user_alone_and_removes_it(
        self, as_bob: Client, as_adam: Client, others: Collection
    ) -> None:
        assert 'aria-label="Add Tablets to favorites"' in as_bob.get("/").content.decode()
        response = as_bob.post(
            "/collections/favorites", {"add": others.pk}, headers={"Referer": "http://testserver/?night=fine"}
        )
        assert response["Location"] == "/?night=fine"
        for address in ("/", "/collections/"):
            page = as_bob.get(address).content.decode()
            assert 'aria-label="Remove Tablets from favorites"' in page
            assert 'aria-label="Add AU Laptops to favorites"' in page
        assert shows_only(as_bob, "favorites", "Tablets")
        assert "No favorites" in as_adam.get("/?show=favorites").content.decode()
        as_bob.post("/collections/favorites", {"remove": others.pk})
        assert "No favorites" in as_bob.get("/collections/?show=favorites").content.decode()

    def test_a_script_gets_the_changed_button(self, as_bob: Client, laptops: Collection) -> None:
        response = as_bob.post("/collections/favorites", {"add": 101}, headers={"HX-Request": "true"})
        assert response.content.decode().count("Remove AU Laptops from favorites") == 1
        assert 'name="remove"' in response.content.decode()

    def test_saved_columns_are_kept(self, as_bob: Client, bob: User, laptops: Collection) -> None:
        CollectionPreferences.objects.create(user=bob, collection=laptops, columns=["title"])
        as_bob.post("/collections/favorites", {"add": 101})
        as_bob.post("/collections/favorites", {"remove": 101})
        assert CollectionPreferences.objects.get().columns == ["title"]

    def test_collections_of_other_teams_are_refused(self, as_bob: Client, secret_plans: Collection) -> None:
        for number in (secret_plans.pk, 10**17):
            assert as_bob.post("/collections/favorites", {"add": number}).status_code == 403
        for text in ("", "x", "9" * 40):
            assert as_bob.post("/collections/favorites", {"add": text}).status_code == 400
        assert not CollectionPreferences.objects.exists()

    def test_last_night_counts_the_chosen_collections(self, as_bob: Client, others: Collection) -> None:
        make_runs(others, "f")
        make_runs(Collection.objects.get(pk=101), "c")
        as_bob.post("/collections/favorites", {"add": others.pk})
        with time_machine.travel(NOON):
            response = as_bob.get("/?show=favorites")
        assert "Last night, your favorites: 0 of 1 fine · 1 failed" in text_of(response.content.decode())
        assert links(response)["1 failed"] == "/?night=failed&show=favorites"
        assert links(response)["All"] == "/"

    @pytest.mark.parametrize("address", ["/", "/collections/"])
    def test_an_unknown_choice_is_refused(self, as_bob: Client, laptops: Collection, address: str) -> None:
        assert as_bob.get(address, {"show": "x"}).status_code == 400


class TestOwners:
    SETTINGS = "/collections/101/settings"

    def test_an_admin_makes_a_member_the_owner(
        self, as_adam: Client, as_bob: Client, bob: User, others: Collection
    ) -> None:
        membership = Membership.objects.get(user=bob)
        response = as_adam.post(f"{self.SETTINGS}/owner", {"owner": membership.pk}, follow=True)
        assert "Bob now owns “AU Laptops”." in response.content.decode()
        assert "Bob owns this collection." in as_bob.get(self.SETTINGS).content.decode()
        assert rows(as_bob.get("/collections/"))[0][3] == "Bob"
        assert shows_only(as_bob, "mine", "AU Laptops")
        assert "You don't own any collections" in as_adam.get("/?show=mine").content.decode()
        as_adam.post(f"{self.SETTINGS}/owner", {"owner": ""})
        assert Collection.objects.get(pk=101).owner is None

    def test_only_members_of_the_team_can_be_owners(
        self, as_adam: Client, carol: User, laptops: Collection
    ) -> None:
        for owner in (Membership.objects.get(user=carol).pk, 10**30, "x"):
            response = as_adam.post(f"{self.SETTINGS}/owner", {"owner": owner})
            assert "Choose a member of this team." in response.content.decode()
        assert Collection.objects.get(pk=101).owner is None

    def test_a_member_who_leaves_no_longer_owns_collections(
        self, as_adam: Client, bob: User, laptops: Collection
    ) -> None:
        membership = Membership.objects.get(user=bob)
        Collection.objects.update(owner=membership)
        as_adam.post(f"/members/{membership.pk}/remove")
        assert Collection.objects.get(pk=101).owner is None

    def test_a_member_who_becomes_an_admin_stays_the_owner(self, bob: User, laptops: Collection) -> None:
        membership = Membership.objects.get(user=bob)
        Collection.objects.update(owner=membership)
        membership.change_role("admin")  # type: ignore[arg-type]
        assert Collection.objects.get(pk=101).owner == membership

    def test_the_list_needs_no_query_for_each_owner(
        self, as_bob: Client, bob: User, crawlers: Team, django_assert_max_num_queries: object
    ) -> None:
        membership = Membership.objects.get(user=bob)
        for number in range(20):
            Collection.objects.create(team=crawlers, name=f"{number}", owner=membership)
        with django_assert_max_num_queries(12):  # type: ignore[operator]
            as_bob.get("/collections/")
