"""The quality page of a run, and what members do there."""

import re
from dataclasses import replace
from datetime import timedelta
from html import unescape

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from collections_app.models import Collection, Overrule, Run, User, Verdict, VerdictLevel
from collections_app.records.quality.reasons import Check, Reason
from tests.support.results import make_processing_run
from tests.support.verdicts import PROFILE, make_judged_runs, make_sliced_run

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("results_folder")]

QUALITY = "/collections/101/runs/{}/quality"


@pytest.fixture
def runs(laptops: Collection) -> list[Run]:
    return make_judged_runs(laptops, "learning", "good", "good", "good", "broken", "good")


def test_the_page_shows_reasons_with_links_and_the_runs_that_it_compares_with(
    as_bob: Client, runs: list[Run]
) -> None:
    page = as_bob.get(QUALITY.format(5)).text
    assert "price missing in 41% of records, usually 0 to 2%." in page
    assert '<a href="/collections/101/runs/5/?filter=price%2Cmissing#records">Show these records</a>' in page
    assert "4 trusted runs of the same kind" in page
    assert '<a href="/collections/101/runs/4/quality">4</a>' in page
    assert page.count("<circle") == 15  # of asin, title and price, in 5 runs


def test_every_reason_links_to_what_it_is_about(as_bob: Client, runs: list[Run]) -> None:
    reasons = [
        Reason(check, VerdictLevel.CHECK, 0.5, 0, 1, column="price", title="Sorry").to_json()
        for check in Check
    ]
    profile = replace(PROFILE, since=4).to_json()
    Verdict.objects.filter(run=runs[4]).update(reasons=reasons, profile=profile)
    page = as_bob.get(QUALITY.format(5)).text
    found = re.findall(r'<a href="([^"]*)">Show', page[page.index('class="reasons"') :])[: len(Check)]
    run, by_column = "/collections/101/runs/5/", "?sort=price&column=title&column=price#records"
    assert dict(zip(Check, map(unescape, found), strict=True)) == {
        Check.RECORDS: f"{run}#records",
        Check.SCRAPED: f"{run}#records",
        Check.PRODUCTS: f"{run}changes?since=4",
        Check.COVERAGE: f"{run}?filter=price%2Cmissing#records",
        Check.MISSING_COLUMN: f"{run}#records",
        Check.NEW_COLUMN: f"{run}{by_column}",
        Check.NUMBERS: f"{run}{by_column}",
        Check.PRICE_LEVEL: f"{run}changes?since=4&what=price_down&what=price_up",
        Check.PRICE_CHANGES: f"{run}changes?since=4&what=price_down&what=price_up",
        Check.DUPLICATES: f"{run}duplicates",
        Check.WITHOUT_KEY: f"{run}duplicates?show=without-key",
        Check.NOTHING_CHANGED: f"{run}changes?since=4",
        Check.TITLES: f"{run}?filter=price%2Cis%2CSorry#records",
    }
    runs[3].delete()
    assert f'href="{run}changes">Show the comparison' in as_bob.get(QUALITY.format(5)).text


def test_deleted_runs_of_the_baseline_are_counted(as_bob: Client, runs: list[Run]) -> None:
    runs[0].delete()
    assert ", and 1 deleted." in as_bob.get(QUALITY.format(5)).text


def test_a_member_overrules_a_verdict_and_takes_it_back(as_bob: Client, bob: User, runs: list[Run]) -> None:
    response = as_bob.post(QUALITY.format(5) + "/overrule", {"verdict": "trusted"}, follow=True)
    assert "You trust run 5." in response.text
    verdict = Verdict.objects.get(run=runs[4])
    assert (verdict.overruled_by, verdict.overruled_by_name, verdict.is_trusted) == (bob, "Bob", True)
    assert "Bob trusts this run" in as_bob.get(QUALITY.format(5)).text
    as_bob.post(QUALITY.format(5) + "/overrule", {"verdict": ""})
    verdict.refresh_from_db()
    assert (verdict.overrule, verdict.overruled_by, verdict.overruled_at) == ("", None, None)


