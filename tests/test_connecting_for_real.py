"""Connecting an account, and adding a collection of it, over real HTTP: the vendor is another such site."""

from django.test import Client
from pytest_django import Settings

from collections_app.models import Account, Collection, Kind
from tests.support.server import DemoServer


def test_an_account_of_another_instance_is_connected_and_its_collection_added(
    as_adam: Client, demo_server: DemoServer, settings: Settings
) -> None:
    settings.UPSTREAM_ORIGINS = [demo_server.url]
    account = {"name": "Next door", "base_url": f"{demo_server.url}/api/v1"}
    refused = as_adam.post("/team/accounts/connect", account | {"key": "a.wrong.key"})
    assert "rejected the API key" in refused.content.decode()
    assert not Account.objects.exists()

    connected = as_adam.post("/team/accounts/connect", account | {"key": demo_server.api_key}, follow=True)
    assert "Connected “Next door”." in connected.content.decode()

    collection = {"account": Account.objects.get().pk}
    unknown = as_adam.post("/collections/connect", collection | {"remote_ids": 999_999})
    assert unknown.status_code == 200
    assert not Collection.objects.exists()

    added = as_adam.post("/collections/connect", collection | {"remote_ids": 101})
    made = Collection.objects.get()
    assert added["Location"] == f"/collections/{made.pk}/download"
    assert (made.account, made.remote_id) == (Account.objects.get(), 101)
    assert (made.name, made.kind) == ("AU Laptops", Kind.AMAZON)
