import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import ANY
from urllib.parse import quote, unquote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from collections_app.models import Collection, Kind, ResultFile, Run, State, Team
from collections_app.sources import SourceUnavailable
from tests.support.html import columns, links, rows, text_of
from tests.support.responses import Response
from tests.support.results import (
    make_failed_run,
    make_many_pages,
    make_processing_run,
    make_ready_run,
    records,
)
from tests.support.tools import all_or_few
from tests.support.upstream import (
    ListedRuns,
    lists,
    make_account,
    make_remote_collection,
    make_remote_run,
    refreshed_just_now,
    remote_run,
)

HTMX = {"HX-Request": "true"}
NOON = datetime(2026, 6, 20, 12, tzinfo=UTC)
ADDRESS = "/collections/101/download"


def make_runs(collection: Collection, count: int, *, every: timedelta = timedelta(hours=1)) -> None:
    """Create failed runs, which is fast. The last one is the newest."""
    first = collection.last_run_number + 1
    Run.objects.bulk_create(
        Run(
            collection=collection,
            number=number,
            state=State.FAILED,
            failure_reason="No response.",
            created_at=NOON + number * every,
        )
        for number in range(first, first + count)
    )
    collection.last_run_number += count
    collection.save()


def numbers(response: Response) -> list[int]:
    return [int(row[0].split("Run ")[1].split(" ")[0]) for row in rows(response)]


def test_the_address_of_a_collection_redirects_to_its_runs(as_bob: Client, laptops: Collection) -> None:
    for address in ("/collections/101", "/collections/101/"):
        response = as_bob.get(address, follow=True)
        assert response.redirect_chain[-1][0] == ADDRESS


# --- rows ---------------------------------------------------------------------------------------


def test_a_completed_run_has_its_pages_and_a_zip(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, records(5), page_size=2, at=NOON)
    response = as_bob.get(ADDRESS)
    assert columns(response) == ["Run time", "Status", "Records", "Pages", "Archive"]
    size = ResultFile.objects.get(run=run, kind="archive").size
    assert size
    assert size < 1024
    assert rows(response) == [
        [
            "20 Jun 2026, 12:00 UTC Run 1",
            "Completed",
            "5",
            "Page 1 of run 1 Page 2 of run 1 Page 3 of run 1 3 pages of run 1",
            f"ZIP · {size} bytes of run 1",
        ]
    ]


def test_every_link_downloads_its_file(as_bob: Client, laptops: Collection) -> None:
    laptops.name = "Café? #1 & “50%”"
    laptops.save()
    run = make_ready_run(laptops, records(3), page_size=2)
    response = as_bob.get(ADDRESS)
    found = [address for address in links(response).values() if "/files/" in address]
    assert [unquote(address).rpartition("/")[2] for address in found] == [
        file.name for file in run.files.order_by("-kind", "position")
    ]
    assert [as_bob.head(address).status_code for address in found] == [200] * 3
    assert all(as_bob.head(address)["Content-Disposition"].startswith("attachment") for address in found)
    # With a `download` attribute a browser whose session has ended saves the sign-in page as the file.
    assert not re.search(r"<a [^>]* download[ >]", response.content.decode())


def test_sizes_are_readable(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops)
    run.files.filter(kind="archive").update(size=2_516_582)
    assert rows(as_bob.get(ADDRESS))[0][4] == "ZIP · 2.4 MB of run 1"


def test_a_category_run_has_two_buttons_and_nothing_else(as_bob: Client, headphones: Collection) -> None:
    make_ready_run(headphones, records(3), at=NOON)
    response = as_bob.get(f"/collections/{headphones.pk}/download")
    assert [name for name, address in links(response).items() if "/files/" in address] == [
        "Download full list (JSON) of run 1",
        "Download CSV of run 1",
    ]
    assert rows(response)[0][4] == ""


def test_a_processing_run_shows_its_progress_and_no_buttons(as_bob: Client, laptops: Collection) -> None:
    make_processing_run(laptops, records(7), page_size=2)
    laptops.runs.update(total=250)
    response = as_bob.get(ADDRESS)
    assert rows(response)[0][1:3] == ["Processing", "7 of 250"]
    assert rows(response)[0][3].endswith("4 pages written.")
    assert "/files/" not in response.content.decode()


def test_a_failed_run_shows_its_reason_and_no_buttons(as_bob: Client, laptops: Collection) -> None:
    make_failed_run(laptops, "The shop <b>asked</b> for a captcha.")
    response = as_bob.get(ADDRESS)
    assert rows(response)[0][1:3] == ["Failed", "0"]
    assert rows(response)[0][3].startswith("The shop <b>asked</b> for a captcha. Failed: ")
    advice = "Failed runs have no files. Use the newest completed run, or start the scrape again."
    assert text_of(response.content.decode()).count(advice) == 1
    assert "/files/" not in response.content.decode()


