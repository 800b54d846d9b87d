"""All pages of a run in steps, and by number."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from collections_app.models import Collection, ResultFile
from tests.support import responses
from tests.support.html import links, text_of
from tests.support.responses import Response
from tests.support.results import (
    make_failed_run,
    make_many_pages,
    make_processing_run,
    make_ready_run,
    records,
)

HTMX = {"HX-Request": "true"}
ADDRESS = "/collections/101/runs/1/pages"


def shown(response: Response) -> list[int]:
    return [int(name.split()[1]) for name in links(response) if name.startswith("Page ")]


def test_pages_are_shown_500_at_a_time(as_bob: Client, laptops: Collection) -> None:
    make_many_pages(laptops, 1, 1_100)
    response = as_bob.get(ADDRESS)
    assert shown(response) == list(range(1, 501))
    assert links(response)["+600 more pages of run 1"] == f"{ADDRESS}?after=500"
    response = as_bob.get(f"{ADDRESS}?after=1000")
    assert shown(response) == list(range(1_001, 1_101))
    assert "more" not in " ".join(links(response))
    assert links(response)["Back to the first pages"] == ADDRESS


def test_500_pages_need_no_more(as_bob: Client, laptops: Collection) -> None:
    make_many_pages(laptops, 1, 500)
    response = as_bob.get(ADDRESS)
    assert len(shown(response)) == 500
    assert "more" not in " ".join(links(response))


def test_every_link_has_its_file(as_bob: Client, laptops: Collection) -> None:
    make_ready_run(laptops, records(5), page_size=2)
    response = as_bob.get(ADDRESS)
    assert shown(response) == [1, 2, 3]
    assert [as_bob.head(links(response)[f"Page {n} of run 1"]).status_code for n in (1, 2, 3)] == [200] * 3


def test_htmx_gets_links_only_and_they_are_announced(as_bob: Client, laptops: Collection) -> None:
    make_many_pages(laptops, 1, 600)
    response = as_bob.get(f"{ADDRESS}?after=12", headers=HTMX)
    content = response.content.decode()
    assert content.strip().startswith('<li data-announce="Pages 13 to 512 of 600 shown">')
    assert content.count("data-announce") == 1
    assert "<ul" not in content
    assert "HX-Request" in response["Vary"]
    assert links(response)["+88 more pages of run 1"] == f"{ADDRESS}?after=512"


def test_pages_can_be_selected_on_the_page(as_bob: Client, laptops: Collection) -> None:
    make_many_pages(laptops, 1, 600)
    text = as_bob.get(ADDRESS).content.decode()
    assert text.count('name="pages"') == 500
    assert 'value="1.500" aria-label="Select page 500"' in text
    assert 'id="selection"' in text
    assert f'hx-get="{ADDRESS}?after=500&amp;select=1"' in text
    more = as_bob.get(f"{ADDRESS}?after=500&select=1", headers=HTMX).content.decode()
    assert more.count('name="pages"') == 100
    of_a_row = as_bob.get(f"{ADDRESS}?after=12", headers=HTMX).content.decode()
    assert 'name="pages"' not in of_a_row
    assert "select=1" not in of_a_row


def test_pages_that_are_not_copied_cannot_be_selected(as_bob: Client, laptops: Collection) -> None:
    make_many_pages(laptops, 1, 30)
    ResultFile.objects.update(key="")
    text = as_bob.get(ADDRESS).content.decode()
    assert 'name="pages"' not in text
    assert 'id="selection"' not in text


def test_a_page_number_redirects_to_the_file(as_bob: Client, laptops: Collection) -> None:
    make_ready_run(laptops, records(5), page_size=2)
    response = as_bob.get(ADDRESS, {"page": "3"}, follow=True)
    assert response.status_code == 200
    assert response["Content-Disposition"].startswith("attachment")
    assert responses.content(response).count(b"asin") == 1


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ("4", "Run 1 has no page 4. It has pages 1 to 3."),
        ("0", "Run 1 has no page 0. It has pages 1 to 3."),
        ("999999999", "Run 1 has no page 999,999,999. It has pages 1 to 3."),
        ("", "Enter a page number of run 1. It has pages 1 to 3."),
        ("-1", "Enter a page number of run 1. It has pages 1 to 3."),
        ("1e3", "Enter a page number of run 1. It has pages 1 to 3."),
        ("\u0663", "Enter a page number of run 1. It has pages 1 to 3."),
        ("9" * 5_000, "Enter a page number of run 1. It has pages 1 to 3."),
        ("3\0", "Enter a page number of run 1. It has pages 1 to 3."),
        ("<b>", "Enter a page number of run 1. It has pages 1 to 3."),
    ],
)
def test_an_unknown_page_number_is_explained(
    as_bob: Client, laptops: Collection, wanted: str, problem: str
) -> None:
    make_ready_run(laptops, records(5), page_size=2)
    response = as_bob.get(ADDRESS, {"page": wanted})
    assert response.status_code == 200
    assert problem in text_of(response.content.decode())
    assert shown(response) == [1, 2, 3]


def test_a_run_of_one_page_says_so(as_bob: Client, laptops: Collection) -> None:
    make_ready_run(laptops)
    response = as_bob.get(ADDRESS, {"page": "2"})
    assert "Run 1 has no page 2. It has one page." in text_of(response.content.decode())


def test_there_are_no_pages_after_the_last_one(as_bob: Client, laptops: Collection) -> None:
    make_ready_run(laptops)
    assert "No more pages" in as_bob.get(f"{ADDRESS}?after=7").content.decode()


@pytest.mark.parametrize("after", ["x", "-1", "1" * 10, "1\0", "\u0661"])
def test_it_refuses_an_invalid_after(as_bob: Client, laptops: Collection, after: str) -> None:
    make_ready_run(laptops)
    response = as_bob.get(ADDRESS, {"after": after})
    assert response.status_code == 400
    assert "Invalid “after” parameter" in response.content.decode()


def test_runs_without_pages_are_explained(
    as_bob: Client, laptops: Collection, headphones: Collection
) -> None:
    make_processing_run(laptops, records(1))
    make_failed_run(laptops)
    make_ready_run(headphones)
    for address, reason in (
        (ADDRESS, "Run 1 is still processing."),
        ("/collections/101/runs/2/pages", "Run 2 failed, so it has no files."),
        ("/collections/101/runs/3/pages", "This collection has no run 3."),
        (f"/collections/{headphones.pk}/runs/1/pages", "have a list and a CSV file, but no pages"),
    ):
        response = as_bob.get(address)
        assert response.status_code == 404
        assert reason in text_of(response.content.decode())


def test_the_number_of_queries_does_not_grow_with_the_pages(
    as_bob: Client, laptops: Collection, secret_plans: Collection
) -> None:
    taken = []
    for pages in (25, 5_000):
        collection = Collection.objects.create(team=laptops.team, name=f"{pages}")
        make_many_pages(collection, 1, pages)
        with CaptureQueriesContext(connection) as queries:
            as_bob.get(f"/collections/{collection.pk}/runs/1/pages")
        taken.append(len(queries))
        assert not [query for query in queries if "COUNT(" in query["sql"].upper()]
    assert taken == [6, 6]


def test_a_stranger_gets_403_for_existing_and_unknown_pages(as_carol: Client, laptops: Collection) -> None:
    make_ready_run(laptops)
    for address in (ADDRESS, f"{ADDRESS}?page=1", "/collections/101/runs/9/pages"):
        assert as_carol.get(address).status_code == 403
