import re

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from collections_app.models import Account, Collection, Run, Team
from collections_app.models.keeping import keeping_of
from tests.support.html import text_of
from tests.support.responses import Response
from tests.support.upstream import make_account, make_remote_collection, make_remote_run, refreshed_just_now


@pytest.fixture
def account(crawlers: Team) -> Account:
    return make_account(crawlers)


@pytest.fixture
def remote(account: Account) -> Collection:
    """A collection of an account that was just listed."""
    remote = make_remote_collection(account)
    refreshed_just_now(remote)
    return remote


def download(client: Client, collection: Collection) -> Response:
    response: Response = client.get(f"/collections/{collection.pk}/download")
    return response


def keeping(response: Response) -> str:
    """Return what the page says about copying, or "", without the age of the list."""
    found = re.search(r'<form class="keep-results".*?</form>', response.content.decode(), re.DOTALL)
    return text_of(re.sub("<p>Updated.*?</p>", "", found[0], flags=re.DOTALL)) if found else ""


def progress(response: Response) -> list[tuple[str, str]]:
    return re.findall(
        r'<progress value="(\d+)" max="(\d+)" aria-label="Completed runs', response.content.decode()
    )


class TestSwitching:
    def test_an_admin_switches_copying_on_and_off(self, as_adam: Client, remote: Collection) -> None:
        for value, is_on, said in (
            ("on", True, "Copying the results of “AU Laptops”."),
            ("off", False, "Stopped copying results of “AU Laptops”. Existing copies are kept."),
        ):
            response = as_adam.post(f"/collections/{remote.pk}/keep", {"keep": value}, follow=True)
            assert response.redirect_chain == [(f"/collections/{remote.pk}/download", 302)]
            assert said in response.content.decode()
            remote.refresh_from_db()
            assert remote.keeps_results is is_on

    def test_a_member_and_a_stranger_cannot_switch_it(
        self, as_bob: Client, as_carol: Client, remote: Collection
    ) -> None:
        for client in (as_bob, as_carol):
            assert client.post(f"/collections/{remote.pk}/keep", {"keep": "on"}).status_code == 403
        remote.refresh_from_db()
        assert not remote.keeps_results

    def test_a_collection_without_an_account_has_nothing_to_copy(
        self, as_adam: Client, laptops: Collection
    ) -> None:
        response = as_adam.post("/collections/101/keep", {"keep": "on"})
        assert response.status_code == 404
        assert not Collection.objects.get().keeps_results


class TestNotice:
    def test_nothing_for_a_collection_without_an_account(self, as_adam: Client, laptops: Collection) -> None:
        assert keeping(download(as_adam, laptops)) == ""

    def test_files_are_at_the_account(self, as_adam: Client, remote: Collection) -> None:
        make_remote_run(remote)
        response = download(as_adam, remote)
        assert keeping(response) == (
            "Results come from the account “MultiCartAPI”. Files are fetched when you download them. "
            "Copy results here"
        )
        assert progress(response) == []

    def test_the_progress_of_copying(self, as_adam: Client, remote: Collection) -> None:
        Collection.objects.update(keeps_results=True)
        for number in (1, 2, 3):
            make_remote_run(remote, number)
        make_remote_run(remote, 4, ready=False)
        Run.objects.filter(number=1).update(is_kept=True)
        response = download(as_adam, remote)
        assert keeping(response) == (
            "Results come from the account “MultiCartAPI”. 1 of 3 completed runs copied here. Stop copying"
        )
        assert progress(response) == [("1", "3")]

    def test_everything_is_copied(self, as_adam: Client, remote: Collection) -> None:
        Collection.objects.update(keeps_results=True)
        make_remote_run(remote)
        Run.objects.update(is_kept=True)
        response = download(as_adam, remote)
        assert "All completed runs are copied here." in keeping(response)
        assert progress(response) == []

    def test_older_runs_are_not_listed_yet(self, as_adam: Client, remote: Collection) -> None:
        Collection.objects.update(keeps_results=True, has_older_runs=True)
        make_remote_run(remote)
        Run.objects.update(is_kept=True)
        assert "1 of 1 completed run copied here." in keeping(download(as_adam, remote))

    def test_a_disconnected_account_copies_nothing_more(
        self, as_adam: Client, account: Account, remote: Collection
    ) -> None:
        Collection.objects.update(keeps_results=True)
        make_remote_run(remote)
        account.set_key("")
        account.save()
        said = keeping(download(as_adam, remote))
        paused = "Copying is paused while the account is disconnected."
        assert f"0 of 1 completed run copied here. {paused}" in said

    def test_an_archived_collection_copies_nothing_more(self, as_adam: Client, remote: Collection) -> None:
        Collection.objects.update(keeps_results=True)
        remote.archive()
        make_remote_run(remote)
        said = keeping(download(as_adam, remote))
        assert "Copying is paused while the collection is archived." in said

    def test_a_member_sees_no_button(self, as_bob: Client, remote: Collection) -> None:
        response = download(as_bob, remote)
        assert keeping(response).startswith("Results come from the account “MultiCartAPI”.")
        assert "Copy results here" not in response.content.decode()

    def test_it_costs_the_same_number_of_queries_for_any_number_of_runs(
        self,
        as_bob: Client,
        remote: Collection,
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        Collection.objects.update(keeps_results=True)
        for number in range(1, 20):
            make_remote_run(remote, number)
        collection = Collection.objects.get()
        with django_assert_num_queries(3):
            found = keeping_of(collection)
        assert found
        assert found.ready == 19


class TestDeletingARun:
    @pytest.mark.parametrize("method", ["get", "post"])
    def test_a_run_of_an_account_is_not_deleted(
        self, as_adam: Client, remote: Collection, method: str
    ) -> None:
        make_remote_run(remote)
        response = getattr(as_adam, method)(f"/collections/{remote.pk}/runs/88/delete", follow=True)
        assert (
            "Run 88 can&#x27;t be deleted here. "
            "It belongs to the account “MultiCartAPI”, which would list it again."
        ) in response.content.decode()
        assert Run.objects.exists()

    def test_no_page_links_to_it(self, as_adam: Client, remote: Collection) -> None:
        make_remote_run(remote)
        assert "Delete&hellip;" not in download(as_adam, remote).content.decode()