def test_a_completed_run_shows_missing_records(as_bob: Client, laptops: Collection) -> None:
    make_ready_run(laptops, records(1))
    laptops.runs.update(extracted=1_231, total=1_250)
    assert rows(as_bob.get(ADDRESS))[0][2] == "1,231 of 1,250"


def test_a_run_without_records_has_one_page(as_bob: Client, laptops: Collection) -> None:
    make_ready_run(laptops, [])
    assert rows(as_bob.get(ADDRESS))[0][2:4] == ["0", "Page 1 of run 1"]


def test_without_runs_it_says_what_to_do(as_bob: Client, as_adam: Client, laptops: Collection) -> None:
    response = as_bob.get(ADDRESS).content.decode()
    assert "No runs yet" in response
    assert "Ask an admin of Crawlers to upload the result files of a run." in response
    assert "import_run" not in response
    assert "<table" not in response
    admins = as_adam.get(ADDRESS)
    offered = links(admins)
    assert offered["Upload files"] == "/collections/101/upload"
    assert offered["Connect an account"] == "/team/accounts/connect"
    assert "import_run 101 FILE…" in admins.content.decode()


def test_only_admins_may_delete_a_run(as_bob: Client, as_adam: Client, laptops: Collection) -> None:
    make_failed_run(laptops)
    assert "Delete… (run 1)" not in links(as_bob.get(ADDRESS))
    assert links(as_adam.get(ADDRESS))["Delete… (run 1)"] == "/collections/101/runs/1/delete"


# --- paging -------------------------------------------------------------------------------------


def test_fifty_runs_need_no_load_more(as_bob: Client, laptops: Collection) -> None:
    make_runs(laptops, 50)
    response = as_bob.get(ADDRESS)
    assert len(rows(response)) == 50
    assert "Load more" not in links(response)


def test_fifty_one_runs_need_load_more(as_bob: Client, laptops: Collection) -> None:
    make_runs(laptops, 51)
    response = as_bob.get(ADDRESS)
    assert numbers(response) == list(range(51, 1, -1))
    assert links(response)["Load more"] == "?before=2026-06-20T14%3A00%3A00.000000Z_2"


def test_older_runs_are_a_page_with_a_link_back_without_javascript(
    as_bob: Client, laptops: Collection
) -> None:
    make_runs(laptops, 51)
    response = as_bob.get(ADDRESS + links(as_bob.get(ADDRESS))["Load more"])
    assert "<html" in response.content.decode()
    assert numbers(response) == [1]
    assert links(response)["Back to the newest runs"] == ADDRESS


def test_htmx_gets_rows_only(as_bob: Client, laptops: Collection) -> None:
    make_runs(laptops, 51)
    response = as_bob.get(ADDRESS, headers=HTMX)
    assert "<html" not in response.content.decode()
    assert response.content.decode().strip().startswith("<tbody")
    assert "HX-Request" in response["Vary"]


@pytest.mark.parametrize("every", all_or_few([timedelta(hours=1), timedelta(0)], timedelta(0)))
def test_paging_is_stable_while_runs_arrive(as_bob: Client, laptops: Collection, every: timedelta) -> None:
    make_runs(laptops, 120, every=every)
    seen, address = [], ADDRESS
    while address:
        response = as_bob.get(address, headers=HTMX)
        seen += numbers(response)
        make_runs(laptops, 7)
        more = links(response).get("Load more")
        address = ADDRESS + more if more else ""
    assert seen == list(range(120, 0, -1))


def test_runs_with_the_same_time_are_distinct(as_bob: Client, laptops: Collection) -> None:
    make_runs(laptops, 60, every=timedelta(microseconds=1))
    response = as_bob.get(ADDRESS + links(as_bob.get(ADDRESS))["Load more"])
    assert numbers(response) == list(range(10, 0, -1))


