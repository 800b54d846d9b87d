import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.test import Client
from django.utils import timezone
from django.utils.dateformat import format as date_format
from pytest_django import DjangoAssertNumQueries

from collections_app.models import Collection, Kind, Run, Team, User
from collections_app.models.conditions import acknowledge
from collections_app.models.expectations import pause
from collections_app.templatetags.relative_time import lasting
from collections_app.views.collections.order import ORDERS
from tests.support.html import columns, links, rows, text_of
from tests.support.meanwhile import ask_meanwhile
from tests.support.results import make_failed_run, make_processing_run, make_ready_run, records

NOON = datetime(2026, 6, 20, 12, tzinfo=UTC)
HTMX = {"HX-Request": "true"}


def make_collections(team: Team, count: int) -> None:
    for number in range(count):
        Collection.objects.create(team=team, name=f"Shelf {number:03}", kind=Kind.AMAZON)


# --- the list -----------------------------------------------------------------------------------


def test_it_redirects_a_visitor_to_sign_in(client: Client, db: None) -> None:
    response = client.get("/collections/?q=a")
    assert response.status_code == 302
    assert response["Location"] == "/accounts/login/?next=/collections/%3Fq%3Da"


def test_a_short_duration_is_short() -> None:
    assert lasting(timedelta(seconds=35)) == "< 1 min"


@pytest.mark.usefixtures("results_folder")
def test_a_row_shows_what_one_needs_to_judge_a_collection(
    as_bob: Client, laptops: Collection, headphones: Collection
) -> None:
    with time_machine.travel(NOON, tick=False):
        good = make_ready_run(headphones, records(3), at=NOON - timedelta(days=2))
        make_ready_run(headphones, records(2), at=NOON - timedelta(hours=5))
        Run.objects.filter(pk=good.pk).update(total=3)
        ended = NOON - timedelta(hours=4)
        Run.objects.exclude(pk=good.pk).update(total=1234, extracted=1200, updated_at=ended)
        response = as_bob.get("/collections/")
    assert ", ".join(columns(response)) == (
        "ID, Name, Type, Owner, Status, Last run, Last success, Records, Duration, Changes, Download, Actions"
    )
    laptops_row, headphones_row = rows(response)
    assert laptops_row[:9] == ["101", "AU Laptops", "Amazon", "", "No runs yet", "", "None", "", ""]
    assert headphones_row[:9] == [
        f"{headphones.pk}",
        "Headphones",
        "Amazon category",
        "",
        "Completed 34 missing",
        "5 h ago",
        "2 days ago",
        "1,200",
        "1 h",
    ]


def state_of(client: Client, collection: Collection) -> str:
    (row,) = [row for row in rows(client.get("/collections/")) if row[0] == f"{collection.pk}"]
    return row[4]


@pytest.mark.parametrize(
    ("ended", "state"),
    [
        ("", "Processing"),
        ("c", "Processing"),
        ("cf", "Processing Failed"),
        ("cfff", "Processing Failed 3 times in a row"),
    ],
)
def test_the_last_run_is_shown_while_the_next_one_is_processing(
    as_bob: Client, laptops: Collection, ended: str, state: str
) -> None:
    for kind in ended:
        (make_ready_run if kind == "c" else make_failed_run)(laptops)
    make_processing_run(laptops)
    assert state_of(as_bob, laptops) == state


def test_the_state_says_how_often_it_failed_in_a_row(as_bob: Client, laptops: Collection) -> None:
    make_failed_run(laptops)
    assert state_of(as_bob, laptops) == "Failed"
    make_failed_run(laptops)
    assert state_of(as_bob, laptops) == "Failed 2 times in a row"
    run = make_processing_run(laptops)
    Run.objects.filter(pk=run.pk).update(stalls_at=run.created_at)
    assert state_of(as_bob, laptops) == "Stalled Failed 3 times in a row"


