"""/api/v1/events: what happened, for scripts."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from collections_app.events.payload import payload
from collections_app.events.record import record
from collections_app.models import Collection, Event, EventKind, Run
from tests.support.openapi import api_error, check_schema
from tests.support.upstream import NOON

pytestmark = pytest.mark.django_db

Fetch = Callable[..., dict[str, Any]]
FAILED = EventKind.RUN_FAILED


@pytest.fixture
def fetch(client: Client, bobs_key: str) -> Fetch:
    """Return the events at an address, with Bob's key."""

    def fetched(query: str = "", key: str = bobs_key) -> dict[str, Any]:
        address = query if query.startswith("/") else f"/api/v1/events{query}"
        response = client.get(address, headers={"x-api-key": key})
        found: dict[str, Any] = response.json()
        check_schema("EventList", found)
        return found

    return fetched


def happen(collection: Collection, times: int) -> None:
    for _ in range(times):
        record(FAILED, collection=collection, in_feed=True)


def test_an_event_tells_what_happened_to_which_run(fetch: Fetch, laptops: Collection) -> None:
    run = Run.objects.create(collection=laptops, number=88, file_count=1, state="ready")
    counts = {"extracted": 231, "total": 250}
    event = record(EventKind.RUN_INCOMPLETE, run=run, data={"counts": counts}, in_feed=True)
    Event.objects.update(at=NOON)
    assert fetch() == {
        "events": [
            {
                "type": "run.incomplete",
                "id": event.uid,
                "sequence": 1,
                "time": "2026-06-20T12:00:00Z",
                "team": laptops.team_id,
                "collection": {"id": 101, "name": "AU Laptops"},
                "run": 88,
                "counts": counts,
                "manifest": "http://testserver/api/v1/collections/101/runs/88/manifest.json",
                "account": "",
                "reason": "",
            }
        ],
        "newest": 1,
        "next": None,
    }


def test_an_event_of_an_account_names_it_and_the_reason(fetch: Fetch, laptops: Collection) -> None:
    data = {"account": 1, "reason": "No answer."}
    kind = EventKind.ACCOUNT_UNAVAILABLE
    record(kind, team_id=laptops.team_id, target="MultiCartAPI", data=data, in_feed=True)
    (event,) = fetch()["events"]
    assert (event["collection"], event["account"], event["reason"]) == (None, "MultiCartAPI", "No answer.")


def test_next_leads_to_all_events_and_the_newest_is_known(fetch: Fetch, laptops: Collection) -> None:
    happen(laptops, 5)
    found, address = [], "?limit=2"
    while address:
        page = fetch(address)
        assert page["newest"] == 5
        found += [event["sequence"] for event in page["events"]]
        address = (page["next"] or "").removeprefix("http://testserver")
    assert found == [1, 2, 3, 4, 5]
    assert fetch("?after=4")["events"][0]["sequence"] == 5
    assert fetch("?after=5") == {"events": [], "newest": 5, "next": None}


def test_only_the_feed_of_the_own_team_is_listed(fetch: Fetch, laptops: Collection, carols_key: str) -> None:
    record(EventKind.COLLECTION_PAUSED, collection=laptops)
    assert fetch() == {"events": [], "newest": 0, "next": None}
    happen(laptops, 1)
    assert fetch(key=carols_key) == {"events": [], "newest": 0, "next": None}


def test_events_outlive_the_run_and_the_collection(fetch: Fetch, laptops: Collection) -> None:
    happen(laptops, 1)
    laptops.delete()
    assert fetch()["events"][0]["collection"] == {"id": 101, "name": "AU Laptops"}


def test_the_number_of_queries_is_constant(
    fetch: Fetch, laptops: Collection, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    fetch()  # records when the key was used
    for _ in range(2):
        happen(laptops, 3)
        with django_assert_num_queries(3):
            fetch()


@pytest.mark.parametrize("query", ["after=x", "after=-1", "limit=0", "limit=1001", "after=1&after=2"])
def test_other_parameters_are_refused(client: Client, bobs_key: str, query: str) -> None:
    response = client.get(f"/api/v1/events?{query}", headers={"x-api-key": bobs_key})
    assert api_error(response)[0] == 400


def test_the_longest_event_has_less_than_4_kb(laptops: Collection, settings: Settings) -> None:
    settings.PUBLIC_URL = "https://" + "a" * 253
    laptops.name = "🙂" * 200
    reason, counts = "🙂" * 1_000, dict.fromkeys(EventKind.values[:12], 2**63)
    run = Run(collection=laptops, number=2**63 - 1)
    longest = [
        record(EventKind.RUN_BROKEN, run=run, data={"reason": reason, "counts": counts}),
        record(FAILED, team_id=2**63 - 1, target="🙂" * 300, data={"reason": reason}),
    ]
    for event in longest:
        assert len(json.dumps(payload(event), ensure_ascii=False).encode()) < 4096
