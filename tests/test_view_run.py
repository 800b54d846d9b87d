"""The page of a run: its facts, files and records."""

import errno
import html
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.core.files.storage import storages
from django.db.models.signals import post_init
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from collections_app.files.storage.cache import cached
from collections_app.models import Collection, FileKind, ResultFile, Run, User
from collections_app.records.preview import engine, first_records, table
from collections_app.records.preview.columns import LONGEST_NAME, MOST_COLUMNS
from collections_app.records.preview.concurrency import MOST_PER_USER, queries_of
from collections_app.records.preview.engine import SEARCHES
from collections_app.runs.removal import delete_run
from collections_app.system import background
from collections_app.views.run.json_colors import colored
from tests.support.previews import at_once  # noqa: F401
from tests.support.results import (
    make_failed_run,
    make_processing_run,
    make_ready_run,
    make_run_of_pages,
    records,
)
from tests.support.tools import all_or_few, is_thorough

DASH = "\N{EN DASH}"
QUOTE = '"'
HTMX = {"HX-Request": "true"}

pytestmark = pytest.mark.django_db


def address(run: Run, query: str = "") -> str:
    return f"/collections/{run.collection_id}/runs/{run.number}/{query}"


def page(client: Client, run: Run, query: str | Mapping[str, Any] = "", **headers: str) -> str:
    where = address(run, query if isinstance(query, str) else "")
    response = client.get(where, None if isinstance(query, str) else query, headers=headers)
    assert response.status_code == 200
    return response.content.decode()


def rows(text: str) -> list[list[str]]:
    """Return the texts of the table of records, including their numbers."""
    (sheet,) = re.findall(r'<div class="scroll-table" id="records-table".*?</div>', text, re.DOTALL) or [text]
    found = re.findall(r"<tr>\s*(<th scope=\"row\".*?)</tr>", sheet, re.DOTALL)
    return [
        [
            html.unescape(re.sub(r"<[^>]+>", "", cell)).strip()
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row)
        ]
        for row in found
    ]


def headers_of(text: str) -> list[str]:
    return [html.unescape(name) for name in re.findall(r'id="sort-\d+"[^>]*>([^<]*)', text)]


def numbers(text: str) -> list[int]:
    return [int(row[0]) for row in rows(text)]


