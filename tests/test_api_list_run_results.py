"""List the runs of a collection: POST /api/v1/schedules/collections/results/download/."""

import io
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries, Settings

from collections_app.api import list_runs, refresh
from collections_app.models import ApiKey, Collection, Kind, Membership, Run, Team, User
from collections_app.people.access import NOT_YOURS
from collections_app.sources import SourceBusy, SourceUnavailable, sync
from collections_app.sources.sync import LIMIT
from collections_app.sources.upstream.runs import Listing
from tests.support import responses, tools
from tests.support.openapi import check_schema
from tests.support.results import (
    in_order,
    make_failed_run,
    make_many_pages,
    make_processing_run,
    make_ready_run,
    make_run_of_pages,
    records,
)
from tests.support.tools import all_or_few, all_or_some
from tests.support.upstream import NOON, ListedRuns, lists, make_account, make_remote_collection, remote_run

ADDRESS = "/api/v1/schedules/collections/results/download/"
GOLDEN = Path(__file__).parent / "golden" / "list_run_results.json"
NOT_JSON = (400, 'The request body is not valid JSON. Send an object such as {"collection_id": 101}.')

pytestmark = pytest.mark.django_db(transaction=True)

Call = Callable[..., dict[str, Any]]


@pytest.fixture
def call(client: Client, bobs_key: str) -> Call:
    """Call as Bob and return the envelope. Check that the response is HTTP 200 and as documented."""

    def called(body: object, key: str = bobs_key, **options: Any) -> dict[str, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = client.post(
            ADDRESS, data, content_type="application/json", headers={"x-api-key": key}, **options
        )
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/json"
        envelope: dict[str, Any] = json.loads(response.content)
        check_schema("RunList" if envelope["code"] == 200 else "Error", envelope)
        return envelope

    return called


def listed(envelope: dict[str, Any]) -> list[dict[str, Any]]:
    assert (envelope["code"], envelope["status"]) == (200, 1)
    runs: list[dict[str, Any]] = envelope["data"]
    return runs


def error(envelope: dict[str, Any]) -> tuple[int, str]:
    assert list(envelope) == ["code", "data", "status"]
    assert envelope["status"] == 0
    return envelope["code"], envelope["data"]


# --- the list -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("results_folder")  # an S3 server refuses what is signed at another time
def test_run_88_is_the_vendors_example(call: Call, laptops: Collection) -> None:
    laptops.last_run_number = 87
    laptops.save()
    with time_machine.travel(datetime(2026, 6, 20, 12, 5, tzinfo=UTC), tick=False):
        run = make_ready_run(laptops, records(250))
        run.created_at = datetime(2026, 6, 20, 12, 0, tzinfo=UTC)
        run.save()
    expected = GOLDEN.read_text().replace("https://multicartapi.com", "http://testserver")
    response = call({"collection_id": 101, "skip": 0, "limit": 5})
    assert in_order(response) == in_order(json.loads(expected))


def test_the_newest_run_comes_first(call: Call, laptops: Collection) -> None:
    numbers = [make_ready_run(laptops).number for _ in range(3)]
    assert [run["id"] for run in listed(call({"collection_id": 101}))] == numbers[::-1]


def test_skip_and_limit(call: Call, laptops: Collection) -> None:
    for _ in range(5):
        make_processing_run(laptops)
    assert [run["id"] for run in listed(call({"collection_id": 101, "skip": 1, "limit": 2}))] == [4, 3]


class TestWithState:
    def test_it_adds_the_state_and_the_reason_after_the_other_fields(
        self, call: Call, laptops: Collection
    ) -> None:
        make_ready_run(laptops, records(4))
        make_failed_run(laptops, "The shop blocked the scraper.")
        make_processing_run(laptops)
        plain = listed(call({"collection_id": 101}))
        runs = listed(call({"collection_id": 101, "with_state": True}))
        assert [(run["state"], run["failure_reason"]) for run in runs] == [
            ("processing", ""),
            ("failed", "The shop blocked the scraper."),
            ("completed", ""),
        ]
        assert [list(run)[:-2] for run in runs] == [list(run) for run in plain]
        assert [list(run)[-2:] for run in runs] == 3 * [["state", "failure_reason"]]

    @pytest.mark.parametrize(
        ("fields", "state"),
        [({"total": 5}, "incomplete"), ({"extracted": 0}, "empty"), ({"extracted": None}, "completed")],
    )
    def test_a_run_that_lacks_records(
        self, call: Call, laptops: Collection, fields: dict[str, Any], state: str
    ) -> None:
        make_ready_run(laptops, records(4))
        Run.objects.update(**fields)
        (run,) = listed(call({"collection_id": 101, "with_state": True}))
        assert run["state"] == state

    def test_a_run_without_progress(self, call: Call, laptops: Collection) -> None:
        make_processing_run(laptops)
        Run.objects.update(stalls_at=NOON)
        (run,) = listed(call({"collection_id": 101, "with_state": True}))
        assert run["state"] == "stalled"

    @pytest.mark.parametrize("with_state", [1, "true", None, []])
    def test_it_is_a_boolean(self, call: Call, laptops: Collection, with_state: object) -> None:
        assert error(call({"collection_id": 101, "with_state": with_state})) == (
            400,
            "with_state must be true or false.",
        )

    def test_without_it_the_response_is_the_same(self, call: Call, laptops: Collection) -> None:
        make_ready_run(laptops)
        assert in_order(call({"collection_id": 101, "with_state": False})) == in_order(
            call({"collection_id": 101})
        )


def test_the_default_limit_is_50(call: Call, laptops: Collection) -> None:
    for _ in range(51):
        Run.objects.create_next(laptops)
    assert [run["id"] for run in listed(call({"collection_id": 101}))] == list(range(51, 1, -1))


def test_before_pages_without_repeats_while_a_run_arrives(call: Call, laptops: Collection) -> None:
    for _ in range(5):
        make_ready_run(laptops)
    first = listed(call({"collection_id": 101, "limit": 2}))
    make_ready_run(laptops)
    second = listed(call({"collection_id": 101, "limit": 2, "before": first[-1]["id"]}))
    assert [run["id"] for run in first + second] == [5, 4, 3, 2]


def test_before_lists_the_same_objects_as_skip(call: Call, laptops: Collection) -> None:
    for _ in range(3):
        make_ready_run(laptops)
    skipped = call({"collection_id": 101, "skip": 1, "limit": 1})
    assert in_order(call({"collection_id": 101, "before": 3, "limit": 1})) == in_order(skipped)


@pytest.mark.parametrize(
    ("before", "expected"),
    [(6, [5, 3, 2]), (4, [3, 2]), (2**63 - 1, [5, 3, 2]), (2, []), (1, []), (0, [])],
)
def test_an_unknown_or_deleted_run_pages_from_where_it_would_be(
    call: Call, laptops: Collection, before: int, expected: list[int]
) -> None:
    for _ in range(5):
        make_ready_run(laptops)
    laptops.runs.filter(number__in=[1, 4]).delete()
    found = listed(call({"collection_id": 101, "before": before}))
    assert [run["id"] for run in found] == expected


def test_before_follows_the_order_of_the_list(call: Call, laptops: Collection) -> None:
    """Run 1 was created last, and runs 2 and 3 at the same time."""
    for hour in (2, 1, 1, 0):
        make_ready_run(laptops, at=NOON + timedelta(hours=hour))
    found = [1]
    while page := listed(call({"collection_id": 101, "before": found[-1], "limit": 1})):
        found.append(page[0]["id"])
    assert found == [1, 3, 2, 4]


def test_before_sees_only_runs_of_the_collection(
    call: Call, laptops: Collection, headphones: Collection
) -> None:
    make_ready_run(headphones)
    make_ready_run(laptops)
    assert listed(call({"collection_id": 101, "before": 1})) == []


@pytest.mark.parametrize("skip", [0, 1, None])
def test_before_and_skip_cannot_be_combined(call: Call, laptops: Collection, skip: object) -> None:
    assert error(call({"collection_id": 101, "before": 1, "skip": skip})) == (
        400,
        "before and skip can't be combined. Send only one of them.",
    )


def test_before_takes_one_more_query(
    call: Call, laptops: Collection, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_many_pages(laptops, 30)
    call({"collection_id": 101})  # updates the key's last use
    for limit in (1, 20):
        with django_assert_num_queries(5):
            assert len(listed(call({"collection_id": 101, "before": 25, "limit": limit}))) == limit


@pytest.mark.parametrize("skip", [2, 2**31, 2**63 - 1])
def test_skipping_all_runs_returns_an_empty_list(call: Call, laptops: Collection, skip: int) -> None:
    make_ready_run(laptops)
    assert listed(call({"collection_id": 101, "skip": skip, "limit": 1000})) == []


def test_a_collection_without_runs_returns_an_empty_list(call: Call, laptops: Collection) -> None:
    assert listed(call({"collection_id": 101})) == []


def test_runs_of_an_archived_collection_are_listed(call: Call, laptops: Collection) -> None:
    make_ready_run(laptops)
    laptops.archive()
    assert len(listed(call({"collection_id": 101}))) == 1


def test_a_processing_run_has_no_links(call: Call, laptops: Collection) -> None:
    make_processing_run(laptops, records(3), page_size=2)
    (run,) = listed(call({"collection_id": 101}))
    assert run["is_download_generated"] is False
    assert run["download_links"] == {"pages": [], "all_pages": None}


@pytest.mark.parametrize("kind", [Kind.AMAZON, Kind.AMAZON_CATEGORY])
def test_a_failed_run_has_no_links(call: Call, laptops: Collection, kind: Kind) -> None:
    Collection.objects.update(kind=kind)
    laptops.refresh_from_db()
    make_failed_run(laptops)
    (run,) = listed(call({"collection_id": 101}))
    assert run["is_download_generated"] is False
    assert run["download_links"] == {"pages": [], "all_pages": None}


def test_pages_are_linked_in_order(call: Call, laptops: Collection) -> None:
    make_ready_run(laptops, records(12), page_size=1)
    (run,) = listed(call({"collection_id": 101}))
    assert run["download_links"]["pages"] == [
        f"http://testserver/api/v1/results/101/1/AU Laptops_1_Results_Page_{page}.json"
        for page in range(1, 13)
    ]


def test_a_run_without_records_has_one_page(call: Call, laptops: Collection) -> None:
    make_ready_run(laptops, [])
    (run,) = listed(call({"collection_id": 101}))
    assert run["total_exacted_result"] == 0
    assert len(run["download_links"]["pages"]) == 1


def test_a_category_run_has_links_to_the_list_and_the_csv(call: Call, headphones: Collection) -> None:
    make_ready_run(headphones)
    (run,) = listed(call({"collection_id": headphones.pk}))
    folder = f"http://testserver/api/v1/results/{headphones.pk}/1"
    assert in_order(run["download_links"]) == [
        ("pages", [f"{folder}/category_asins.json"]),
        ("all_pages", None),
        ("csv", f"{folder}/category_asins.csv"),
    ]


def test_file_names_are_not_encoded(client: Client, bobs_key: str, laptops: Collection) -> None:
    make_run_of_pages(laptops, {"Größe 😀 列.json": b"[]"})
    response = client.post(
        ADDRESS, b'{"collection_id": 101}', content_type="application/json", headers={"x-api-key": bobs_key}
    )
    assert "/1/Größe 😀 列.json" in response.content.decode()


def test_the_json_equals_that_of_the_standard_library(
    client: Client, laptops: Collection, bobs_key: str
) -> None:
    run = make_run_of_pages(laptops, {f"{number}.json": b"[]" for number in range(3)})
    letters = "".join(map(chr, range(1, 0x250))) + "\u2028\u2029\u202e\ufeff\ufffe\U0001f600\U0010ffff"
    for index, page in enumerate(run.files.filter(kind="page").order_by("position")):
        run.files.filter(pk=page.pk).update(name=letters[index * 250 :][:250])
    assert len(letters) < 3 * 250
    response = client.post(
        ADDRESS, b'{"collection_id": 101}', content_type="application/json", headers={"x-api-key": bobs_key}
    )
    text = json.dumps(response.json(), ensure_ascii=False, separators=(",", ":"))
    assert response.content == text.encode()


def test_the_number_of_queries_does_not_depend_on_the_number_of_runs(
    client: Client, laptops: Collection, bobs_key: str
) -> None:
    make_many_pages(laptops, 30)
    for limit in (1, 30):
        call = {"collection_id": 101, "limit": limit}
        client.post(ADDRESS, call, content_type="application/json", headers={"x-api-key": bobs_key})
        with CaptureQueriesContext(connection) as queries:
            response = client.post(
                ADDRESS, call, content_type="application/json", headers={"x-api-key": bobs_key}
            )
        assert [len(run["download_links"]["pages"]) for run in response.json()["data"]] == [40] * limit
        assert len(queries) == 4
        assert not [query for query in queries if "COUNT(" in query["sql"].upper()]


def test_links_work_for_all_file_names(
    client: Client, call: Call, laptops: Collection, bobs_key: str
) -> None:
    make_run_of_pages(laptops, {"100% of #1, 50%25 & more; a+b=c.json": b"[]"})
    (run,) = listed(call({"collection_id": 101}))
    assert run["download_links"]["pages"] == [
        "http://testserver/api/v1/results/101/1/100%25 of %231, 50%2525 & more; a+b=c.json"
    ]
    response = client.get(run["download_links"]["pages"][0], headers={"x-api-key": bobs_key})
    assert responses.content(response) == b"[]"


def test_links_start_with_the_public_url(call: Call, laptops: Collection, settings: Settings) -> None:
    settings.PUBLIC_URL = "https://results.example.com"
    make_ready_run(laptops)
    (run,) = listed(call({"collection_id": 101}))
    assert run["download_links"]["all_pages"] == (
        "https://results.example.com/api/v1/results/101/1/AU Laptops_1_Results_All_Pages.zip"
    )


@pytest.mark.parametrize("count", [10, 50])
def test_10_and_50_runs_take_4_queries(
    call: Call, laptops: Collection, count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_many_pages(laptops, count, pages=7)
    call({"collection_id": 101})  # updates the key's last use
    with django_assert_num_queries(4):
        runs = listed(call({"collection_id": 101, "limit": 1000}))
    assert [len(run["download_links"]["pages"]) for run in runs] == [7] * count


def test_unknown_fields_are_ignored(call: Call, laptops: Collection) -> None:
    assert listed(call({"collection_id": 101, "verbose": {"yes": [None]}})) == []


def test_the_content_type_is_ignored(client: Client, laptops: Collection, bobs_key: str) -> None:
    response = client.post(
        ADDRESS,
        b'{"collection_id": 101}',
        content_type="application/x-www-form-urlencoded",
        headers={"x-api-key": bobs_key},
    )
    assert response.json() == {"code": 200, "data": [], "status": 1}


# --- runs of a MultiCartAPI account ---------------------------------------------------------------


@pytest.fixture
def connected(crawlers: Team) -> Collection:
    return make_remote_collection(make_account(crawlers))


@pytest.fixture
def listed_there(monkeypatch: pytest.MonkeyPatch) -> ListedRuns:
    """The runs that the account lists."""
    return lists(monkeypatch)


def test_a_run_of_an_account_is_the_vendors_example_with_links_to_this_site(
    call: Call, crawlers: Team, listed_there: ListedRuns
) -> None:
    collection = make_remote_collection(make_account(crawlers))
    listed_there.runs = [remote_run(88, at=datetime(2026, 6, 20, 12, tzinfo=UTC))]
    expected = (
        GOLDEN.read_text()
        .replace("https://multicartapi.com", "http://testserver")
        .replace("/101/", f"/{collection.pk}/")
        .replace(": 101", f": {collection.pk}")
    )
    response = call({"collection_id": collection.pk, "skip": 0, "limit": 5})
    assert in_order(response) == in_order(json.loads(expected))


def test_unreported_counts_are_null(call: Call, connected: Collection, listed_there: ListedRuns) -> None:
    listed_there.runs = [replace(remote_run(1), extracted=None, total=None)]
    (run,) = listed(call({"collection_id": connected.pk}))
    assert (run["total_exacted_result"], run["total_results"]) == (None, None)


def test_a_category_run_of_an_account_has_links_to_the_list_and_the_csv(
    call: Call, crawlers: Team, listed_there: ListedRuns
) -> None:
    collection = make_remote_collection(make_account(crawlers), kind=Kind.AMAZON_CATEGORY)
    listed_there.runs = [remote_run(1, category=True)]
    (run,) = listed(call({"collection_id": collection.pk}))
    folder = f"http://testserver/api/v1/results/{collection.pk}/1"
    assert in_order(run["download_links"]) == [
        ("pages", [f"{folder}/category_asins.json"]),
        ("all_pages", None),
        ("csv", f"{folder}/category_asins.csv"),
    ]


@pytest.mark.parametrize(
    ("skip", "limit"),
    all_or_few([(0, 50), (0, 200), (60, 10), (190, 50), (300, 5)], (60, 10), (300, 5)),
)
def test_skip_and_limit_reach_all_runs_of_an_account(
    call: Call, connected: Collection, listed_there: ListedRuns, skip: int, limit: int
) -> None:
    listed_there.runs = [remote_run(number) for number in range(1, 201)]
    found = listed(call({"collection_id": connected.pk, "skip": skip, "limit": limit}))
    assert [run["id"] for run in found] == list(range(200, 0, -1))[skip : skip + limit]


@pytest.mark.parametrize(("before", "limit"), [(201, 50), (150, 100), (5, 50), (1000, 1000)])
def test_before_reaches_all_runs_of_an_account(
    call: Call, connected: Collection, listed_there: ListedRuns, before: int, limit: int
) -> None:
    listed_there.runs = [remote_run(number) for number in range(1, 201)]
    found = listed(call({"collection_id": connected.pk, "before": before, "limit": limit}))
    older = [number for number in range(200, 0, -1) if number < before]
    assert [run["id"] for run in found] == older[:limit]


def test_known_runs_are_listed_if_the_account_does_not_respond(
    call: Call, connected: Collection, listed_there: ListedRuns
) -> None:
    listed_there.runs = [remote_run(1)]
    listed(call({"collection_id": connected.pk}))
    Collection.objects.update(refresh_tried_at=None)
    listed_there.problem = SourceUnavailable("MultiCartAPI is not responding.")
    assert [run["id"] for run in listed(call({"collection_id": connected.pk}))] == [1]


def test_an_account_that_never_responded_is_an_error(
    call: Call, connected: Collection, listed_there: ListedRuns
) -> None:
    listed_there.problem = SourceUnavailable("MultiCartAPI is not responding.")
    assert error(call({"collection_id": connected.pk})) == (502, "MultiCartAPI is not responding.")


def test_a_busy_account_is_503_with_retry_after(
    client: Client, bobs_key: str, connected: Collection, listed_there: ListedRuns
) -> None:
    reason = "The account “Main” is receiving too many requests. Try again in 30 seconds."
    listed_there.problem = SourceBusy(reason, 30)
    with time_machine.travel(NOON, tick=False):
        responses = [
            client.post(
                ADDRESS,
                json.dumps({"collection_id": connected.pk}),
                content_type="application/json",
                headers={"x-api-key": bobs_key},
            )
            for _ in range(2)
        ]
    for response in responses:
        assert response.status_code == 200
        assert error(response.json()) == (503, reason)
        assert response.headers["Retry-After"] == "30"
    assert len(listed_there.calls) == 1


def test_an_account_that_is_slow_to_send_the_first_list_is_504(
    call: Call, connected: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    def late(collection: Collection, **part: float) -> Listing:
        assert answered.wait(tools.PATIENCE)
        return Listing([])

    monkeypatch.setattr(sync, "list_runs", late)
    monkeypatch.setattr(refresh, "LISTING_DEADLINE", timedelta())
    assert error(call({"collection_id": connected.pk})) == (504, "MultiCartAPI is slow to respond.")
    answered.set()
    for thread in threading.enumerate():
        if thread.name == "list-runs":
            thread.join(tools.PATIENCE)


def test_loading_older_runs_has_a_time_limit(
    call: Call, connected: Collection, listed_there: ListedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed_there.runs = [remote_run(number) for number in range(1, 201)]
    monkeypatch.setattr(refresh, "LISTING_DEADLINE", timedelta())
    assert len(listed(call({"collection_id": connected.pk, "limit": 1000}))) == LIMIT - 1


def test_invalid_calls_do_not_reach_the_account(
    call: Call, connected: Collection, listed_there: ListedRuns, carols_key: str
) -> None:
    assert error(call({"collection_id": connected.pk}, key=carols_key)) == (403, NOT_YOURS)
    assert error(call({"collection_id": connected.pk, "skip": -1}))[0] == 400
    assert listed_there.calls == []


# --- permissions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "nonsense", "a.b", "ä" * 20, "k" * 5000, "\0", "a,b"])
def test_an_unknown_key_is_rejected(call: Call, laptops: Collection, key: str) -> None:
    assert error(call({"collection_id": 101}, key=key))[0] == 401


def test_a_missing_key_is_rejected(client: Client, laptops: Collection) -> None:
    response = client.post(ADDRESS, b'{"collection_id": 101}', content_type="application/json")
    assert response.json() == {
        "code": 401,
        "data": "The API key is missing. Send one of these headers: x-api-key: KEY, "
        "Authorization: Bearer KEY, or Authorization: Token KEY.",
        "status": 0,
    }


def test_a_revoked_key_is_rejected(call: Call, laptops: Collection) -> None:
    ApiKey.objects.get().revoke()
    assert error(call({"collection_id": 101}))[0] == 401


def test_the_key_of_a_removed_member_is_rejected(call: Call, laptops: Collection, bob: User) -> None:
    bob.memberships.get().remove()
    assert error(call({"collection_id": 101}))[0] == 401


def test_the_key_of_an_inactive_user_is_rejected(call: Call, laptops: Collection, bob: User) -> None:
    bob.is_active = False
    bob.save()
    assert error(call({"collection_id": 101}))[0] == 401


def test_a_key_is_valid_for_one_team(
    call: Call, laptops: Collection, secret_plans: Collection, bob: User, strangers: Team
) -> None:
    Membership.objects.create(user=bob, team=strangers)
    assert error(call({"collection_id": secret_plans.pk}))[0] == 403


def test_collections_of_other_teams_look_like_unknown_ones(
    call: Call, laptops: Collection, secret_plans: Collection
) -> None:
    assert error(call({"collection_id": secret_plans.pk})) == (403, NOT_YOURS)
    assert error(call({"collection_id": 999_999})) == (403, NOT_YOURS)
    assert error(call({"collection_id": 2**63 - 1})) == (403, NOT_YOURS)


def test_a_session_does_not_replace_the_key(as_alice: Client, laptops: Collection) -> None:
    response = as_alice.post(ADDRESS, b'{"collection_id": 101}', content_type="application/json")
    assert response.json()["code"] == 401


def test_the_last_use_of_a_key_is_saved_every_five_minutes(call: Call, laptops: Collection) -> None:
    with time_machine.travel(datetime(2026, 6, 20, tzinfo=UTC), tick=False) as now:
        call({"collection_id": 101})
        first = ApiKey.objects.get().last_used_at
        assert first == datetime(2026, 6, 20, tzinfo=UTC)
        now.shift(299)
        call({"collection_id": 101})
        assert ApiKey.objects.get().last_used_at == first
        now.shift(1)
        call({"collection_id": 101})
        assert ApiKey.objects.get().last_used_at == datetime(2026, 6, 20, 0, 5, tzinfo=UTC)


# --- the body -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    all_or_some([None, True, False, "101", 101.0, 1e400, [101], {"id": 101}, "", "\u0661"], 4),
    ids=ascii,
)
@pytest.mark.parametrize("field", ["collection_id", "skip", "limit", "before"])
def test_fields_must_be_integers(call: Call, laptops: Collection, field: str, value: object) -> None:
    body = json.dumps({"collection_id": 101} | {field: value}).replace("Infinity", "1e400")
    assert error(call(body.encode())) == (400, f"{field} must be an integer.")


@pytest.mark.parametrize(
    ("field", "number"),
    [
        ("collection_id", "-1"),
        ("collection_id", str(2**63)),
        ("collection_id", "9" * 5000),
        ("skip", "-1"),
        ("skip", str(2**63)),
        ("before", "-1"),
        ("before", str(2**63)),
        ("limit", "0"),
        ("limit", "-" + "9" * 5000),
        ("limit", "1001"),
        ("limit", str(2**64)),
    ],
    ids=lambda text: text[:20],
)
def test_numbers_out_of_bounds_are_rejected(call: Call, laptops: Collection, field: str, number: str) -> None:
    others = "" if field == "collection_id" else '"collection_id": 101, '
    code, reason = error(call(f'{{{others}"{field}": {number}}}'.encode()))
    assert code == 400
    assert reason.startswith(f"{field} must be between ")


def test_a_missing_field_is_named(call: Call) -> None:
    assert error(call({"skip": 0})) == (400, "collection_id is required. Send it in the request body.")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"collection_id=101",
        b'{"collection_id": NaN}',
        b'{"collection_id": -Infinity}',
        b'{"collection_id": 0101}',
        b'{"collection_id": 101,}',
        b'{"collection_id": 101} {}',
        b'\xff\xfe{"collection_id": 101}',
        '{"collection_id": 101}'.encode("utf-16"),
        b'{"name": "\xff", "collection_id": 101}',
        b'{"name": "\xed\xa0\x80", "collection_id": 101}',
        b'\xef\xbb\xbf{"collection_id": 101}',
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"\0",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_invalid_json_is_rejected(call: Call, body: bytes) -> None:
    assert error(call(body)) == NOT_JSON


@pytest.mark.parametrize("body", [b"[]", b"101", b"null", b'"collection_id"', b"true", b"[[[{}]]]", b"1e400"])
def test_json_that_is_not_an_object_is_rejected(call: Call, body: bytes) -> None:
    code, reason = error(call(body))
    assert code == 400
    assert reason.startswith("The request body is not a JSON object.")


def test_duplicate_fields_are_rejected(call: Call) -> None:
    assert error(call(b'{"collection_id": 101, "collection_id": 102}'))[0] == 400


def test_half_of_a_surrogate_pair_is_accepted(call: Call, laptops: Collection) -> None:
    assert listed(call(b'{"collection_id": 101, "note": "\\ud800", "\\udfff": 1}')) == []


def test_the_body_may_have_64_kib(call: Call, laptops: Collection) -> None:
    body = b'{"collection_id": 101}'
    assert listed(call(body.ljust(64 * 1024))) == []
    assert error(call(body.ljust(64 * 1024 + 1))) == (
        413,
        "The request body is too large. Send at most 64 KiB.",
    )


def test_a_chunked_body_is_read(call: Call, laptops: Collection) -> None:
    # A chunked body has no Content-Length, so Django would read nothing.
    body = b'{"collection_id": 101}'
    ends = {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    assert listed(call(body, **ends)) == []


class _BrokenBody(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise OSError("This is not a chunk.")


def test_an_incomplete_body_is_rejected(call: Call, laptops: Collection) -> None:
    body = b'{"collection_id": 101}'
    assert error(call(body, CONTENT_LENGTH="100")) == NOT_JSON


def test_the_key_is_checked_before_a_broken_body(call: Call, laptops: Collection) -> None:
    broken = {"wsgi.input": _BrokenBody(), "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    assert error(call(b"x", key="wrong", **broken))[0] == 401
    assert error(call(b"x", **broken)) == NOT_JSON


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options", "trace"])
def test_only_post_is_allowed(client: Client, method: str) -> None:
    response = getattr(client, method)(ADDRESS)
    assert response.status_code == 200
    assert response.headers["Allow"] == "POST"
    if method != "head":
        assert response.json() == {
            "code": 405,
            "data": "This method is not allowed here. Use POST.",
            "status": 0,
        }


def test_the_order_of_the_checks(call: Call, client: Client, secret_plans: Collection) -> None:
    too_large = b"x" * 70_000
    assert client.put(ADDRESS, too_large).json()["code"] == 405
    assert error(call(too_large, key="wrong"))[0] == 413
    assert error(call(b"no json", key="wrong"))[0] == 401
    assert error(call({"collection_id": secret_plans.pk, "skip": -1}))[0] == 400
    assert error(call({"collection_id": secret_plans.pk, "skip": 0}))[0] == 403


# --- errors on our side ---------------------------------------------------------------------------


def test_unexpected_errors_are_logged_and_reported_without_details(
    call: Call, laptops: Collection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(list_runs, "_run_objects", broken)
    with caplog.at_level(logging.ERROR):
        code, reason = error(call({"collection_id": 101}))
    assert (code, reason) == (500, "Something went wrong on our side. The error was logged. Try again later.")
    assert "ZeroDivisionError: a secret" in caplog.text


def test_debug_does_not_reveal_details(
    call: Call, laptops: Collection, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.DEBUG = True
    monkeypatch.setattr(list_runs, "_run_objects", None)
    assert error(call({"collection_id": 101}))[0] == 500


def test_caches_must_not_store_responses(client: Client) -> None:
    assert client.post(ADDRESS).headers["Cache-Control"] == "no-store"


def test_a_category_run_deleted_meanwhile_has_no_links(call: Call, headphones: Collection) -> None:
    run = make_ready_run(headphones)
    # As if the run were deleted between the query for the runs and the one for their files.
    run.files.all().delete()
    links = listed(call({"collection_id": headphones.pk}))[0]["download_links"]
    assert links == {"pages": [], "all_pages": None, "csv": None}