def test_a_page_before_the_first_run_says_so(as_bob: Client, laptops: Collection) -> None:
    make_runs(laptops, 1)
    response = as_bob.get(ADDRESS, {"before": "2020-01-01T00:00:00.000000Z_1"})
    assert "No older runs" in response.content.decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "2026-06-20T12:00:00.000000Z",
        "2026-06-20T12:00:00.000000Z_",
        "2026-06-20T12:00:00.000000Z_-1",
        "2026-06-20T12:00:00.000000Z_1" + "0" * 18,
        "2026-06-31T12:00:00.000000Z_1",
        "2026-06-20T25:00:00.000000Z_1",
        "0000-01-01T00:00:00.000000Z_1",
        "2026-06-20T12:00:00.000000Z_\u0661",
        "2026-06-20T12:00:00.000000Z_1\0",
        "x" * 10_000,
    ],
)
def test_it_refuses_an_invalid_cursor(as_bob: Client, laptops: Collection, cursor: str) -> None:
    response = as_bob.get(ADDRESS, {"before": cursor})
    assert response.status_code == 400
    assert "Invalid position in the list of runs" in response.content.decode()


@pytest.mark.parametrize(
    "cursor", ["0001-01-01T00:00:00.000000Z_0", "9999-12-31T23:59:59.999999Z_" + "9" * 18]
)
def test_it_accepts_the_first_and_the_last_cursor(as_bob: Client, laptops: Collection, cursor: str) -> None:
    assert as_bob.get(ADDRESS, {"before": cursor}).status_code == 200