def test_overruling_marks_the_later_runs_that_depend_on_it(as_bob: Client, runs: list[Run]) -> None:
    as_bob.post(QUALITY.format(3) + "/overrule", {"verdict": "distrusted"})
    assert list(
        Verdict.objects.filter(is_due=True).values_list("run__number", flat=True).order_by("run__number")
    ) == [4, 5, 6]


def test_a_member_corrects_the_kind_of_a_run(as_bob: Client, runs: list[Run]) -> None:
    as_bob.post(QUALITY.format(4) + "/kind", {"kind": "availability"})
    verdict = Verdict.objects.get(run=runs[3])
    assert (verdict.kind, verdict.is_due) == ("availability", True)
    assert list(
        Verdict.objects.filter(is_due=True).values_list("run__number", flat=True).order_by("run__number")
    ) == [4, 5, 6]


@pytest.mark.parametrize("action", ["overrule", "kind"])
def test_a_run_without_a_verdict_can_not_be_overruled_yet(
    as_bob: Client, laptops: Collection, action: str
) -> None:
    make_sliced_run(laptops, 1)
    response = as_bob.post(f"{QUALITY.format(1)}/{action}", follow=True)
    assert "This run has no verdict yet. Try again in a few minutes." in response.text
    run = make_processing_run(laptops)
    response = as_bob.post(f"{QUALITY.format(run.number)}/{action}")
    assert response.status_code == 404
    assert f"Run {run.number} is still processing." in response.text
    assert "Only completed runs have a verdict." in as_bob.get(QUALITY.format(run.number)).text


@pytest.mark.parametrize(("action", "field"), [("overrule", "verdict"), ("kind", "kind")])
def test_an_unknown_choice_is_an_error(as_bob: Client, runs: list[Run], action: str, field: str) -> None:
    response = as_bob.post(f"{QUALITY.format(5)}/{action}", {field: "x"})
    assert response.status_code == 400
    assert f"Unknown “{field}” parameter." in response.text


def test_lists_of_runs_and_the_page_of_a_run_show_its_verdict(as_bob: Client, runs: list[Run]) -> None:
    def shown() -> list[str]:
        page = as_bob.get("/collections/101/download").text
        return [part.partition("</span>")[0] for part in page.split(' title="Quality of run ')[1:]]

    assert shown()[:2] == ['6"><span>Good', '5"><span>Broken']
    Verdict.objects.filter(run=runs[4]).update(
        overrule=Overrule.TRUSTED, overruled_at=runs[4].created_at + timedelta(days=1)
    )
    assert shown()[:2] == ['6"><span>Good', '5"><span>Trusted']


def test_runs_are_filtered_by_their_verdicts(as_bob: Client, runs: list[Run]) -> None:
    Verdict.objects.filter(run=runs[3]).update(overrule=Overrule.TRUSTED, overruled_at=runs[3].created_at)

    def numbers(verdict: str) -> list[str]:
        page = as_bob.get(f"/collections/101/download?verdict={verdict}").text
        return [part.partition('"')[0] for part in page.split('id="run-')[1:]]

    assert (numbers("broken"), numbers("good"), numbers("trusted")) == (["5"], ["6", "3", "2"], ["4"])
    assert as_bob.get("/collections/101/download?verdict=x").status_code == 400


def test_lists_of_collections_show_that_the_newest_run_is_broken(as_bob: Client, laptops: Collection) -> None:
    make_judged_runs(laptops, "good", "broken")
    for address in ("/", "/collections/"):
        page = as_bob.get(address).text
        assert '<a class="badge verdict broken" href="/collections/101/runs/2/quality"' in page
    assert "Broken" in as_bob.get("/collections/101/settings").text.partition('id="problem"')[2]
    Verdict.objects.update(overrule=Overrule.TRUSTED, overruled_at=laptops.created_at)
    assert '<a class="badge verdict trusted"' in as_bob.get("/collections/").text


def test_the_number_of_queries_does_not_depend_on_the_number_of_runs(
    as_bob: Client, laptops: Collection, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    make_judged_runs(laptops, *["learning"] * 3, *["good"] * 40)
    as_bob.get(QUALITY.format(43))
    with django_assert_max_num_queries(7):
        as_bob.get(QUALITY.format(43))
    with django_assert_max_num_queries(7):
        as_bob.get(QUALITY.format(2))