def test_the_state_says_whether_it_is_late_paused_or_acknowledged(
    as_bob: Client, laptops: Collection, bob: User
) -> None:
    make_failed_run(laptops)
    Collection.objects.update(expected_at=NOON, late_at=NOON)
    assert state_of(as_bob, laptops) == "Failed Late"
    # Midnight of the team's day is on the day before in UTC.
    Team.objects.update(time_zone="Australia/Sydney")
    laptops.refresh_from_db()
    until = timezone.localdate() + timedelta(days=30)
    acknowledge(laptops, by=bob, note="The shop is down.", until=until)
    assert state_of(as_bob, laptops) == f"Failed Late Acknowledged until {date_format(until, 'j M Y')}"
    assert links(as_bob.get("/collections/"))[f"Acknowledged until {date_format(until, 'j M Y')}"].endswith(
        "#problem"
    )
    pause(laptops, by=bob)
    assert state_of(as_bob, laptops) == "Failed Paused"


def test_of_two_runs_with_the_same_time_the_higher_number_is_the_latest(
    as_bob: Client, laptops: Collection
) -> None:
    at = datetime(2026, 6, 20, 12, tzinfo=UTC)
    make_ready_run(laptops, at=at)
    make_processing_run(laptops, at=at)
    assert state_of(as_bob, laptops) == "Processing"


def test_headers_sort_the_list_and_keep_the_search(as_bob: Client, laptops: Collection) -> None:
    response = as_bob.get("/collections/?q=lap&sort=records")
    found = links(response)
    assert {name: found[name] for name in ("ID", "Name", "Status", "Last run", "Records")} == {
        "ID": "/collections/?q=lap&sort=id",
        "Name": "/collections/?q=lap",
        "Status": "/collections/?q=lap&sort=state",
        "Last run": "/collections/?q=lap&sort=recent",
        "Records": "/collections/?q=lap&sort=records",
    }
    (header,) = re.findall(r'<th\b[^>]*aria-sort="descending".*?</th>', response.content.decode(), re.DOTALL)
    assert text_of(header) == "Records"


def test_it_shows_nothing_of_another_team(
    as_bob: Client, laptops: Collection, secret_plans: Collection
) -> None:
    assert "Secret plans" not in as_bob.get("/collections/").content.decode()


def test_everyone_may_download_and_only_admins_may_manage(
    as_bob: Client, as_adam: Client, laptops: Collection
) -> None:
    managing = {"Add collection", "Rename", "Archive…"}
    to_bob, to_adam = (set(links(client.get("/collections/"))) for client in (as_bob, as_adam))
    assert "Download results" in to_bob
    assert not managing & to_bob
    assert managing <= to_adam


