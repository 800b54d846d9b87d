"""The rows of the download page: folded for many pages, and cached for completed runs."""

import re
from datetime import UTC, datetime

import pytest
from django.core.cache import caches
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from collections_app.models import Collection, Membership, ResultFile, Role, Run, Team, User
from tests.support.html import links, rows, text_of
from tests.support.results import (
    make_failed_run,
    make_many_pages,
    make_processing_run,
    make_ready_run,
    records,
)
from tests.support.upstream import make_account, make_remote_collection, make_remote_run, refreshed_just_now

NOON = datetime(2026, 6, 20, 12, tzinfo=UTC)
ADDRESS = "/collections/101/download"
ZIP = "ZIP · 1 byte of run 1"
FILES = 'FROM "collections_app_resultfile"'


def queries_of(client: Client, address: str = ADDRESS) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(address).status_code == 200
    return [query["sql"] for query in queries]


# --- many pages ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pages", "labels"),
    [
        (1, ""),
        (2, "2 pages of run 1"),
        (3, "3 pages of run 1"),
        (4, "4 pages+2 pages of run 1"),
        (6, "6 pages+4 pages of run 1"),
        (40, "40 pages+38 pages+34 pages of run 1"),
        (5_000, "5,000 pages+4,998 pages+4,994 pages of run 1"),
    ],
)
def test_a_row_shows_the_first_pages_and_folds_the_others(
    as_bob: Client, laptops: Collection, pages: int, labels: str
) -> None:
    """The labels are for a phone, a laptop and a wide screen."""
    make_many_pages(laptops, 1, pages)
    response = as_bob.get(ADDRESS)
    shown = [name for name, address in links(response).items() if "/files/" in address]
    assert shown == [*(f"Page {number} of run 1" for number in range(1, min(pages, 6) + 1)), ZIP]
    assert rows(response)[0][3] == " ".join([*shown[:-1], labels]).strip()
    if labels:
        assert links(response)[labels] == "/collections/101/runs/1/pages"
        assert 'hx-get="/collections/101/runs/1/pages?open"' in response.content.decode()


def test_an_opened_row_has_all_pages_and_a_form_for_a_page_by_its_number(
    as_bob: Client, laptops: Collection
) -> None:
    make_many_pages(laptops, 1, 600)
    response = as_bob.get("/collections/101/runs/1/pages?open", headers={"HX-Request": "true"})
    content = response.content.decode()
    assert content.count('class="pill"') == 500
    assert links(response)["+100 more pages of run 1"] == "/collections/101/runs/1/pages?after=500"
    assert 'data-announce="Pages 1 to 500 of 600 shown"' in content
    (form,) = re.findall(r'<form class="jump" method="get" action="([^"]*)">', content)
    assert form == "/collections/101/runs/1/pages"
    assert re.search(r'name="page"\s+min="1"\s+max="600"', content)


def test_a_folded_row_and_its_queries_do_not_grow_with_the_pages(as_bob: Client, crawlers: Team) -> None:
    sizes, fetched = [], []
    for pages in (1_100, 3_100):
        collection = Collection.objects.create(team=crawlers, name="AU Laptops")
        make_many_pages(collection, 1, pages)
        address = f"/collections/{collection.pk}/download"
        (asked,) = [sql for sql in queries_of(as_bob, address) if FILES in sql]
        sizes.append(len(as_bob.get(address).content))
        fetched.append(len(ResultFile.objects.raw(asked)))
    assert sizes[0] == sizes[1]
    assert fetched == [7, 7]


@pytest.mark.sqlite(reason="its words for a query plan")
def test_the_database_reads_only_the_pages_that_are_shown(as_bob: Client, laptops: Collection) -> None:
    make_many_pages(laptops, 2, 30)
    (asked,) = [sql for sql in queries_of(as_bob) if FILES in sql]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {asked}")
        plan = str(cursor.fetchall())
    assert "(run_id=? AND kind=? AND position<?)" in plan


def test_only_runs_are_counted_up_to_a_limit(as_bob: Client, laptops: Collection) -> None:
    make_many_pages(laptops, 51, 30)
    counts = [sql for sql in queries_of(as_bob) if "COUNT(" in sql.upper()]
    (counted,) = [sql for sql in counts if "needs_slice" not in sql]
    assert "LIMIT 10001" in counted


# --- cached rows -------------------------------------------------------------------------


def test_files_of_cached_rows_are_not_queried(as_bob: Client, laptops: Collection) -> None:
    make_many_pages(laptops, 3)
    first = as_bob.get(ADDRESS)
    assert not [sql for sql in queries_of(as_bob) if FILES in sql]
    assert rows(as_bob.get(ADDRESS)) == rows(first)


def test_only_files_of_new_rows_are_queried(as_bob: Client, laptops: Collection) -> None:
    make_ready_run(laptops, at=NOON)
    as_bob.get(ADDRESS)
    new = make_ready_run(laptops, records(3), page_size=2)
    (asked,) = [sql for sql in queries_of(as_bob) if FILES in sql]
    assert {file.run_id for file in ResultFile.objects.raw(asked)} == {new.pk}
    assert [row[3] for row in rows(as_bob.get(ADDRESS))] == [
        "Page 1 of run 2 Page 2 of run 2 2 pages of run 2",
        "Page 1 of run 1",
    ]


def test_a_member_never_gets_an_admins_row(as_bob: Client, as_adam: Client, laptops: Collection) -> None:
    make_ready_run(laptops)
    for _ in range(2):
        assert "/runs/1/delete" in as_adam.get(ADDRESS).content.decode()
        assert "delete" not in as_bob.get(ADDRESS).content.decode()


