import re
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from collections_app.models import Collection, ResultFile, Run, State
from tests.html import columns, links, rows
from tests.results import make_failed_run, make_many_pages, make_processing_run, make_ready_run, records

HTMX = {"HX-Request": "true"}
NOON = datetime(2026, 6, 20, 12, tzinfo=UTC)
ADDRESS = "/collections/101/download"


def make_runs(collection: Collection, count: int, *, every: timedelta = timedelta(hours=1)) -> None:
    """Make Failed runs, which are quick to make; the last one is the newest."""
    first = collection.last_run_number + 1
    Run.objects.bulk_create(
        Run(
            collection=collection,
            number=number,
            state=State.FAILED,
            failure_reason="No answer.",
            created_at=NOON + number * every,
        )
        for number in range(first, first + count)
    )
    collection.last_run_number += count
    collection.save()


def numbers(answer: object) -> list[int]:
    return [int(row[0].split("Run ")[1].split(" ")[0]) for row in rows(answer)]


def test_the_address_of_a_collection_leads_to_its_runs(as_bob: Client, laptops: Collection) -> None:
    for address in ("/collections/101", "/collections/101/"):
        answer = as_bob.get(address, follow=True)
        assert answer.redirect_chain[-1][0] == ADDRESS


# --- rows ---------------------------------------------------------------------------------------


def test_a_completed_run_has_a_pill_for_each_page_and_a_zip_of_true_size(
    as_bob: Client, laptops: Collection
) -> None:
    run = make_ready_run(laptops, records(5), page_size=2, at=NOON)
    answer = as_bob.get(ADDRESS)
    assert columns(answer) == ["Run time", "Status", "Records", "Pages", "Archive"]
    size = ResultFile.objects.get(run=run, kind="archive").size
    assert 0 < size < 1024
    assert rows(answer) == [
        [
            "20 Jun 2026, 12:00 UTC Run 1",
            "Completed",
            "5",
            "Page 1 of run 1 Page 2 of run 1 Page 3 of run 1",
            f"ZIP · {size} bytes of run 1",
        ]
    ]


def test_every_link_leads_to_its_file_and_downloads(as_bob: Client, laptops: Collection) -> None:
    laptops.name = "Café? #1 & “50%”"
    laptops.save()
    run = make_ready_run(laptops, records(3), page_size=2)
    answer = as_bob.get(ADDRESS)
    found = [address for address in links(answer).values() if "/files/" in address]
    assert [unquote(address).rpartition("/")[2] for address in found] == [
        file.name for file in run.files.order_by("-kind", "position")
    ]
    assert [as_bob.head(address).status_code for address in found] == [200] * 3
    assert all(as_bob.head(address)["Content-Disposition"].startswith("attachment") for address in found)
    # With a `download` attribute a browser whose session has ended saves the sign-in page as the file.
    assert not re.search(r"<a [^>]* download[ >]", answer.content.decode())


def test_sizes_are_written_as_people_write_them(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops)
    run.files.filter(kind="archive").update(size=2_516_582)
    assert rows(as_bob.get(ADDRESS))[0][4] == "ZIP · 2.4 MB of run 1"


def test_a_category_run_has_two_buttons_and_nothing_else(as_bob: Client, headphones: Collection) -> None:
    make_ready_run(headphones, records(3), at=NOON)
    answer = as_bob.get(f"/collections/{headphones.pk}/download")
    assert [name for name, address in links(answer).items() if "/files/" in address] == [
        "Download full list (JSON) of run 1",
        "Download CSV of run 1",
    ]
    assert rows(answer)[0][4] == ""


def test_a_processing_run_shows_how_far_it_is_and_no_buttons(as_bob: Client, laptops: Collection) -> None:
    make_processing_run(laptops, records(7), page_size=2)
    laptops.runs.update(total=250)
    answer = as_bob.get(ADDRESS)
    assert rows(answer)[0][1:3] == ["Processing", "7 of 250"]
    assert "/files/" not in answer.content.decode()


def test_a_failed_run_shows_its_reason_and_no_buttons(as_bob: Client, laptops: Collection) -> None:
    make_failed_run(laptops, "The shop <b>asked</b> for a captcha.")
    answer = as_bob.get(ADDRESS)
    assert rows(answer)[0][1:4] == ["Failed", "0", "The shop <b>asked</b> for a captcha."]
    assert "/files/" not in answer.content.decode()


def test_a_completed_run_says_where_records_are_missing(as_bob: Client, laptops: Collection) -> None:
    make_ready_run(laptops, records(1))
    laptops.runs.update(extracted=1_231, total=1_250)
    assert rows(as_bob.get(ADDRESS))[0][2] == "1,231 of 1,250"


def test_a_run_of_no_records_has_its_one_page(as_bob: Client, laptops: Collection) -> None:
    make_ready_run(laptops, [])
    assert rows(as_bob.get(ADDRESS))[0][2:4] == ["0", "Page 1 of run 1"]


def test_it_says_what_to_do_where_there_is_no_run(as_bob: Client, laptops: Collection) -> None:
    answer = as_bob.get(ADDRESS).content.decode()
    assert "No runs yet" in answer
    assert "import_run 101 FILE…" in answer