def test_the_number_of_queries_does_not_grow_with_the_list(
    as_bob: Client, crawlers: Team, alice: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    make_collections(crawlers, 20)
    for collection in Collection.objects.all():
        make_failed_run(collection)
        acknowledge(collection, by=alice, note="Known.", until=timezone.localdate() + timedelta(days=9))
    # The session, user and memberships; the collections; their conditions and runs.
    for sort in ORDERS:
        with django_assert_max_num_queries(13):
            response = as_bob.get("/collections/", {"sort": sort})
        assert len(rows(response)) == 20


def test_an_empty_list_says_what_to_do(as_adam: Client, as_bob: Client) -> None:
    assert "Add your first collection" in as_adam.get("/collections/").content.decode()
    assert "Ask an owner or admin of Crawlers" in as_bob.get("/collections/").content.decode()


def test_search_ignores_case(as_bob: Client, laptops: Collection, headphones: Collection) -> None:
    response = as_bob.get("/collections/?q=LAPtop")
    assert [row[1] for row in rows(response)] == ["AU Laptops"]
    assert 'value="LAPtop"' in response.content.decode()


def test_a_search_without_a_match_says_so(as_bob: Client, laptops: Collection) -> None:
    response = as_bob.get("/collections/", {"q": "<b>"})
    assert "No collections match “&lt;b&gt;”" in response.content.decode()
    assert links(response)["Clear search"] == "/collections/"


@pytest.mark.parametrize("text", ["\0", "%", "_", "'", "x" * 10_000, "💻"])
def test_any_search_works(as_bob: Client, laptops: Collection, text: str) -> None:
    assert as_bob.get("/collections/", {"q": text}).status_code == 200


def test_htmx_gets_only_the_results(as_bob: Client, laptops: Collection) -> None:
    response = as_bob.get("/collections/?q=lap", headers=HTMX)
    assert "<html" not in response.content.decode()
    assert [row[1] for row in rows(response)] == ["AU Laptops"]
    assert "HX-Request" in response["Vary"]


def test_htmx_gets_the_complete_page_to_restore_history(as_bob: Client, laptops: Collection) -> None:
    response = as_bob.get("/collections/", headers=HTMX | {"HX-History-Restore-Request": "true"})
    assert "<html" in response.content.decode()


def test_load_more_shows_every_collection_once(as_bob: Client, crawlers: Team) -> None:
    make_collections(crawlers, 120)
    Collection.objects.create(team=crawlers, name="shelf 050", kind=Kind.AMAZON)
    seen, address = [], "/collections/?q=shelf"
    while address:
        response = as_bob.get(address, headers=HTMX)
        seen += [row[1] for row in rows(response)]
        address = links(response).get("Load more", "")
    assert len(seen) == 121
    assert len(set(seen)) == 121
    assert [name.lower() for name in seen] == sorted(name.lower() for name in seen)


def test_fifty_collections_need_no_load_more(as_bob: Client, crawlers: Team) -> None:
    make_collections(crawlers, 50)
    assert "Load more" not in links(as_bob.get("/collections/"))


def test_load_more_without_htmx_is_a_page_with_a_link_back(as_bob: Client, crawlers: Team) -> None:
    make_collections(crawlers, 51)
    response = as_bob.get(links(as_bob.get("/collections/"))["Load more"])
    assert [row[1] for row in rows(response)] == ["Shelf 050"]
    assert links(response)["Back to the first page"].startswith("/collections/")


def test_a_page_after_the_last_collection_is_empty(as_bob: Client, laptops: Collection) -> None:
    assert "No more collections" in as_bob.get("/collections/?after=1_zzz").content.decode()


@pytest.mark.parametrize("after", ["x", "_", "1", "-1_a", "1_\0", "1" * 30 + "_a", "\u0661_a"])
def test_it_refuses_an_invalid_after(as_bob: Client, after: str) -> None:
    response = as_bob.get("/collections/", {"after": after})
    assert response.status_code == 400
    assert "Invalid “after” parameter" in response.content.decode()


def test_it_accepts_only_get(as_bob: Client) -> None:
    assert as_bob.post("/collections/").status_code == 405


# --- adding -------------------------------------------------------------------------------------


def test_an_admin_adds_a_collection_to_the_current_team(as_adam: Client, crawlers: Team) -> None:
    response = as_adam.post(
        "/collections/add", {"name": " Café “コーヒー” ", "kind": Kind.OFFICEWORKS}, follow=True
    )
    collection = Collection.objects.get()
    assert (collection.team, collection.name, collection.kind) == (
        crawlers,
        "Café “コーヒー”",
        Kind.OFFICEWORKS,
    )
    assert response.redirect_chain[-1][0] == f"/collections/{collection.pk}/download"
    assert "Added “Café “コーヒー””." in response.content.decode()


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"name": "  ", "kind": "amazon"}, "Enter a name for the collection."),
        ({"kind": "amazon"}, "Enter a name for the collection."),
        ({"name": "x" * 201, "kind": "amazon"}, "at most 200 characters. You entered 201."),
        ({"name": "a\0b", "kind": "amazon"}, "Remove the null characters."),
        ({"name": "a\nb", "kind": "amazon"}, "Remove line breaks and other control characters."),
        ({"name": "a\x85b", "kind": "amazon"}, "Remove line breaks and other control characters."),
        ({"name": "a\u202eb", "kind": "amazon"}, "Remove line breaks and other control characters."),
        ({"name": "\u200b\u2060", "kind": "amazon"}, "Enter at least one visible character."),
        ({"name": "Desks", "kind": "ebay"}, "Choose one of the options."),
        ({"name": "Desks"}, "Choose one of the options."),
    ],
)
def test_the_form_for_adding_shows_errors(as_adam: Client, fields: dict[str, str], complaint: str) -> None:
    response = as_adam.post("/collections/add", fields)
    assert response.status_code == 200
    assert complaint in response.content.decode()
    assert not Collection.objects.exists()


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("au LAPTOPS", "Your team already has a collection named “AU Laptops”."),
        ("CAFÉ", "Your team already has an archived collection named “Café”."),
        ("cafe\u0301", "Your team already has an archived collection named “Café”."),
    ],
)
def test_a_duplicate_name_is_refused(
    as_adam: Client, laptops: Collection, headphones: Collection, name: str, complaint: str
) -> None:
    Collection.objects.create(team=laptops.team, name="Café").archive()
    added = as_adam.post("/collections/add", {"name": name, "kind": "amazon"})
    renamed = as_adam.post(f"/collections/{headphones.pk}/rename", {"name": name})
    assert complaint in added.content.decode()
    assert complaint in renamed.content.decode()
    assert Collection.objects.count() == 3


