"""quality.json: the verdict of a run for scripts."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from collections_app.models import Collection, Run, Slice, SliceState, Verdict
from tests.support import openapi
from tests.support.verdicts import make_judged_runs, make_sliced_run

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("results_folder")]


def quality(client: Client, key: str, number: int) -> tuple[int, Any]:
    address = f"/api/v1/collections/101/runs/{number}/quality.json"
    response = client.get(address, headers={"x-api-key": key})
    return response.status_code, response.json()["data"]


def test_the_verdict_says_why_a_run_is_not_trusted(
    client: Client, bobs_key: str, laptops: Collection
) -> None:
    make_judged_runs(laptops, "good", "broken")
    status, data = quality(client, bobs_key, 2)
    openapi.check(openapi.DOCUMENT["components"]["schemas"]["Quality"], data)
    assert (status, data["verdict"], data["trusted"], data["baseline"]) == (200, "broken", False, [1])
    assert data["reasons"] == [
        {
            "check": "coverage",
            "level": "broken",
            "column": "price",
            "value": 0.59,
            "usual_low": 0.98,
            "usual_high": 1,
            "text": "price missing in 41% of records, usually 0 to 2%.",
        }
    ]


def test_it_says_who_overruled_a_verdict(client: Client, bobs_key: str, laptops: Collection) -> None:
    make_judged_runs(laptops, "broken")
    at = datetime(2026, 6, 20, 2, 15, tzinfo=UTC)
    Verdict.objects.update(overrule="trusted", overruled_by_name="Alice", overruled_at=at)
    _, data = quality(client, bobs_key, 1)
    openapi.check(openapi.DOCUMENT["components"]["schemas"]["Quality"], data)
    assert (data["verdict"], data["trusted"]) == ("broken", True)
    assert data["overruled"] == {"trusted": True, "by": "Alice", "at": "2026-06-20T02:15:00Z"}


def test_scripts_wait_until_a_run_is_judged(client: Client, bobs_key: str, laptops: Collection) -> None:
    run = make_sliced_run(laptops, 1)
    assert quality(client, bobs_key, 1) == (202, {"state": "queued", "done": 0, "total": None})
    Slice.objects.update(state=SliceState.FAILED, failure="The records aren't valid JSON.")
    assert quality(client, bobs_key, 1) == (500, "The records aren't valid JSON.")
    Slice.objects.all().delete()
    Run.objects.filter(pk=run.pk).update(needs_slice=False)
    status, message = quality(client, bobs_key, 1)
    assert (status, message.partition(" is ")[0]) == (409, "Run 1")