def words(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def listed_files(text: str) -> str:
    (found,) = re.findall(r'<section id="files".*?</section>\s*<dialog', text, re.DOTALL)
    return str(found)


def test_counts_that_the_account_does_not_report_are_unknown(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, records(3))
    Run.objects.update(extracted=None, total=50)
    text = words(page(as_bob, run))
    assert "Records Unknown (50 requested)" in text
    assert "incomplete" not in text


# --- a completed run ----------------------------------------------------------------------------


def test_it_shows_the_run_its_files_and_its_records(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, records(3))
    text = page(as_bob, run)
    assert headers_of(text) == ["title", "price_cents", "asin"]
    assert rows(text) == [
        ["1", "Laptop 1", "1.00", "B000000001"],
        ["2", "Laptop 2", "2.00", "B000000002"],
        ["3", "Laptop 3", "3.00", "B000000003"],
    ]
    assert "Records 3" in words(text)
    for file in run.files.all():
        assert file.sha256 in text
        assert f'href="{address(run)}files/{file.name.replace(" ", "%20")}"' in text


def test_it_links_to_the_previous_and_the_next_run(as_bob: Client, laptops: Collection) -> None:
    runs = [make_ready_run(laptops, records(1)) for _ in range(3)]
    links = [re.findall(r'href="([^"]*)" rel="(prev|next)"', page(as_bob, run)) for run in runs]
    first, second, third = map(address, runs)
    assert links == [[(second, "next")], [(first, "prev"), (third, "next")], [(second, "prev")]]


def test_it_names_the_collection_once_and_links_to_its_sections(as_bob: Client, laptops: Collection) -> None:
    text = page(as_bob, make_ready_run(laptops, records(1)))
    main = text[text.index("<main") : text.index("</main>")]
    assert words(main).count("AU Laptops ") == 1
    for section in re.findall(r'<a href="#(\w+)">', main):
        assert f'<section id="{section}"' in main
    assert re.findall(r'<a href="#(\w+)">', main) == ["records", "facts", "files"]


def test_only_people_who_may_delete_the_run_see_the_link(
    as_bob: Client, as_alice: Client, laptops: Collection
) -> None:
    run = make_ready_run(laptops, records(1))
    assert address(run, "delete") in page(as_alice, run)
    assert address(run, "delete") not in page(as_bob, run)


def test_its_menu_copies_a_curl_command(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, records(1))
    assert f'<a href="{address(run, "commands")}" hx-get=' in page(as_bob, run)


def test_the_first_hundred_records_are_shown_with_a_link_to_more(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, records(250), page_size=40)
    first = page(as_bob, run)
    assert numbers(first) == list(range(1, 101))
    assert 'hx-trigger="click, intersect once root:#records-table"' in first
    more = page(as_bob, run, "?after=100", **HTMX)
    assert more.lstrip().startswith("<tbody")
    assert numbers(more) == list(range(101, 201))
    last = page(as_bob, run, "?after=200", **HTMX)
    assert numbers(last) == list(range(201, 251))
    assert "load-more" not in last


def test_more_records_are_a_separate_page_without_javascript(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, records(101))
    text = page(as_bob, run, "?after=100")
    assert numbers(text) == [101]
    assert "From record 101" in words(text)


def test_a_hundred_records_need_no_link_to_more(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, records(100), page_size=100)
    assert "load-more" not in page(as_bob, run)


def test_the_files_offer_no_second_zip(as_bob: Client, laptops: Collection, headphones: Collection) -> None:
    for collection in (laptops, headphones):
        assert "all as ZIP" not in page(as_bob, make_ready_run(collection, records(2)))


def test_a_category_list_is_shown_too(as_bob: Client, headphones: Collection) -> None:
    run = make_ready_run(headphones, records(2))
    assert [row[1] for row in rows(page(as_bob, run))] == ["Laptop 1", "Laptop 2"]
    assert [row[1] for row in rows(page(as_bob, run, "?q=laptop+2"))] == ["Laptop 2"]


def test_a_run_without_records(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, [])
    assert "This run completed without finding any records." in words(page(as_bob, run))
    assert "No records match “x”" in words(page(as_bob, run, "?q=x"))
    assert "0 in 0 columns" in words(as_bob.get(address(run, "facts")).content.decode())


def test_the_facts_show_prices_as_the_records_do(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(
        laptops, [{"price_cents": 129900, "stock": 5}, {"price_cents": 399350, "stock": 1200}]
    )
    shown = words(as_bob.get(address(run, "facts")).content.decode())
    assert "price_cents 2 0 1,299.00 3,993.50" in shown
    assert "stock 2 0 5 1,200" in shown


def test_a_partial_run_says_so(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, records(3))
    Run.objects.filter(pk=run.pk).update(total=250)
    assert "3 of 250 records were found." in words(page(as_bob, run))


def test_the_number_of_queries_does_not_grow_with_the_run(
    as_bob: Client, laptops: Collection, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_ready_run(laptops, records(1))  # the others are compared with it
    small, large = make_ready_run(laptops, records(1)), make_ready_run(laptops, records(300), page_size=10)
    for run in (small, large):
        for query in ("", "?q=laptop&sort=title"):
            # session, user, memberships, collection, columns; run, files, sizes, verification; verdict,
            # comparison and its settings; other runs
            with django_assert_num_queries(14):
                page(as_bob, run, query)


def test_the_files_of_a_run_of_many_pages_are_folded(as_bob: Client, laptops: Collection) -> None:
    few, many = make_ready_run(laptops, records(24), page_size=1), make_ready_run(laptops, [])
    assert "more" not in listed_files(page(as_bob, few))
    assert listed_files(page(as_bob, few)).count("<tr") == 1 + 25
    pages = [
        ResultFile(
            run=many, kind=FileKind.PAGE, position=n, name=f"{n}", key="x", size=1, modified=many.created_at
        )
        for n in range(2, 5_001)
    ]
    ResultFile.objects.bulk_create(pages)
    Run.objects.filter(pk=many.pk).update(file_count=5_001)
    read: list[object] = []
    post_init.connect(
        lambda instance, **_: read.append(instance), sender=ResultFile, weak=False, dispatch_uid="read"
    )
    try:
        text = page(as_bob, many)
    finally:
        post_init.disconnect(sender=ResultFile, dispatch_uid="read")
    assert len(read) <= 26
    assert listed_files(text).count("<tr") == 1 + 13
    assert "Files 5,001 ·" in words(text)
    assert "+4,988 more pages ; their sizes and checksums are in manifest.json" in words(text)
    assert f'href="{address(many, "pages")}"' in text


def test_records_load_on_scroll_unless_the_run_is_large(
    as_bob: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_ready_run(laptops, records(300), page_size=10)
    assert "intersect once root:#records-table" in page(as_bob, run)
    size = sum(file.size or 0 for file in run.files.filter(kind=FileKind.PAGE))
    monkeypatch.setattr(table, "LARGEST_AUTOMATIC", size - 1)
    assert "intersect once root:#records-table" not in page(as_bob, run)
    monkeypatch.setattr(table, "LARGEST_AUTOMATIC", size)
    assert "intersect once root:#records-table" in page(as_bob, run)


# --- searching and sorting ----------------------------------------------------------------------

SHOP: list[dict[str, Any]] = [
    {"name": "Zürich lamp", "price": 20, "tags": ["bright", "Öko"], "note": None},
    {"name": "apple", "price": 3.5, "note": "in\u2028two lines"},
    {"name": "Banana", "price": "11", "note": ""},
    {"name": "cherry", "note": "x"},
]


@pytest.fixture
def shop(laptops: Collection) -> Run:
    return make_ready_run(laptops, SHOP)


def test_search_covers_all_values(as_bob: Client, shop: Run) -> None:
    for search, found in (
        ("lamp", [1]),
        ("LAMP", [1]),
        ("zurich", [1]),
        ("ZÜRICH", [1]),
        ("oko", [1]),
        ("11", [3]),
        ("an", [3]),
        ("%", []),
        ("_", []),
        ("' OR 1=1 --", []),
        ('"', []),  # the list of tags has quotes only in JSON
        ("name", []),  # keys aren't searched
        ("lamp zurich", [1]),
        ("LAMP oko 20", [1]),
        ("lamp apple", []),
        ('"zurich lamp"', [1]),
        ('"lamp zurich"', []),
        ("in two lines", [2]),
        ("3.5", [2]),
        ("Zu\u0308rich\u00a0\u3000la\u200bmp", [1]),
        ("\uff12\uff10", [1]),
    ):
        assert numbers(page(as_bob, shop, {"q": search})) == found, search


def test_search_covers_lists_and_objects(as_bob: Client, laptops: Collection) -> None:
    said = ['They say "hi" now", "', "C:\\temp", "One\nTwo"]
    run = make_ready_run(laptops, [{"a": "nothing"}, {"a": {"said": said}}, *({"a": text} for text in said)])
    for search in ('say "hi"', "c:\\temp", 'now", "', "one\ntwo"):
        found = numbers(page(as_bob, run, {"q": search}))
        assert found[0] == 2, search
        assert len(found) == 2, search


def test_search_finds_numbers_as_their_file_writes_them(as_bob: Client, laptops: Collection) -> None:
    content = (
        b'[{"p":1299.00,"q":0.1234567890123456789,"e":1E5,"n":[-12345678901234567890123]}, {"p":1299.5}]'
    )
    run = make_run_of_pages(laptops, {"a.json": content})
    for search in ("1299.00", "0.1234567890123456789", "1e5", "1E5", "-12345678901234567890123"):
        assert numbers(page(as_bob, run, {"q": search})) == [1], search


@pytest.mark.parametrize("search", ["x" * 201, "laptop " * 1_000])
def test_a_search_that_is_too_long_is_refused(as_bob: Client, laptops: Collection, search: str) -> None:
    run = make_ready_run(laptops, records(1))
    response = as_bob.get(address(run), {"q": search})
    assert response.status_code == 400
    assert "The search is too long. Use at most 200 characters." in words(response.content.decode())


def test_a_search_shows_the_number_of_matches(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, records(250))
    text = page(as_bob, run, {"q": '"laptop 1"'})
    assert '111 records match “"laptop 1"”' in words(text)
    assert len(rows(text)) == 100
    more = page(as_bob, run, {"q": '"laptop 1"', "after": "100"}, **HTMX)
    assert len(rows(more)) == 11


def test_sorting_puts_missing_values_last(as_bob: Client, shop: Run) -> None:
    for sort, found in (
        ({"sort": "name"}, [2, 3, 4, 1]),
        ({"sort": "name", "dir": "desc"}, [1, 4, 3, 2]),
        ({"sort": "price"}, [2, 3, 1, 4]),
        ({"sort": "price", "dir": "desc"}, [1, 3, 2, 4]),
        ({"sort": "note"}, [2, 4, 1, 3]),
        ({"sort": "no such column"}, [1, 2, 3, 4]),
        ({"sort": "name; DROP TABLE x"}, [1, 2, 3, 4]),
        ({"sort": "name", "q": "a"}, [2, 3, 1]),
    ):
        assert numbers(page(as_bob, shop, sort)) == found, sort


def test_a_column_header_shows_its_order_and_links_to_the_next(as_bob: Client, shop: Run) -> None:
    def name_head(query: str) -> str:
        (head,) = re.findall(r"<th[^>]*>\s*<a[^>]*>name", page(as_bob, shop, query))
        return html.unescape(head)

    assert "aria-sort" not in name_head("")
    assert 'href="/collections/101/runs/1/?sort=name#' in name_head("")
    up = name_head("?sort=name")
    assert 'aria-sort="ascending"' in up
    assert "?sort=name&dir=desc#" in up
    down = name_head("?sort=name&dir=desc")
    assert 'aria-sort="descending"' in down
    assert 'href="/collections/101/runs/1/?#' in down


def test_chosen_columns_are_in_every_link(as_bob: Client, shop: Run) -> None:
    text = page(as_bob, shop, "?column=price&column=name&column=unknown&q=a")
    assert headers_of(text) == ["name", "price"]
    assert "No record here has the column “unknown”." in words(text)
    assert len(re.findall(r'name="column" value="(?:name|price)" checked', text)) == 2
    assert 'name="column" value="note" >' in text
    head = html.unescape(re.findall(r'href="([^"]*)" id="sort-1"', text)[0])
    assert head.endswith("?q=a&sort=name&column=price&column=name&column=unknown#records")


def test_twelve_columns_are_shown_by_default(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, [{f"key {number}": number for number in range(20)}])
    text = page(as_bob, run)
    assert headers_of(text) == [f"key {number}" for number in range(12)]
    assert "12 of 20" in words(text)


def test_chosen_columns_are_saved_for_each_person_and_collection(
    as_bob: Client, as_alice: Client, shop: Run, headphones: Collection
) -> None:
    response = as_bob.post(address(shop, "columns"), {"column": ["note", "name"], "q": "a", "sort": "name"})
    assert response["Location"] == f"{address(shop)}?q=a&sort=name#records"
    later = make_ready_run(shop.collection, [*SHOP, {"new": 1}])
    for query in ("", "?q=a"):
        assert headers_of(page(as_bob, later, query)) == ["name", "note"]
    assert headers_of(page(as_bob, later, "?column=price")) == ["price"]
    assert headers_of(page(as_alice, later)) == ["name", "price", "tags", "note", "new"]
    assert "note" not in headers_of(page(as_bob, make_ready_run(headphones)))
    assert headers_of(page(as_bob, make_ready_run(shop.collection, [{"id": 1}]))) == ["id"]
    as_bob.post(address(shop, "columns"), {"column": "note", "reset": "1"})
    assert headers_of(page(as_bob, shop)) == ["name", "price", "tags", "note"]


@pytest.mark.parametrize("columns", [["x" * 501], ["a\0"], [str(number) for number in range(301)]])
def test_only_columns_that_can_be_shown_are_saved(as_bob: Client, shop: Run, columns: list[str]) -> None:
    assert as_bob.post(address(shop, "columns"), {"column": columns}).status_code == 400


def test_a_long_list_of_columns_is_folded(as_bob: Client, laptops: Collection) -> None:
    text = page(as_bob, make_ready_run(laptops, [{f"key {number}": number for number in range(41)}]))
    assert "17 more columns" in words(text)
    assert text.count('name="column" value="key ') == 41


def test_more_records_have_the_same_columns(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, [*records(100), {"asin": "last", "new": 1}])
    text = page(as_bob, run)
    (more,) = re.findall(r'id="load-more" href="([^"#]*)', text)
    response = as_bob.get(html.unescape(more), headers=HTMX)
    assert [len(row) for row in rows(response.content.decode())] == [1 + len(headers_of(text))]


def test_htmx_gets_the_records_only(as_bob: Client, shop: Run) -> None:
    response = as_bob.get(address(shop), {"q": "lamp"}, headers=HTMX)
    assert "<html" not in response.content.decode()
    assert 'data-announce="1 record found"' in response.content.decode()
    assert "HX-Request" in response.headers["Vary"]


# --- values -------------------------------------------------------------------------------------

HOSTILE = {
    "<script>alert(1)</script>": "<img src=x onerror=alert(1)>",
    "'; DROP TABLE records; --": "'; DROP TABLE records; --",
    'c0", c1': "double",
    "a/b~c": "pointer",
    "": "no name",
    "\0": "\0 nothing",
    "asin": 1,
    "ASIN": 2,
    "c1": 3,
    "url": 'https://example.com/?a=1&b="><script>',
    "link": "https://example.com/?a=1&b=2",
    "js": "javascript:alert(1)",
    "pair": "\ud83d\ude00",
    "half": "\ud83d",
    "key \ud83d": "half a key",
    "huge": 10**40,
    "long": "é" * 100_000,
}


SHOWN = [key.replace("\ud83d", "?").replace("\0", "\ufffd") for key in HOSTILE]
SHOWN[SHOWN.index("")] = "(no name)"
SHOWN[SHOWN.index("ASIN")] = "ASIN (2)"


@pytest.fixture
def hostile(laptops: Collection) -> Run:
    return make_run_of_pages(laptops, {"a.json": json.dumps([HOSTILE, {"c1": 4}]).encode()})


@pytest.mark.parametrize(
    "query", all_or_few(["", "?q=DROP", "?q=pointer", "?sort=c1&dir=desc"], "", "?q=DROP")
)
def test_hostile_records_are_escaped(as_bob: Client, hostile: Run, query: str) -> None:
    text = page(as_bob, hostile, query + "&column=".join(["&" if query else "?", *map(quote, SHOWN)]))
    main = text.partition("<main")[2].partition("</main>")[0]
    assert "<script" not in main
    assert "<img" not in main
    assert 'href="javascript' not in main
    assert main.count('href="https://') == 1
    assert '<a href="https://example.com/?a=1&amp;b=2" rel="noopener noreferrer nofollow">' in main
    assert len(main) < 70_000
    (first, *_) = [row for row in rows(text) if row[0] == "1"]
    assert first[headers_of(text).index("ASIN (2)") + 1] == "2"
    assert first[headers_of(text).index("half") + 1] == "?"
    assert first[headers_of(text).index("key ?") + 1] == "half a key"
    assert first[headers_of(text).index("long") + 1] == "é" * 160 + "…"


def test_every_column_can_be_sorted_by(as_bob: Client, hostile: Run) -> None:
    for column in SHOWN if is_thorough() else SHOWN[::4]:
        found = numbers(page(as_bob, hostile, {"sort": column, "dir": "desc"}))
        assert found == ([2, 1] if column == "c1" else [1, 2]), column


@pytest.mark.parametrize(
    ("content", "shown", "said"),
    [
        (b'[1, "two", [3], null, {"a": 4}]', ["1", "two", "[3]", DASH, DASH], ""),
        (b'{"a": 1}', ["1"], ""),
        (b'[{"a": 1}, {"a": 2}, oops', ["1", "2"], "a.json: line 1, column 22"),
        (b"<html>sign in</html>", [], "a.json: line 1, column 1"),
        (b"", [], "a.json: line 1, column 1: The file is empty."),
    ],
)
def test_invalid_json_is_shown_up_to_the_error(
    as_bob: Client, laptops: Collection, content: bytes, shown: list[str], said: str
) -> None:
    run = make_ready_run(laptops, [])
    _replace(run, content)
    text = page(as_bob, run)
    assert [row[1] for row in rows(text)] == shown
    assert said in words(text)
    again = page(as_bob, run, "?after=0&sort=a")
    assert sorted(row[1] for row in rows(again)) == sorted(shown)
    assert said in words(again)
    assert as_bob.get(address(run, "facts")).status_code == 200


def _replace(run: Run, content: bytes) -> None:
    """Replace the content of a run's only page, as an account might send it."""
    file = run.files.get(kind="page")
    with storages["results"].open(file.key, "wb") as stored:
        stored.write(content)
    run.files.filter(pk=file.pk).update(size=len(content), name="a.json")


# --- a record -----------------------------------------------------------------------------------


def test_a_record_is_shown_in_full(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, [*records(1), {"nested": {"<b>": ["é", None]}}])
    text = as_bob.get(address(run, "records/2")).content.decode()
    (shown,) = re.findall(r"<code id=\"record-json\">(.*?)</code>", text, re.DOTALL)
    assert json.loads(html.unescape(re.sub("<[^>]*>", "", shown))) == {"nested": {"<b>": ["é", None]}}
    assert f'href="{address(run, "records/1")}"' in text
    assert "record-next" not in text


def test_the_json_of_a_record_is_colored_and_can_be_copied(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, [{"<b>": 'say "hi": </code>', "price": -1.5e3, "sold": [True, None, 7]}])
    text = page(as_bob, run, "records/1")
    (code,) = re.findall(r'<code id="record-json">(.*?)</code>', text, re.DOTALL)
    colors = [
        (kind, html.unescape(value))
        for kind, value in re.findall(r'<span class="json-(\w+)">(.*?)</span>', code)
    ]
    assert colors == [
        ("key", '"<b>"'),
        ("text", '"say \\"hi\\": </code>"'),
        ("key", '"price"'),
        ("number", "-1500.0"),
        ("key", '"sold"'),
        ("word", "true"),
        ("word", "null"),
        ("number", "7"),
    ]
    assert 'data-copy="record-json"' in text


def test_the_dialog_of_a_record_links_to_its_page(as_bob: Client, shop: Run) -> None:
    link = f'href="{address(shop, "records/2")}">'
    assert link not in page(as_bob, shop, "records/2")
    assert link in page(as_bob, shop, "records/2", **HTMX, **{"HX-Target": "record-dialog"})


@pytest.mark.parametrize("value", ['"' * 40_000, "\\" * 49_999, '"\\' * 30_000, "1" * 90_000])
def test_colors_of_json_take_linear_time(value: str) -> None:
    assert html.unescape(re.sub("<[^>]*>", "", colored(value))) == value


def neighbors_of(client: Client, run: Run, where: str) -> dict[str, str]:
    """Return the Previous and Next links on a record's page."""
    text = client.get(address(run, where)).content.decode()
    return {name: html.unescape(to) for name, to in re.findall(r'id="record-(\w+)" href="([^"]*)"', text)}


def test_next_follows_the_search_results(as_bob: Client, shop: Run) -> None:
    text = html.unescape(page(as_bob, shop, {"q": "a", "sort": "price", "dir": "desc"}))
    assert numbers(text) == [1, 3, 2]
    order = "?q=a&sort=price&dir=desc&after="
    where = [f"records/1{order}0", f"records/3{order}1", f"records/2{order}2"]
    assert [f'href="{address(shop, each)}"' in text for each in where] == [True] * 3
    for at, each in enumerate(where):
        leads = neighbors_of(as_bob, shop, each)
        assert leads.get("previous") == (address(shop, where[at - 1]) if at else None)
        assert leads.get("next") == (address(shop, where[at + 1]) if at < 2 else None)


def test_next_follows_the_file_if_the_results_have_changed(as_bob: Client, shop: Run) -> None:
    for query in ("", "?after=2", "?sort=price&after=3", "?q=lamp&after=999999999999"):
        assert neighbors_of(as_bob, shop, f"records/2{query}") == {
            "previous": address(shop, "records/1"),
            "next": address(shop, "records/3"),
        }


def test_a_record_beyond_the_first_hundred(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, records(250))
    text = as_bob.get(
        address(run, "records/200"), headers=HTMX | {"HX-Target": "record-dialog"}
    ).content.decode()
    assert "Laptop 200" in text
    assert "<html" not in text
    assert '<form method="dialog">' in text
    assert as_bob.get(address(run, "records/250")).status_code == 200


@pytest.mark.parametrize("path", ["0", "4", str(2**63), str(10**40)])
def test_an_unknown_record_is_not_found(as_bob: Client, laptops: Collection, path: str) -> None:
    run = make_ready_run(laptops, records(3))
    assert as_bob.get(address(run, f"records/{path}")).status_code == 404


def test_a_very_long_record_is_truncated(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, [{"text": "x" * 300_000}])
    text = as_bob.get(address(run, "records/1")).content.decode()
    assert "This record is cut off. Download the file to see all of it." in words(text)
    assert len(text) < 250_000


# --- facts --------------------------------------------------------------------------------------


def facts(client: Client, run: Run) -> str:
    response = client.get(address(run, "facts"), headers=HTMX)
    assert response.status_code == 200
    return response.content.decode()


def test_facts(as_bob: Client, laptops: Collection) -> None:
    content = [
        {"asin": "1", "price_cents": 199, "in_stock": True, "seller": "A"},
        {"asin": "2", "price_cents": 5000, "in_stock": False, "seller": None},
        {"asin": "3", "price_cents": 1000, "in_stock": True, "seller": ""},
        {"asin": "4", "in_stock": True},
    ]
    text = words(facts(as_bob, make_ready_run(laptops, content)))
    assert "Records read 4 in 4 columns" in text
    assert f"Price 1.99 {DASH} 50" in text
    assert "Median 10" in text
    assert "In stock 75% 3 of 4" in text
    assert "seller 1 3" in text
    assert "price_cents 3 1 1.99 50.00" in text


def test_the_plot_has_a_table(as_bob: Client, laptops: Collection) -> None:
    text = facts(as_bob, make_ready_run(laptops, records(160)))
    (plot,) = re.findall(r"<svg class=\"chart\".*?</svg>", text, re.DOTALL)
    assert plot.count("<rect") == 16
    assert "<title" in plot
    assert "<desc" in plot
    counts = re.findall(r'<td class="number">(\d+)</td></tr>', text)
    assert sum(map(int, counts)) == 160


@pytest.mark.parametrize("path", ["facts", "?q=Anker"])
@pytest.mark.parametrize("is_run_deleted", [False, True])
def test_a_table_may_be_deleted_during_a_request(
    as_bob: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch, path: str, *, is_run_deleted: bool
) -> None:
    run = make_ready_run(laptops, [{"title": "Anker", "price": 5}])
    deleted: list[object] = []
    connected = engine._connected

    def delete_first(files: tuple[Path, ...], threads: int, **options: Any) -> Any:
        if not deleted and files[0].suffix == ".table":
            deleted.append(files[0])
            files[0].unlink()
            if is_run_deleted:
                delete_run(run)
        return connected(files, threads, **options)

    facts(as_bob, run)
    monkeypatch.setattr(engine, "_connected", delete_first)
    response = as_bob.get(address(run) + path, headers=HTMX)
    assert deleted
    assert response.status_code == (404 if is_run_deleted else 200)


def test_equal_prices_make_one_bar(as_bob: Client, laptops: Collection) -> None:
    assert facts(as_bob, make_ready_run(laptops, [{"price": 5}] * 3)).count("<rect") == 1


def test_the_longest_prices_have_a_plot(as_bob: Client, laptops: Collection) -> None:
    content = [{"price": 10**36}, {"price": -(10**36)}]
    text = facts(as_bob, make_ready_run(laptops, content))
    assert re.findall(r'<td class="number">(\d+)</td></tr>', text) == ["1", *["0"] * 14, "1"]


def test_one_very_high_price_does_not_hide_the_others(as_bob: Client, laptops: Collection) -> None:
    content = [{"price": price} for price in range(1, 200)] + [{"price": 1_000_000}]
    text = facts(as_bob, make_ready_run(laptops, content))
    (last,) = re.findall(r"<td>([^<]*) or more</td>", text)
    assert float(last) < 200


# --- missing and invalid files ------------------------------------------------------------------------


def test_a_processing_run_shows_no_contents(as_bob: Client, laptops: Collection) -> None:
    run = make_processing_run(laptops, records(5), page_size=2)
    for query in ("", "?q=laptop", "?after=1", "facts", "facts?read=1"):
        text = as_bob.get(address(run, query)).content.decode()
        assert "Laptop 1" not in text
        assert "/files/" not in text
    assert "once the run has completed" in words(page(as_bob, run))
    assert as_bob.get(address(run, "records/1")).status_code == 404


def test_a_failed_run_shows_the_reason(as_bob: Client, laptops: Collection) -> None:
    run = make_failed_run(laptops, "The shop did not response.")
    assert "The shop did not response." in words(page(as_bob, run))


def test_an_unknown_run_is_not_found(as_bob: Client, laptops: Collection) -> None:
    for where in ("9/", "9/facts", "9/records/1", f"{2**64}/"):
        assert as_bob.get(f"/collections/101/runs/{where}").status_code == 404


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 13, "²", " 1"])
def test_an_invalid_after_is_refused(as_bob: Client, laptops: Collection, after: str) -> None:
    run = make_ready_run(laptops, records(1))
    assert as_bob.get(address(run), {"after": after}).status_code == 400


@pytest.mark.parametrize(
    "query", [{"column": [f"column{number}" for number in range(900)]}, {"sort": "x" * 9_000}]
)
def test_an_address_too_long_for_every_link_is_refused(
    as_bob: Client, laptops: Collection, query: dict[str, Any]
) -> None:
    run = make_ready_run(laptops, records(1))
    response = as_bob.get(address(run), query)
    assert response.status_code == 400
    assert "The address is too long. Choose fewer columns." in words(response.content.decode())


def test_a_page_beyond_the_results_is_empty(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, records(3))
    text = words(page(as_bob, run, "?q=laptop&after=100"))
    assert "No more records" in text
    assert "No records match" not in text


def test_a_page_far_beyond_the_end_is_empty(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, records(3))
    assert "No more records" in words(page(as_bob, run, "?after=999999999999"))
    assert "No more records" in words(page(as_bob, run, "?after=999999999999&sort=asin"))


def test_a_missing_file_is_reported(as_bob: Client, laptops: Collection, results_folder: Any) -> None:
    run = make_ready_run(laptops, records(3))
    for path in results_folder.rglob("*.json"):
        path.unlink()
    assert "missing from the results storage" in words(page(as_bob, run))
    assert "missing from the results storage" in words(page(as_bob, run, "?q=x"))
    assert "missing from the results storage" in words(facts(as_bob, run))


def test_a_storage_error_is_reported(
    as_bob: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    run = make_ready_run(laptops, records(3))
    monkeypatch.setattr("collections_app.sources.local.StoredBody.open", lambda *_: Broken())
    for query in ("", "?q=laptop"):
        assert "The results storage stopped in the middle of “" in words(page(as_bob, run, query))


# --- records that are too large -----------------------------------------------------------------

TOO_LARGE = "Too large to show. Download the file to see it."


@pytest.fixture
def fat(laptops: Collection) -> Run:
    return make_ready_run(laptops, [{"price": 3}, {"price": "x" * table.LARGEST_RECORD}, {"price": 1}])


@pytest.mark.parametrize(
    ("query", "found"), [("?after=1", [2, 3]), ("?sort=price", [3, 1, 2]), ("?q=1", [3]), ("?q=xx", [])]
)
def test_a_record_that_is_too_large_does_not_affect_others(
    as_bob: Client, fat: Run, query: str, found: list[int]
) -> None:
    text = page(as_bob, fat, query)
    assert numbers(text) == found
    assert [row[1] == TOO_LARGE for row in rows(text)] == [number == 2 for number in found]
    assert "One record is too large for this page. Search, sorting and statistics skip it" in words(text)


def test_a_record_that_is_too_large_says_so_on_its_own_page(as_bob: Client, fat: Run) -> None:
    text = words(as_bob.get(address(fat, "records/2")).content.decode())
    assert "This record is too large to show. Download the file to see it." in text
    assert "Previous" in text
    assert "Next" in text
    assert '"price" : 1' in words(as_bob.get(address(fat, "records/3")).content.decode())


def test_facts_skip_a_record_that_is_too_large(as_bob: Client, fat: Run) -> None:
    text = words(facts(as_bob, fat))
    assert "Records read 2 in 1 column" in text
    assert "price 2 0 1 3" in text


@pytest.mark.parametrize(("size", "is_shown"), [(first_records.WINDOW, True), (table.LARGEST_RECORD, False)])
def test_a_large_first_record_hides_no_others(
    as_bob: Client, laptops: Collection, size: int, *, is_shown: bool
) -> None:
    run = make_ready_run(laptops, [{"a": "x" * size}, {"a": 2}])
    text = page(as_bob, run)
    assert numbers(text) == [1, 2]
    assert (TOO_LARGE in words(text)) != is_shown
    assert ("xxx" in as_bob.get(address(run, "records/1")).content.decode()) == is_shown


def test_a_large_first_record_hides_no_other_files(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(
        laptops, [{"a": "x" * first_records.WINDOW}, *({"a": n} for n in range(29))], page_size=1
    )
    assert numbers(page(as_bob, run)) == list(range(1, 31))


# --- nested values ------------------------------------------------------------------------------

NESTED: list[dict[str, Any]] = [
    {"id": 1, "price": {"value": 100.5, "raw": "$100.50"}, "images": ["a.png"], "extra": {}},
    {"id": 2, "price": {"value": 9.5, "raw": "$9.50"}, "images": {"0": "b.png"}},
    {"id": 3, "price": {"value": 20, "raw": "$20.00"}, "images": {}, "shop": {"": {'a"b~/': 5}}},
    {"id": 4, "price": "sold out", "images": None, "shop": {"name.last": "Eve", "name": {"last": "Bob"}}},
]
NESTED_COLUMNS = ["id", "price.value", "price.raw", "images", "extra", "images.0", 'shop..a"b~/', "price"]
NESTED_COLUMNS += ["shop.name.last", "shop.name.last (2)"]


@pytest.fixture
def nested(laptops: Collection) -> Run:
    return make_ready_run(laptops, NESTED)


@pytest.mark.parametrize("query", ["", "?sort=id", "?q=9.5"])
def test_nested_values_are_columns_as_in_exports(as_bob: Client, nested: Run, query: str) -> None:
    text = page(as_bob, nested, query)
    assert headers_of(text) == ["price.value", *(name for name in NESTED_COLUMNS if name != "price.value")]
    (row,) = [row for row in rows(text) if row[0] == "2"]
    assert row[1:7] == ["9.50", "2", "$9.50", DASH, DASH, "b.png"]
    export = as_bob.get(address(nested, "records.csv"))
    assert b"".join(export).decode().splitlines()[0] == ",".join(
        f'"{name.replace(QUOTE, QUOTE * 2)}"' if QUOTE in name else name for name in NESTED_COLUMNS
    )


def test_nested_values_can_be_sorted_by(as_bob: Client, nested: Run) -> None:
    for sort, found in (
        ("price.value", [2, 3, 1, 4]),
        ("price.raw", [2, 3, 1, 4]),
        ("price", [4, 1, 2, 3]),  # objects have columns of their own
        ("images", [1, 3, 2, 4]),
        ("images.0", [2, 1, 3, 4]),  # not the first item of a list
        ('shop..a"b~/', [3, 1, 2, 4]),
        ("shop.name.last (2)", [4, 1, 2, 3]),
    ):
        text = page(as_bob, nested, {"sort": sort})
        assert numbers(text) == found, sort
        assert "Can't sort" not in words(text), sort


def test_a_column_of_later_records_can_be_chosen(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, [*records(150), {"seller": {"name": "Alice"}}])
    text = page(as_bob, run, {"q": "alice"})
    assert 'name="column" value="seller.name" checked' in text
    assert numbers(page(as_bob, run, {"sort": "seller.name"}))[0] == 151


def test_the_columns_of_all_records_can_be_listed(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, [*records(150), {"seller": {"name": "Alice"}}])
    first = page(as_bob, run)
    assert "seller.name" not in first
    (link,) = re.findall(r'href="([^"#]*)#records"[^>]*>List all columns', first)
    listed = page(as_bob, run, html.unescape(link).partition("/runs/1/")[2], **HTMX)
    assert 'name="column" value="seller.name"' in listed
    assert "List all columns" not in listed
    assert "List all columns" not in page(as_bob, make_ready_run(laptops, records(3)))


def test_a_chosen_column_of_later_records_can_be_sorted_by(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, [*records(150), {"seller": {"name": "Alice"}}])
    text = page(as_bob, run, {"column": ["asin", "seller.name"]})
    assert set(headers_of(text)) == {"asin", "seller.name"}
    assert "No record here" not in words(text)


def test_a_long_list_of_columns_can_be_filtered(as_bob: Client, laptops: Collection, shop: Run) -> None:
    assert "Find columns" in page(as_bob, make_ready_run(laptops, [{str(key): 1 for key in range(21)}]))
    assert "Find columns" not in page(as_bob, shop)


def test_nested_keys_with_lone_surrogates_are_columns(as_bob: Client, laptops: Collection) -> None:
    run = make_run_of_pages(
        laptops, {"a.json": json.dumps([{"a": {"\ud83d": 2}}, {"a": {"\ud83d": 1}}]).encode()}
    )
    for query, found in (("", [["1", "2"], ["2", "1"]]), ("?sort=a.%3F", [["2", "1"], ["1", "2"]])):
        assert rows(page(as_bob, run, query)) == found, query


def test_a_record_nested_too_deeply_hides_no_others(as_bob: Client, laptops: Collection) -> None:
    deep = b'{"a":' * 400 + b"{%b}" % b",".join(b'"%d":1' % key for key in range(400)) + b"}" * 400
    run = make_run_of_pages(laptops, {"a.json": b'[{"id":1,"b":%b},{"id":2}]' % deep})
    for query in ("", "?sort=id"):
        assert [row[:2] for row in rows(page(as_bob, run, query))] == [["1", "1"], ["2", "2"]], query


# --- many columns -------------------------------------------------------------------------------

MORE_COLUMNS = (
    f"Only the first {MOST_COLUMNS} columns with names of at most {LONGEST_NAME} characters can be chosen "
    "and sorted by. Search covers all columns."
)


@pytest.fixture
def wide(laptops: Collection) -> Run:
    """A run with 100 columns more than can be chosen, and one more in its last record."""
    return make_ready_run(
        laptops,
        [{f"col{number}": number + shift for number in range(MOST_COLUMNS + 100)} for shift in range(102)]
        + [{"last": "Ende"}],
    )


def test_search_covers_any_number_of_columns(as_bob: Client, wide: Run) -> None:
    for search, found in (("500", [102]), ("ende", [103]), ("501", [])):
        text = page(as_bob, wide, {"q": search})
        assert numbers(text) == found, search
        assert MORE_COLUMNS in words(text)


@pytest.mark.thorough
def test_many_short_records_with_many_columns_can_be_searched(as_bob: Client, laptops: Collection) -> None:
    one = json.dumps({f"col{number}": number for number in range(200)}).encode()
    run = make_run_of_pages(laptops, {"a.json": b"[%b,%b{}]" % (one, b"{}," * 99_998)})
    assert numbers(page(as_bob, run, "?q=199")) == [1]


def test_only_the_first_of_many_columns_can_be_chosen(as_bob: Client, wide: Run) -> None:
    for query in ("", "?sort=col3", "?after=100"):
        text = page(as_bob, wide, query)
        assert MORE_COLUMNS in words(text), query
        assert f"12 of more than {MOST_COLUMNS}" in words(text), query
        assert text.count('type="checkbox" name="column"') == MOST_COLUMNS, query


def test_facts_about_many_columns_say_that_there_are_more(as_bob: Client, wide: Run) -> None:
    text = words(facts(as_bob, wide))
    assert f"in more than {MOST_COLUMNS} columns" in text
    assert MORE_COLUMNS in text


def test_another_column_can_be_requested_by_address(as_bob: Client, wide: Run) -> None:
    asked = [("", "350"), ("&sort=col350", "350"), ("&after=1", "351"), ("&q=500", "451")]
    for query, value in asked:
        text = page(as_bob, wide, f"?column=col350{query}")
        assert rows(text)[0][1] == value, query
        assert 'name="column" value="col350" checked' in text, query
        assert headers_of(text) == []  # none of them sorts
        said = f"Can't sort by “col350”. It isn't one of the first {MOST_COLUMNS} columns of these records."
        assert (said in words(text)) == ("sort" in query), query


# --- large runs ---------------------------------------------------------------------------------


def test_the_table_of_a_large_run_is_built_on_demand(
    as_bob: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "LARGEST_AUTOMATIC", 1000)
    run = make_ready_run(laptops, records(250))
    text = page(as_bob, run)
    assert numbers(text) == list(range(1, 101))
    assert 'hx-trigger="click"' in text
    assert "Calculate statistics" in words(facts(as_bob, run))
    assert "Records read 250" in words(as_bob.get(address(run, "facts?read=1")).content.decode())


def test_search_covers_the_start_of_a_very_large_run(
    as_bob: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "MOST_BYTES", 60_000)
    run = make_ready_run(laptops, records(5000), page_size=100)
    text = words(page(as_bob, run, "?q=laptop"))
    assert "Search, sorting and statistics cover its first 1,000 records" in text


def test_the_page_reads_only_the_first_bytes(
    as_bob: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_ready_run(laptops, records(2000), page_size=100)
    opened: list[str] = []
    monkeypatch.setattr(
        "collections_app.records.preview.table.open_file", lambda file: opened.append(file.name)
    )
    assert len(rows(page(as_bob, run))) == 100
    assert opened == []


def test_the_page_shows_progress_while_the_table_is_built(
    as_bob: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_ready_run(laptops, records(250))
    waiting: list[Any] = []
    monkeypatch.setattr(background, "in_background", lambda work, **_: waiting.append(work))
    monkeypatch.setattr("collections_app.views.run.table.PATIENCE", 0.01)
    for query in ("?q=lap", "?after=100"):
        text = page(as_bob, run, query, **HTMX)
        assert re.search(r"Reading the records: 0 bytes of \d+\.\d KB", words(text).replace("\xa0", " "))
        assert f'hx-get="{address(run, query)}"' in html.unescape(text)
    assert "Reading the records" in words(as_bob.get(address(run, "records/200")).content.decode())
    (work,) = waiting  # once for all requests
    work()
    assert len(rows(page(as_bob, run, "?q=lap", **HTMX))) == 100


def test_building_a_table_stops_if_no_one_waits_for_it(
    as_bob: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_ready_run(laptops, records(3))
    with monkeypatch.context() as patched:
        patched.setattr(background, "_WANTED_SECONDS", -1)
        assert "Reading these records takes too long." in words(page(as_bob, run, "?q=2"))
    table._background.clear()
    assert numbers(page(as_bob, run, "?q=laptop+2")) == [2]


def test_a_table_is_reused(as_bob: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_ready_run(laptops, records(3))
    page(as_bob, run, "?q=laptop")
    monkeypatch.setattr(table, "read_values", None)
    assert numbers(page(as_bob, run, "?q=laptop+2")) == [2]


def test_deleting_a_run_deletes_its_table(as_alice: Client, laptops: Collection) -> None:
    run, other = make_ready_run(laptops, records(3)), make_ready_run(laptops, records(3))
    for each in (run, other):
        facts(as_alice, each)
    before = _entries()
    as_alice.post(address(run, "delete"))
    assert len(before) == 4
    assert len(_entries()) == 2
    assert "Records read 3" in words(facts(as_alice, other))


def test_deleting_a_run_deletes_the_tables_of_earlier_versions(as_alice: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, records(3))
    for name in table.names_of_tables(run.record_files()):
        cached(name, lambda out: out.writelines([b"x"])).close()
    assert len(_entries()) == len(table.names_of_tables(run.record_files()))
    as_alice.post(address(run, "delete"))
    assert _entries() == []


def _entries() -> list[str]:
    return [name for name in storages["converted"].listdir("")[1] if not name.endswith(".lock")]


# --- the limit of queries per user -------------------------------------------------------

TOO_MUCH = "You have 8 searches running, the maximum per person. Wait for one to finish."


@pytest.fixture
def bob_asks_all_he_may(bob: User) -> Iterator[None]:
    with ExitStack() as turns, queries_of(bob.pk):
        for _ in range(MOST_PER_USER):
            turns.enter_context(SEARCHES.acquired(seconds=0))
        yield


@pytest.mark.usefixtures("bob_asks_all_he_may")
@pytest.mark.parametrize(
    "where",
    all_or_few(["?q=laptop", "?sort=asin", "?after=100", "facts", "records/200"], "?q=laptop", "facts"),
)
@pytest.mark.parametrize("headers", [HTMX, {}], ids=["htmx", "without JavaScript"])
def test_a_user_with_too_many_queries_is_refused_and_others_are_served(
    as_bob: Client, as_alice: Client, laptops: Collection, where: str, headers: dict[str, str]
) -> None:
    run = make_ready_run(laptops, records(250))
    response = as_alice.get(address(run, where), headers=headers)
    assert response.status_code == 200
    response = as_bob.get(address(run, where), headers=headers)
    assert (response.status_code, response["Retry-After"]) == (429, "5")
    assert TOO_MUCH in words(response.content.decode())


@pytest.mark.usefixtures("bob_asks_all_he_may")
def test_the_first_records_do_not_wait_for_other_queries(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, records(250))
    assert len(rows(page(as_bob, run))) == 100


# --- access --------------------------------------------------------------------------------


def test_a_run_of_another_team_is_refused(as_carol: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, records(3))
    for where in ("", "?q=laptop", "facts", "records/1"):
        assert as_carol.get(address(run, where)).status_code == 403


def test_identical_runs_of_two_teams_share_nothing(
    as_bob: Client, as_carol: Client, laptops: Collection, secret_plans: Collection
) -> None:
    ours = make_ready_run(laptops, [{"a": "ours"}])
    theirs = make_ready_run(secret_plans, [{"a": "theirs"}])
    assert "theirs" in page(as_carol, theirs, "?sort=a")
    assert [row[1] for row in rows(page(as_bob, ours, "?sort=a"))] == ["ours"]