def test_only_admins_may_delete_a_run(as_bob: Client, as_adam: Client, laptops: Collection) -> None:
    make_failed_run(laptops)
    assert "Delete run… (run 1)" not in links(as_bob.get(ADDRESS))
    assert links(as_adam.get(ADDRESS))["Delete run… (run 1)"] == "/collections/101/runs/1/delete"


# --- paging -------------------------------------------------------------------------------------


def test_fifty_runs_need_no_load_more(as_bob: Client, laptops: Collection) -> None:
    make_runs(laptops, 50)
    answer = as_bob.get(ADDRESS)
    assert len(rows(answer)) == 50
    assert "Load more" not in links(answer)


def test_the_fifty_first_means_load_more(as_bob: Client, laptops: Collection) -> None:
    make_runs(laptops, 51)
    answer = as_bob.get(ADDRESS)
    assert numbers(answer) == list(range(51, 1, -1))
    assert links(answer)["Load more"] == "?before=2026-06-20T14%3A00%3A00.000000Z_2"


def test_without_javascript_older_runs_are_a_page_with_a_way_back(
    as_bob: Client, laptops: Collection
) -> None:
    make_runs(laptops, 51)
    answer = as_bob.get(ADDRESS + links(as_bob.get(ADDRESS))["Load more"])
    assert "<html" in answer.content.decode()
    assert numbers(answer) == [1]
    assert links(answer)["Back to the newest runs"] == ADDRESS


def test_htmx_gets_rows_alone(as_bob: Client, laptops: Collection) -> None:
    make_runs(laptops, 51)
    answer = as_bob.get(ADDRESS, headers=HTMX)
    assert "<html" not in answer.content.decode()
    assert answer.content.decode().strip().startswith("<tbody")
    assert "HX-Request" in answer["Vary"]


@pytest.mark.parametrize("every", [timedelta(hours=1), timedelta(0)])
def test_paging_repeats_and_loses_nothing_while_runs_arrive(
    as_bob: Client, laptops: Collection, every: timedelta
) -> None:
    make_runs(laptops, 120, every=every)
    seen, address = [], ADDRESS
    while address:
        answer = as_bob.get(address, headers=HTMX)
        seen += numbers(answer)
        make_runs(laptops, 7)
        more = links(answer).get("Load more")
        address = ADDRESS + more if more else ""
    assert seen == list(range(120, 0, -1))


def test_runs_of_one_microsecond_are_told_apart(as_bob: Client, laptops: Collection) -> None:
    make_runs(laptops, 60, every=timedelta(microseconds=1))
    answer = as_bob.get(ADDRESS + links(as_bob.get(ADDRESS))["Load more"])
    assert numbers(answer) == list(range(10, 0, -1))


def test_a_place_before_the_first_run_says_so(as_bob: Client, laptops: Collection) -> None:
    make_runs(laptops, 1)
    answer = as_bob.get(ADDRESS, {"before": "2020-01-01T00:00:00.000000Z_1"})
    assert "No older runs" in answer.content.decode()


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
def test_it_refuses_a_damaged_cursor(as_bob: Client, laptops: Collection, cursor: str) -> None:
    answer = as_bob.get(ADDRESS, {"before": cursor})
    assert answer.status_code == 400
    assert "This address is damaged" in answer.content.decode()


@pytest.mark.parametrize(
    "cursor", ["0001-01-01T00:00:00.000000Z_0", "9999-12-31T23:59:59.999999Z_" + "9" * 18]
)
def test_it_takes_the_first_and_the_last_cursor_there_is(
    as_bob: Client, laptops: Collection, cursor: str
) -> None:
    assert as_bob.get(ADDRESS, {"before": cursor}).status_code == 200


@pytest.mark.parametrize("count", [10, 50])
def test_it_asks_as_few_queries_for_many_runs_of_many_pages(
    as_bob: Client, laptops: Collection, count: int, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    make_many_pages(laptops, count)
    with django_assert_max_num_queries(6):
        answer = as_bob.get(ADDRESS)
    assert answer.content.decode().count('class="pill"') == count * 40


# --- access -------------------------------------------------------------------------------------


def test_a_stranger_gets_the_same_403_for_a_collection_and_for_none(
    as_carol: Client, laptops: Collection
) -> None:
    answers = [as_carol.get(f"/collections/{number}/download") for number in (101, 999, 10**30)]
    assert {answer.status_code for answer in answers} == {403}
    assert len({re.sub(r'value="\w{64}"', "", answer.content.decode()) for answer in answers}) == 1


def test_an_htmx_request_without_a_session_goes_to_the_sign_in_page(
    client: Client, laptops: Collection
) -> None:
    answer = client.get(ADDRESS, headers=HTMX | {"HX-Current-URL": f"http://testserver{ADDRESS}"})
    assert answer["HX-Redirect"] == f"/accounts/login/?next={ADDRESS}"


def test_it_answers_only_get(as_bob: Client, laptops: Collection) -> None:
    assert as_bob.post(ADDRESS).status_code == 405