@pytest.mark.parametrize("name", ["Secret plans", "Cafe", "au laptops"])
def test_names_may_differ_by_accents_or_team(
    as_adam: Client, laptops: Collection, secret_plans: Collection, name: str
) -> None:
    Collection.objects.create(team=laptops.team, name="Café")
    assert as_adam.post("/collections/101/rename", {"name": name}).status_code == 302
    laptops.refresh_from_db()
    assert laptops.name == name


def test_a_renamed_collection_is_found_by_its_new_name(as_adam: Client, laptops: Collection) -> None:
    as_adam.post("/collections/101/rename", {"name": "Ärzte"})
    assert [row[1] for row in rows(as_adam.get("/collections/?q=ARZ"))] == ["Ärzte"]
    assert rows(as_adam.get("/collections/?q=laptops")) == []


def test_a_member_cannot_add_collections(as_bob: Client) -> None:
    response = as_bob.post("/collections/add", {"name": "Desks", "kind": "amazon"})
    assert response.status_code == 403
    assert "Only admins and owners of" in response.content.decode()
    assert not Collection.objects.exists()


# --- renaming -----------------------------------------------------------------------------------


def test_an_admin_renames_a_collection(as_adam: Client, laptops: Collection) -> None:
    assert 'value="AU Laptops"' in as_adam.get("/collections/101/rename").content.decode()
    response = as_adam.post("/collections/101/rename", {"name": "NZ Laptops"}, follow=True)
    laptops.refresh_from_db()
    assert laptops.name == "NZ Laptops"
    assert "Renamed “AU Laptops” to “NZ Laptops”." in response.content.decode()


def test_renaming_never_changes_the_type(as_adam: Client, laptops: Collection) -> None:
    as_adam.post("/collections/101/rename", {"name": "NZ", "kind": Kind.AMAZON_CATEGORY})
    laptops.refresh_from_db()
    assert laptops.kind == Kind.AMAZON