@pytest.mark.parametrize("count", [10, 50])
def test_the_number_of_queries_does_not_grow_with_runs_and_pages(
    as_bob: Client, laptops: Collection, count: int, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    make_many_pages(laptops, count)
    Run.objects.update(needs_slice=False)
    with django_assert_max_num_queries(10):
        response = as_bob.get(ADDRESS)
    assert response.content.decode().count('class="pill"') == count * 6


# --- runs at an account -------------------------------------------------------------------------


@pytest.fixture
def connected(crawlers: Team) -> Collection:
    return make_remote_collection(make_account(crawlers))


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> ListedRuns:
    """The runs that the account lists."""
    return lists(monkeypatch)


def page_of(collection: Collection) -> str:
    return f"/collections/{collection.pk}/download"


def test_opening_the_page_lists_the_account(
    as_bob: Client, connected: Collection, listed: ListedRuns
) -> None:
    now = timezone.now()
    listed.runs = [remote_run(1, pages=2, at=now - timedelta(hours=1)), remote_run(2, ready=False, at=now)]
    response = as_bob.get(page_of(connected))
    assert [row[1:] for row in rows(response)] == [
        ["Processing", "100 of 250", ANY, ""],
        ["Completed", "250", "Page 1 of run 1 Page 2 of run 1 2 pages of run 1", "ZIP of run 1"],
    ]
    assert "Updated from MultiCartAPI " in response.content.decode()
    assert 'role="status">' not in response.content.decode().partition("<main")[2].partition("</main>")[0]


def test_its_files_have_our_addresses(as_bob: Client, connected: Collection, listed: ListedRuns) -> None:
    listed.runs = [remote_run(1)]
    response = as_bob.get(page_of(connected))
    files = [address for address in links(response).values() if "/files/" in address]
    assert [unquote(address) for address in files] == [
        f"/collections/{connected.pk}/runs/1/files/AU Laptops_1_Results_Page_1.json",
        f"/collections/{connected.pk}/runs/1/files/AU Laptops_1_Results_All_Pages.zip",
    ]
    assert "multicartapi.com" not in response.content.decode()


def test_a_category_run_at_an_account_has_its_two_buttons(
    as_bob: Client, crawlers: Team, listed: ListedRuns
) -> None:
    collection = make_remote_collection(make_account(crawlers), kind=Kind.AMAZON_CATEGORY)
    listed.runs = [remote_run(1, category=True)]
    response = as_bob.get(page_of(collection))
    assert [unquote(address) for address in links(response).values() if "/files/" in address] == [
        f"/collections/{collection.pk}/runs/1/files/category_asins.json",
        f"/collections/{collection.pk}/runs/1/files/category_asins.csv",
    ]


def test_a_zip_of_unknown_size_loads_it_when_visible(
    as_bob: Client, connected: Collection, listed: ListedRuns
) -> None:
    refreshed_just_now(connected)
    make_remote_run(connected, 1)
    make_remote_run(connected, 2, size=2_516_582)
    response = as_bob.get(page_of(connected))
    assert [row[4] for row in rows(response)] == ["ZIP · 2.4 MB of run 2", "ZIP of run 1"]
    assert re.findall(r'hx-get="([^"]*)" hx-trigger="([^"]*)"', response.content.decode()) == [
        (f"/collections/{connected.pk}/runs/1/archive-size", "intersect once")
    ]


@pytest.mark.parametrize(("seconds", "age"), [(5, "just now"), (200, "3 min ago"), (7200, "2 h ago")])
def test_if_the_account_is_down_the_known_runs_are_shown_with_their_age(
    as_bob: Client, connected: Collection, listed: ListedRuns, seconds: int, age: str
) -> None:
    make_remote_run(connected, 1)
    as_of = timezone.now() - timedelta(seconds=seconds)
    Collection.objects.filter(pk=connected.pk).update(refreshed_at=as_of)
    listed.problem = SourceUnavailable("MultiCartAPI is not responding.")
    for _ in range(2):  # the second time without a call
        response = as_bob.get(page_of(connected))
        (notice,) = re.findall(
            r'<div class="notice" role="status">.*?</div>', response.content.decode(), re.DOTALL
        )
        assert text_of(notice) == (f"MultiCartAPI is not responding. The list was last updated {age}.")
        assert len(rows(response)) == 1
        assert "Updated from" not in response.content.decode()
    assert len(listed.calls) == 1


def test_if_the_account_is_down_sizes_are_not_requested(
    as_bob: Client, connected: Collection, listed: ListedRuns
) -> None:
    make_remote_run(connected, 1)
    listed.problem = SourceUnavailable("MultiCartAPI is not responding.")
    response = as_bob.get(page_of(connected))
    assert rows(response)[0][4] == "ZIP of run 1"
    assert "archive-size" not in response.content.decode()


def test_if_the_account_is_down_and_no_runs_are_known_it_says_so(
    as_bob: Client, connected: Collection, listed: ListedRuns
) -> None:
    listed.problem = SourceUnavailable("MultiCartAPI is not responding.")
    response = text_of(as_bob.get(page_of(connected)).content.decode())
    assert "MultiCartAPI is not responding." in response
    assert "Runs not loaded yet" in response
    assert "The list was last updated" not in response
    assert "import_run" not in response


def test_an_account_without_runs_says_so(as_bob: Client, connected: Collection, listed: ListedRuns) -> None:
    response = text_of(as_bob.get(page_of(connected)).content.decode())
    assert "No runs yet" in response
    assert "import_run" not in response


@pytest.mark.parametrize(("count", "more"), [(50, False), (51, True)])
def test_fifty_one_runs_at_the_account_need_load_more(
    as_bob: Client, connected: Collection, listed: ListedRuns, count: int, *, more: bool
) -> None:
    listed.runs = [remote_run(number) for number in range(1, count + 1)]
    response = as_bob.get(page_of(connected))
    assert len(rows(response)) == 50
    assert ("Load more" in links(response)) is more


@pytest.mark.parametrize("count", all_or_few([51, 102, 120, 250], 102))
@pytest.mark.parametrize("headers", [HTMX, {}], ids=["htmx", "without JavaScript"])
def test_load_more_reaches_the_accounts_first_run(
    as_bob: Client, connected: Collection, listed: ListedRuns, count: int, headers: dict[str, str]
) -> None:
    listed.runs = [remote_run(number) for number in range(1, count + 1)]
    seen: list[list[int]] = []
    address = page_of(connected)
    while address:
        response = as_bob.get(address, headers=headers)
        seen.append(numbers(response))
        listed.runs += [remote_run(len(listed.runs) + number) for number in range(1, 8)]
        more = links(response).get("Load more")
        address = page_of(connected) + more if more else ""
    assert [number for page in seen for number in page] == list(range(count, 0, -1))
    assert [len(page) for page in seen[:-1]] == [50] * (len(seen) - 1)


@pytest.mark.parametrize("count", all_or_few([60, 230], 60))
def test_all_runs_with_the_same_time_are_shown_in_any_order(
    as_bob: Client, connected: Collection, listed: ListedRuns, count: int
) -> None:
    listed.runs = [remote_run(number, at=NOON) for number in range(1, count + 1)]
    listed.order = lambda run: run.number
    seen: list[int] = []
    address = page_of(connected)
    while address:
        response = as_bob.get(address)
        seen += numbers(response)
        more = links(response).get("Load more")
        address = page_of(connected) + more if more else ""
    assert seen == list(range(count, 0, -1))


def test_unreadable_runs_are_counted_and_named(
    as_bob: Client, connected: Collection, listed: ListedRuns
) -> None:
    listed.runs = [remote_run(number) for number in range(88, 94)]
    listed.unreadable = {91, 93}
    response = as_bob.get(page_of(connected))
    assert numbers(response) == [92, 90, 89, 88]
    notice = "2 runs at MultiCartAPI can't be shown: 91, 93 (no valid time)."
    assert notice in text_of(response.content.decode())
    listed.unreadable = set()
    Collection.objects.filter(pk=connected.pk).update(refresh_tried_at=None)
    response = as_bob.get(page_of(connected))
    assert numbers(response) == [93, 92, 91, 90, 89, 88]
    assert "can't be shown" not in response.content.decode()


@pytest.mark.parametrize(
    ("extracted", "total", "text"),
    [
        (None, 50, "Unknown (50 requested)"),
        (None, None, "Unknown"),
        (50, None, "50"),
        (0, 50, "0 of 50"),
        (0, 0, "0"),
    ],
)
@pytest.mark.parametrize("ready", all_or_few([True, False], True))
def test_counts_that_the_account_does_not_report_are_unknown(
    as_bob: Client,
    connected: Collection,
    listed: ListedRuns,
    extracted: int | None,
    total: int | None,
    text: str,
    *,
    ready: bool,
) -> None:
    listed.runs = [replace(remote_run(1, ready=ready), extracted=extracted, total=total)]
    response = as_bob.get(page_of(connected))
    assert rows(response)[0][2] == text
    is_known_to_be_empty = ready and (extracted, total) == (0, 50)
    assert (rows(response)[0][1] == "Empty") is is_known_to_be_empty
    assert "missing" not in response.content.decode()


@pytest.mark.parametrize("headers", [HTMX, {}], ids=["htmx", "without JavaScript"])
def test_if_older_runs_cannot_be_loaded_it_offers_to_try_again(
    as_bob: Client, connected: Collection, listed: ListedRuns, headers: dict[str, str]
) -> None:
    for number in (1, 2):
        make_remote_run(connected, number, at=NOON + timedelta(hours=number))
    Collection.objects.filter(pk=connected.pk).update(has_older_runs=True, refreshed_at=NOON)
    listed.problem = SourceUnavailable("MultiCartAPI is not responding.")
    last = f"?before={quote(f'{NOON + timedelta(hours=1):%Y-%m-%dT%H:%M:%S.000000Z}_1', safe='')}"
    response = as_bob.get(page_of(connected), {"before": "2026-06-20T14:00:00.000000Z_2"}, headers=headers)
    assert numbers(response) == [1]
    assert "MultiCartAPI is not responding." in response.content.decode()
    assert links(response)["Load more"] == last
    response = as_bob.get(page_of(connected) + last, headers=headers)
    assert "MultiCartAPI is not responding." in response.content.decode()
    assert last in links(response).values()
    assert "No older runs" not in response.content.decode()


def test_a_run_at_an_account_cannot_be_deleted(
    as_adam: Client, connected: Collection, listed: ListedRuns
) -> None:
    listed.runs = [remote_run(1)]
    assert "/delete" not in as_adam.get(page_of(connected)).content.decode()


@pytest.mark.parametrize("asks", all_or_few([True, False], True))
def test_10_and_50_runs_at_an_account_take_the_same_queries(
    as_bob: Client, crawlers: Team, listed: ListedRuns, *, asks: bool
) -> None:
    taken = []
    for count in (10, 50):
        collection = make_remote_collection(make_account(crawlers, f"{count}"), remote_id=count)
        listed.runs = [remote_run(number, pages=count // 5) for number in range(1, count + 1)]
        as_bob.get(page_of(collection))
        if asks:
            Collection.objects.update(refresh_tried_at=None)
        with CaptureQueriesContext(connection) as queries:
            as_bob.get(page_of(collection))
        taken.append(len(queries))
    assert taken[0] == taken[1]


# --- access -------------------------------------------------------------------------------------


def test_a_stranger_gets_the_same_403_for_existing_and_unknown_collections(
    as_carol: Client, laptops: Collection
) -> None:
    responses = [as_carol.get(f"/collections/{number}/download") for number in (101, 999, 10**30)]
    assert {response.status_code for response in responses} == {403}
    assert len({re.sub(r'value="\w{64}"', "", response.content.decode()) for response in responses}) == 1


def test_an_htmx_request_without_a_session_goes_to_the_sign_in_page(
    client: Client, laptops: Collection
) -> None:
    response = client.get(ADDRESS, headers=HTMX | {"HX-Current-URL": f"http://testserver{ADDRESS}"})
    assert response["HX-Redirect"] == f"/accounts/login/?next={ADDRESS}"


def test_it_accepts_only_get(as_bob: Client, laptops: Collection) -> None:
    assert as_bob.post(ADDRESS).status_code == 405


def test_a_strangers_request_makes_no_call(
    client: Client, as_carol: Client, connected: Collection, listed: ListedRuns
) -> None:
    for who in (client, as_carol):
        for address in ("", "?before=2026-06-20T14:00:00.000000Z_2"):
            assert who.get(page_of(connected) + address).status_code in {302, 403}
    assert listed.calls == []
