"""List collections and runs: /api/v1/collections and /api/v1/collections/{collection_id}/runs."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from collections_app.models import Collection, Run, Team, Verdict
from collections_app.models.verdicts import Overrule, VerdictLevel
from tests.support.openapi import api_error, check_schema
from tests.support.results import make_failed_run, make_processing_run, make_ready_run, records
from tests.support.upstream import NOON, lists, make_account, make_remote_collection, remote_run

pytestmark = pytest.mark.django_db(transaction=True)

Fetch = Callable[..., dict[str, Any]]


@pytest.fixture
def fetch(client: Client, bobs_key: str) -> Fetch:
    """Return the JSON at an address, with Bob's key."""

    def fetched(address: str) -> dict[str, Any]:
        response = client.get(address, headers={"x-api-key": bobs_key})
        assert response.status_code == 200, response.content
        found: dict[str, Any] = response.json()
        check_schema("CollectionList" if "collections" in found else "PlainRunList", found)
        return found

    return fetched


def error(client: Client, key: str, address: str) -> tuple[int, str]:
    return api_error(client.get(address, headers={"x-api-key": key}))


class TestCollections:
    def test_each_has_its_newest_run_with_its_state(self, fetch: Fetch, laptops: Collection) -> None:
        make_failed_run(laptops, at=NOON)
        make_ready_run(laptops, records(4), at=NOON)
        Run.objects.filter(number=2).update(total=5, pinned_at=NOON)
        assert fetch("/api/v1/collections") == {
            "collections": [
                {
                    "id": 101,
                    "name": "AU Laptops",
                    "type": "amazon",
                    "is_archived": False,
                    "created_at": f"{laptops.created_at:%Y-%m-%dT%H:%M:%SZ}",
                    "refreshed_at": None,
                    "runs": "http://testserver/api/v1/collections/101/runs",
                    "newest_run": {
                        "id": 2,
                        "state": "incomplete",
                        "failure_reason": "",
                        "extracted": 4,
                        "total": 5,
                        "created_at": "2026-06-20T12:00:00Z",
                        "updated_at": "2026-06-20T12:00:00Z",
                        "manifest": "http://testserver/api/v1/collections/101/runs/2/manifest.json",
                        "pinned": True,
                        "delete_at": None,
                        "verdict": None,
                        "trusted": None,
                    },
                    "expected_at": None,
                    "late": False,
                    "paused": False,
                }
            ],
            "next": None,
        }

    def test_next_leads_through_all_of_them(self, fetch: Fetch, crawlers: Team) -> None:
        made = [Collection.objects.create(team=crawlers, name=f"Collection {n}") for n in range(5)]
        found, address = [], "/api/v1/collections?limit=2"
        while address:
            page = fetch(address)
            assert len(page["collections"]) <= 2
            found += [collection["id"] for collection in page["collections"]]
            address = (page["next"] or "").removeprefix("http://testserver")
        assert found == [collection.pk for collection in made]

    def test_whether_it_is_late_or_paused(self, fetch: Fetch, laptops: Collection) -> None:
        laptops.expected_at = NOON
        laptops.late_at = NOON + timedelta(minutes=15)
        laptops.save()
        (collection,) = fetch("/api/v1/collections")["collections"]
        assert (collection["expected_at"], collection["late"]) == ("2026-06-20T12:00:00Z", True)
        laptops.paused_at = NOON
        laptops.save()
        (collection,) = fetch("/api/v1/collections")["collections"]
        assert (collection["late"], collection["paused"]) == (False, True)

    def test_archived_ones_are_included(self, fetch: Fetch, laptops: Collection) -> None:
        laptops.archive()
        (collection,) = fetch("/api/v1/collections")["collections"]
        assert collection["is_archived"]
        assert collection["newest_run"] is None

    def test_other_teams_are_not(self, fetch: Fetch, secret_plans: Collection) -> None:
        assert fetch("/api/v1/collections")["collections"] == []

    def test_the_number_of_queries_is_constant(
        self, fetch: Fetch, crawlers: Team, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for number in range(4):
            make_ready_run(Collection.objects.create(team=crawlers, name=f"C {number}"))
            fetch("/api/v1/collections")  # records when the key was used
            with django_assert_num_queries(4):
                fetch("/api/v1/collections")


class TestRuns:
    def test_the_newest_comes_first(self, fetch: Fetch, laptops: Collection) -> None:
        make_ready_run(laptops)
        make_failed_run(laptops, "The shop asked for a captcha.")
        make_processing_run(laptops)
        runs = fetch("/api/v1/collections/101/runs")["runs"]
        assert [(run["id"], run["state"], run["failure_reason"]) for run in runs] == [
            (3, "processing", ""),
            (2, "failed", "The shop asked for a captcha."),
            (1, "completed", ""),
        ]
        assert [run["manifest"] is not None for run in runs] == [False, False, True]

    def test_each_has_its_verdict_once_it_has_been_judged(self, fetch: Fetch, laptops: Collection) -> None:
        first, second, _ = (make_ready_run(laptops) for _ in range(3))
        overruled = {"overrule": Overrule.TRUSTED, "overruled_at": NOON}
        Verdict.objects.create(run=first, level=VerdictLevel.BROKEN, settings_version=1, **overruled)
        Verdict.objects.create(run=second, level=VerdictLevel.BROKEN, settings_version=1)
        runs = fetch("/api/v1/collections/101/runs")["runs"]
        assert [(run["verdict"], run["trusted"]) for run in runs] == [
            (None, None),
            ("broken", False),
            ("broken", True),
        ]
        newest = fetch("/api/v1/collections")["collections"][0]["newest_run"]
        assert (newest["id"], newest["verdict"]) == (3, None)

    def test_next_leads_through_all_of_a_state(self, fetch: Fetch, laptops: Collection) -> None:
        for _ in range(3):
            make_failed_run(laptops)
            make_ready_run(laptops)
        found, address = [], "/api/v1/collections/101/runs?state=failed&limit=1"
        while address:
            page = fetch(address)
            found += [run["id"] for run in page["runs"]]
            make_failed_run(laptops)  # a new run causes no repeat
            address = (page["next"] or "").removeprefix("http://testserver")
        assert found == [5, 3, 1]

    def test_a_state_is_exact(self, fetch: Fetch, laptops: Collection) -> None:
        make_failed_run(laptops)
        make_processing_run(laptops)
        Run.objects.filter(number=2).update(stalls_at=NOON)
        for state, numbers in (("failed", [1]), ("stalled", [2]), ("processing", [])):
            runs = fetch(f"/api/v1/collections/101/runs?state={state}")["runs"]
            assert [run["id"] for run in runs] == numbers

    def test_an_account_is_listed(
        self, fetch: Fetch, crawlers: Team, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        collection = make_remote_collection(make_account(crawlers))
        lists(monkeypatch, [remote_run(number) for number in range(1, 131)])
        runs = fetch(f"/api/v1/collections/{collection.pk}/runs?limit=130")["runs"]
        assert [run["id"] for run in runs] == list(range(130, 0, -1))


class TestBadInput:
    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ("limit=0", "limit must be between 1 and 1000."),
            ("limit=1001", "limit must be between 1 and 1000."),
            ("limit=many", "limit must be an integer."),
            ("limit=", "limit must be an integer."),
            ("limit=-1", "limit must be an integer."),
            ("limit=1&limit=2", "limit is in the address twice. Send it once."),
            ("before=x", "before must be an integer."),
            ("before=9223372036854775808", "before must be between 0 and 9223372036854775807."),
            (
                "state=ready",
                "state must be one of processing, stalled, failed, completed, incomplete, empty.",
            ),
        ],
    )
    def test_it_names_the_parameter(
        self, client: Client, bobs_key: str, laptops: Collection, query: str, message: str
    ) -> None:
        assert error(client, bobs_key, f"/api/v1/collections/101/runs?{query}") == (400, message)

    def test_after_is_an_integer(self, client: Client, bobs_key: str) -> None:
        assert error(client, bobs_key, "/api/v1/collections?after=x") == (400, "after must be an integer.")

    @pytest.mark.parametrize("number", [0, 2**63 - 1])
    def test_an_unknown_run_or_collection_is_no_error(
        self, fetch: Fetch, laptops: Collection, number: int
    ) -> None:
        make_ready_run(laptops)
        assert len(fetch(f"/api/v1/collections/101/runs?before={number}")["runs"]) == (number > 0)
        assert len(fetch(f"/api/v1/collections?after={number}")["collections"]) == (number == 0)