def test_a_refused_name_leaves_the_old_name(as_adam: Client, laptops: Collection) -> None:
    response = as_adam.post("/collections/101/rename", {"name": ""})
    assert "Enter a name for the collection." in response.content.decode()
    assert "Rename “AU Laptops”" in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_renaming_keeps_concurrent_changes(as_adam: Client, laptops: Collection) -> None:
    def run_and_archive() -> None:
        Run.objects.create_next(laptops)
        laptops.archive()

    address, fields = "/collections/101/rename", {"name": "NZ Laptops"}
    response = ask_meanwhile(run_and_archive, lambda: as_adam.post(address, fields))
    assert response.status_code == 302
    changed = Collection.objects.get()
    assert (changed.name, changed.last_run_number) == ("NZ Laptops", 1)
    assert changed.archived_at == laptops.archived_at


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("address", ["/collections/add", "/collections/101/rename"])
def test_concurrent_requests_cannot_use_the_same_name(
    as_adam: Client, laptops: Collection, address: str
) -> None:
    def add() -> None:
        Collection.objects.create(team=laptops.team, name="Phones", kind=Kind.AMAZON)

    response = ask_meanwhile(add, lambda: as_adam.post(address, {"name": "phones", "kind": Kind.AMAZON}))
    assert "Your team already has a collection named “Phones”." in response.content.decode()
    assert Collection.objects.filter(name__iexact="phones").count() == 1


# --- archiving and restoring --------------------------------------------------------------------


def test_archiving_asks_for_confirmation(as_adam: Client, laptops: Collection) -> None:
    assert "Archive “AU Laptops”?" in as_adam.get("/collections/101/archive").content.decode()
    laptops.refresh_from_db()
    assert laptops.archived_at is None


def test_an_archived_collection_moves_to_the_archived_list(as_adam: Client, laptops: Collection) -> None:
    as_adam.post("/collections/101/archive")
    assert rows(as_adam.get("/collections/")) == []
    Collection.objects.update(archived_at=datetime(2026, 6, 20, 12, tzinfo=UTC))
    response = as_adam.get("/collections/?archived=1")
    assert [row[1] for row in rows(response)] == ["AU Laptops Archived 20 Jun 2026"]
    assert "Archived collections keep their runs and files." in response.content.decode()
    assert 'action="/collections/101/restore"' in response.content.decode()
    assert as_adam.get("/collections/101/download").status_code == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", ["archive", "restore"])
def test_archiving_keeps_concurrent_changes(as_adam: Client, laptops: Collection, what: str) -> None:
    def run_and_rename() -> None:
        Run.objects.create_next(laptops)
        Collection.objects.update(name="NZ Laptops")

    response = ask_meanwhile(run_and_rename, lambda: as_adam.post(f"/collections/101/{what}"))
    assert response.status_code == 302
    changed = Collection.objects.get()
    assert (changed.name, changed.last_run_number) == ("NZ Laptops", 1)
    assert (changed.archived_at is None) == (what == "restore")


def test_a_restored_collection_moves_back(as_adam: Client, laptops: Collection) -> None:
    laptops.archive()
    as_adam.post("/collections/101/restore")
    assert [row[1] for row in rows(as_adam.get("/collections/"))] == ["AU Laptops"]
    assert "No archived collections" in as_adam.get("/collections/?archived=1").content.decode()


def test_load_more_stays_in_the_archived_list(as_adam: Client, crawlers: Team) -> None:
    make_collections(crawlers, 51)
    for collection in crawlers.collections.all():
        collection.archive()
    response = as_adam.get(links(as_adam.get("/collections/?archived=1"))["Load more"])
    assert [row[1].partition(" Archived")[0] for row in rows(response)] == ["Shelf 050"]


@pytest.mark.parametrize("what", ["rename", "archive", "restore"])
def test_only_admins_of_its_team_manage_a_collection(
    as_bob: Client, as_carol: Client, alice: User, laptops: Collection, what: str
) -> None:
    assert as_bob.post(f"/collections/101/{what}", {"name": "x"}).status_code == 403
    assert as_carol.post(f"/collections/101/{what}", {"name": "x"}).status_code == 403
    laptops.refresh_from_db()
    assert (laptops.name, laptops.archived_at) == ("AU Laptops", None)


def test_a_get_request_does_not_restore_it(as_adam: Client, laptops: Collection) -> None:
    assert as_adam.get("/collections/101/restore").status_code == 405
