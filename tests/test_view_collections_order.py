"""The sort orders of the list of collections."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from collections_app.models import Collection, Run, Team, User
from collections_app.models.conditions import acknowledge
from collections_app.models.expectations import pause
from collections_app.views.collections import order as orders
from collections_app.views.collections.order import ORDERS
from tests.support.html import links, rows
from tests.support.results import make_failed_run, make_processing_run, make_ready_run
from tests.support.tools import all_or_few, all_or_some

ADDRESS = "/collections/"
NOON = datetime(2026, 6, 20, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def some(crawlers: Team) -> None:
    """Collections A to F. All but D and F have runs."""
    created = {name: Collection.objects.create(team=crawlers, name=name) for name in "FEDCBA"}
    make_ready_run(created["A"], at=NOON)
    make_failed_run(created["A"], at=NOON - timedelta(days=1))
    make_failed_run(created["B"], at=NOON + timedelta(hours=1))
    make_ready_run(created["C"], at=NOON)
    make_processing_run(created["E"], at=NOON - timedelta(hours=1))


def names(client: Client, address: str = ADDRESS, **asked: str) -> list[str]:
    return [row[1] for row in rows(client.get(address, asked))]


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ("", "ABCDEF"),
        ("name", "ABCDEF"),
        ("nonsense", "ABCDEF"),
        ("recent", "BCAEFD"),  # equal times, and none, in order of creation
        ("id", "FEDCBA"),
        ("state", "BACDEF"),
        ("records", "CAFEDB"),
    ],
)
def test_the_orders(as_bob: Client, order: str, found: str) -> None:
    assert names(as_bob, sort=order) == list(found)


@pytest.mark.parametrize("shown", all_or_few([1, 2, 4], 2))
@pytest.mark.parametrize("order", all_or_some(ORDERS, 3))
def test_loading_more_keeps_the_order(
    as_bob: Client, order: str, shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = names(as_bob, sort=order)
    monkeypatch.setattr(orders, "PAGE_SIZE", shown)
    seen, address = [], f"{ADDRESS}?sort={order}"
    while address:
        response = as_bob.get(address)
        seen += [row[1] for row in rows(response)]
        address = links(response).get("Load more", "")
    assert seen == everything


@pytest.mark.parametrize("order", ["id", "recent", "records", "state"])
def test_a_search_keeps_the_order(as_bob: Client, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "PAGE_SIZE", 1)
    Collection.objects.create(team=Team.objects.get(), name="Another A")
    response = as_bob.get(ADDRESS, {"q": "a", "sort": order})
    assert [row[1] for row in rows(response)] == ["A"]
    assert names(as_bob, links(response)["Load more"]) == ["Another A"]
    assert f'<option value="{order}" selected>' in response.content.decode()


@pytest.mark.parametrize("order", list(ORDERS))
def test_an_invalid_sort_key_is_refused(as_bob: Client, order: str) -> None:
    for key in ("x", "1", "_", "1_x_", "1_9_a", "-1_2", "1_\0"):
        response = as_bob.get(ADDRESS, {"sort": order, "after": key})
        valid = {"name": {"1_x_", "1_9_a"}, "state": {"1_9_a"}, "id": {"1"}}.get(order, set())
        assert response.status_code == (200 if key in valid else 400), key


def test_a_sort_key_beyond_all_times(as_bob: Client) -> None:
    assert as_bob.get(ADDRESS, {"sort": "recent", "after": "1_" + "9" * 17}).status_code == 200


def test_the_most_urgent_problems_come_first(as_bob: Client, crawlers: Team, bob: User) -> None:
    """As on the Overview: a stalled run has failed, and acknowledged problems follow new ones."""
    named = {each.name: each for each in crawlers.collections.all()}
    run = make_processing_run(named["F"])
    Run.objects.filter(pk=run.pk).update(stalls_at=run.created_at)
    Collection.objects.filter(name="C").update(expected_at=NOON, late_at=NOON)
    acknowledge(named["B"], by=bob, note="Known.", until=timezone.localdate() + timedelta(days=9))
    pause(named["A"], by=bob)
    assert names(as_bob, sort="state") == list("FCBDEA")