def test_a_demoted_admin_gets_no_delete_link(as_adam: Client, adam: User, laptops: Collection) -> None:
    make_ready_run(laptops)
    assert "/runs/1/delete" in as_adam.get(ADDRESS).content.decode()
    adam.memberships.get().change_role(Role.MEMBER)
    assert "delete" not in as_adam.get(ADDRESS).content.decode()


def test_cached_rows_are_not_shown_to_others(
    as_bob: Client, as_carol: Client, client: Client, bob: User, laptops: Collection
) -> None:
    make_ready_run(laptops)
    as_bob.get(ADDRESS)
    assert as_carol.get(ADDRESS).status_code == 403
    assert client.get(ADDRESS).status_code == 302
    Membership.objects.get(user=bob).remove()
    assert as_bob.get(ADDRESS).status_code == 403


def test_identical_runs_of_two_teams_are_distinct(
    as_bob: Client, as_carol: Client, laptops: Collection, secret_plans: Collection
) -> None:
    make_ready_run(laptops, at=NOON)
    make_ready_run(secret_plans, at=NOON)
    theirs = f"/collections/{secret_plans.pk}"
    for _ in range(2):
        ours = as_bob.get(ADDRESS).content.decode()
        assert "/collections/101/runs/1/files/AU%20Laptops" in ours
        assert f"{theirs}/runs/" not in ours
        assert f"{theirs}/runs/1/files/Secret%20plans" in as_carol.get(f"{theirs}/download").content.decode()


def test_a_copied_run_says_so_at_once(as_bob: Client, crawlers: Team) -> None:
    collection = make_remote_collection(make_account(crawlers))
    refreshed_just_now(collection)
    run = make_remote_run(collection, size=1_000)
    address = f"/collections/{collection.pk}/download"
    assert "Copied here" not in as_bob.get(address).content.decode()
    Run.objects.filter(pk=run.pk).update(is_kept=True)
    assert "Copied here" in as_bob.get(address).content.decode()
    Run.objects.filter(pk=run.pk).update(is_kept=False)
    assert "Copied here" not in as_bob.get(address).content.decode()


def test_the_size_of_a_zip_is_shown_once_it_is_known(as_bob: Client, crawlers: Team) -> None:
    collection = make_remote_collection(make_account(crawlers))
    refreshed_just_now(collection)
    run = make_remote_run(collection)
    address = f"/collections/{collection.pk}/download"
    for _ in range(2):
        assert "archive-size" in as_bob.get(address).content.decode()
    run.files.filter(kind="archive").update(size=2_516_582)
    for _ in range(2):
        assert rows(as_bob.get(address))[0][4] == "ZIP · 2.4 MB of run 88"


def test_a_completed_run_shows_files_instead_of_progress(as_bob: Client, laptops: Collection) -> None:
    run = make_processing_run(laptops, records(3))
    assert rows(as_bob.get(ADDRESS))[0][1] == "Processing"
    Run.objects.filter(pk=run.pk).update(extracted=7)
    assert rows(as_bob.get(ADDRESS))[0][2].startswith("7")
    run.files.create(kind="archive", name="a.zip", position=0, size=9, modified=timezone.now())
    Run.objects.filter(pk=run.pk).update(state="ready", file_count=2, total=7)
    assert rows(as_bob.get(ADDRESS))[0][1:] == ["Completed", "7", "Page 1 of run 1", "ZIP · 9 bytes of run 1"]


def test_a_failed_run_shows_its_current_reason(as_bob: Client, laptops: Collection) -> None:
    run = make_failed_run(laptops, "The shop did not response.")
    as_bob.get(ADDRESS)
    Run.objects.filter(pk=run.pk).update(failure_reason="The shop asked for a captcha.")
    assert "captcha" in text_of(as_bob.get(ADDRESS).content.decode())


def test_a_deleted_run_is_gone(as_bob: Client, as_adam: Client, laptops: Collection) -> None:
    make_ready_run(laptops)
    as_bob.get(ADDRESS)
    as_adam.post("/collections/101/runs/1/delete")
    assert "No runs yet" in as_bob.get(ADDRESS).content.decode()


def test_renaming_a_collection_keeps_the_file_names(
    as_bob: Client, as_adam: Client, laptops: Collection
) -> None:
    make_ready_run(laptops)
    before = rows(as_bob.get(ADDRESS))
    as_adam.post("/collections/101/rename", {"name": "NZ Laptops"})
    response = as_bob.get(ADDRESS)
    assert rows(response) == before
    assert all(
        as_bob.head(address).status_code == 200 for address in links(response).values() if "files" in address
    )


def test_rows_with_very_long_names_are_not_cached(as_bob: Client, laptops: Collection) -> None:
    make_many_pages(laptops, 1, 24)
    for file in ResultFile.objects.all():
        file.name = f"{'笔' * 200}{file.position}"
        file.save()
    as_bob.get(ADDRESS)
    assert [sql for sql in queries_of(as_bob) if FILES in sql]


def test_the_number_of_cached_rows_is_limited(
    as_bob: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches["run_rows"], "_max_entries", 10)
    make_many_pages(laptops, 20, 1)
    for _ in range(2):
        assert len(rows(as_bob.get(ADDRESS))) == 20
    assert len(caches["run_rows"]._cache) <= 10  # type: ignore[attr-defined]
