"""What changed, for scripts: /api/v1/collections/{collection_id}/runs/{runner_id}/changes.{file_format}."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from collections_app.models import Collection, Comparison, Run, TrackingSettings, Verdict, VerdictLevel
from collections_app.records.exports import create
from collections_app.records.exports.build import build_next
from collections_app.records.tracking import build_comparison, comparisons
from collections_app.records.tracking.stored_slices import SliceUnavailable
from tests.support.openapi import api_error, check_schema
from tests.support.responses import Response, content
from tests.support.results import make_failed_run, make_processing_run, make_ready_run
from tests.support.tools import PATIENCE
from tests.support.workbooks import rows_of_xlsx, sheet_names

pytestmark = pytest.mark.django_db(transaction=True)

LAPTOP = {"asin": "B01", "title": "Laptop", "price_cents": 1299, "in_stock": True}
MOUSE = {"asin": "B02", "title": "=Mouse", "price_cents": 1000, "in_stock": True}
BEFORE = [LAPTOP, MOUSE]
AFTER = [
    LAPTOP | {"price_cents": 1149},
    MOUSE | {"price_cents": 2000, "in_stock": False},
    LAPTOP | {"asin": "B03"},
]

COUNTS = (
    "matched price_down price_up currency sold_out back seller other new returned missing gone "
    "not_scraped duplicates without_key duplicates_before without_key_before"
)

Fetch = Callable[..., Response]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let requests wait for a busy machine."""
    for module in (comparisons, create):
        monkeypatch.setattr(module, "_PATIENCE", PATIENCE)


@pytest.fixture
def since(laptops: Collection) -> Run:
    return make_ready_run(laptops, BEFORE)


@pytest.fixture
def run(laptops: Collection, since: Run) -> Run:
    return make_ready_run(laptops, AFTER)


@pytest.fixture
def fetch(client: Client, bobs_key: str, laptops: Collection) -> Iterator[Fetch]:
    """Fetch a path below the run's address with Bob's key."""
    responses = []

    def fetched(path: str, number: object = 2, method: str = "GET", key: str = bobs_key) -> Response:
        address = f"/api/v1/collections/{laptops.pk}/runs/{number}/{path}"
        response: Response = client.generic(method, address, headers={"x-api-key": key} if key else {})
        responses.append(response)
        return response

    yield fetched
    for response in responses:
        response.close()


def listed(response: Response) -> dict[str, Any]:
    assert response.status_code == 200
    data: dict[str, Any] = response.json()["data"]
    return data


class TestList:
    def test_it_lists_the_changes_of_a_run(self, run: Run, fetch: Fetch) -> None:
        response = fetch("changes.json")
        check_schema("ChangeList", response.json())
        data = listed(response)
        assert (data["run"], data["since"], data["key"], data["next"]) == (2, 1, ["asin"], None)
        assert data["changes"] == [
            {
                "key": ["B01"],
                "title": "Laptop",
                "column": "price_cents",
                "kind": "price_down",
                "was": 1299,
                "now": 1149,
                "percent": -11.5,
            },
            {
                "key": ["B02"],
                "title": "=Mouse",
                "column": "price_cents",
                "kind": "price_up",
                "was": 1000,
                "now": 2000,
                "percent": 100.0,
            },
            {
                "key": ["B02"],
                "title": "=Mouse",
                "column": "in_stock",
                "kind": "sold_out",
                "was": True,
                "now": False,
                "percent": None,
            },
            {
                "key": ["B03"],
                "title": "Laptop",
                "column": None,
                "kind": "new",
                "was": None,
                "now": None,
                "percent": None,
            },
        ]
        counts = {"matched": 2, "price_down": 1, "price_up": 1, "sold_out": 1, "new": 1}
        assert {name: count for name, count in data["counts"].items() if count} == counts
        assert list(data["counts"]) == COUNTS.split()

    def test_what_and_min_percent_filter_it(self, run: Run, fetch: Fetch) -> None:
        kinds = [each["kind"] for each in listed(fetch("changes.json?what=new,price_up"))["changes"]]
        assert kinds == ["price_up", "new"]
        kinds = [each["kind"] for each in listed(fetch("changes.json?min_percent=11.6"))["changes"]]
        assert kinds == ["price_up"]

    def test_next_leads_through_all_parts(self, run: Run, fetch: Fetch) -> None:
        kinds, query = [], "?limit=3&what=price_down,price_up,sold_out,new"
        while query:
            data = listed(fetch(f"changes.json{query}"))
            kinds.append([each["kind"] for each in data["changes"]])
            query = data["next"] and data["next"][data["next"].index("?") :]
        assert kinds == [["price_down", "price_up", "sold_out"], ["new"]]

    def test_latest_is_the_newest_run(self, run: Run, client: Client, bobs_key: str) -> None:
        address = f"/api/v1/collections/{run.collection_id}"
        response = client.get(f"{address}/latest/changes.json?what=new", headers={"x-api-key": bobs_key})
        assert listed(response)["run"] == 2
        assert response.headers["Content-Location"] == f"{address}/runs/2/changes.json?what=new"

    def test_runs_that_are_being_compared_are_202(
        self, run: Run, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(comparisons, "_QUICK_RECORDS", -1)
        for name in ("changes.json", "changes.csv"):
            response = fetch(name)
            check_schema("BuildStatus", response.json())
            assert (response.status_code, response.json()["data"]["state"]) == (202, "queued")
            assert response.headers["Retry-After"] == "2"
        assert build_comparison.build_next()
        assert listed(fetch("changes.json"))["counts"]["matched"] == 2

    def test_a_failure_says_why(self, run: Run, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(run: Run) -> None:
            raise SliceUnavailable("The account doesn't respond.")

        monkeypatch.setattr(build_comparison, "slice_of", fail)
        assert api_error(fetch("changes.json")) == (500, "The account doesn't respond.")

    def test_the_number_of_queries_does_not_depend_on_the_runs(
        self, run: Run, fetch: Fetch, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        fetch("changes.json")
        with django_assert_num_queries(10):
            fetch("changes.json?since=1")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("changes.json?since=2", (400, "since must be a run before run 2.")),
        ("changes.json?since=3", (400, "since must be a run before run 2.")),
        ("changes.json?since=0", (404, "This collection has no run 0.")),
        ("changes.json?since=x", (400, "since must be an integer.")),
        ("changes.json?since=-1", (400, "since must be an integer.")),
        ("changes.json?since=1&since=1", (400, "since is in the address twice. Send it once.")),
        ("changes.json?what=cheaper", (400, "what must be one or more of price_down, price_up")),
        ("changes.json?min_percent=-5", (400, "min_percent must be a number from 0, such as 5 or 2.5.")),
        ("changes.json?min_percent=1e9", (400, "min_percent must be a number")),
        ("changes.json?min_percent=NaN", (400, "min_percent must be a number")),
        ("changes.json?limit=0", (400, "limit must be between 1 and 1000.")),
        ("changes.json?limit=1001", (400, "limit must be between 1 and 1000.")),
        ("changes.json?after=99999999999999999999", (400, "after must be an integer.")),
        ("changes.pdf", (404, "Unknown format. Use one of: json, csv, xlsx, jsonl, parquet.")),
        ("changes.csv?layout=tall", (400, "layout must be one of long, wide.")),
        ("changes.csv?excel=2", (400, "Invalid “excel” parameter.")),
    ],
)
def test_invalid_requests(run: Run, fetch: Fetch, path: str, expected: tuple[int, str]) -> None:
    code, message = api_error(fetch(path))
    assert (code, message[: len(expected[1])]) == expected


def test_errors_are_checked_in_the_order_of_the_contract(
    run: Run, fetch: Fetch, client: Client, carols_key: str
) -> None:
    assert fetch("changes.json?since=x", method="POST", key="").status_code == 405
    assert fetch("changes.json?since=x", key="").status_code == 401
    assert fetch("changes.json?since=x", 99, key=carols_key).status_code == 400
    assert fetch("changes.json", 99, key=carols_key).status_code == 403
    assert fetch("changes.json", 99).status_code == 404


def test_runs_that_can_not_be_compared(laptops: Collection, headphones: Collection, fetch: Fetch) -> None:
    first = make_ready_run(laptops, BEFORE)
    assert api_error(fetch("changes.json", 1)) == (404, "There is no earlier run to compare run 1 with.")
    make_failed_run(laptops)
    make_processing_run(laptops)
    assert fetch("changes.json", 2).status_code == 409
    assert fetch("changes.json", 3).status_code == 404
    last = make_ready_run(laptops, AFTER)
    assert fetch("changes.json?since=3", last.number).status_code == 404
    Verdict.objects.create(run=first, level=VerdictLevel.BROKEN, settings_version=1)
    words = f"No earlier run of the same kind as run {last.number} can be trusted. Choose one with since."
    assert api_error(fetch("changes.json", last.number)) == (404, words)
    assert fetch("changes.json?since=1", last.number).status_code == 200
    TrackingSettings.objects.update(key_columns=[])
    assert api_error(fetch("changes.json?since=1", last.number))[0] == 409


class TestFiles:
    def test_a_csv_has_one_change_per_row(self, run: Run, fetch: Fetch) -> None:
        response = fetch("changes.csv?what=price_down,new")
        assert content(response).decode().splitlines() == [
            "key,title,column,kind,was,now,percent,amount,currency",
            "B01,Laptop,price_cents,price_down,1299,1149,-11.5,-1.5,",
            "B03,Laptop,,new,,,,,",
        ]
        name = 'attachment; filename="AU Laptops_2_Changes_since_1.csv"'
        assert response.headers["Content-Disposition"] == name

    def test_a_wide_csv_has_one_product_per_row(self, run: Run, fetch: Fetch) -> None:
        assert content(fetch("changes.csv?layout=wide")).decode().splitlines() == [
            "key,title,kind,price_cents (was),price_cents (now),in_stock (was),in_stock (now)",
            "B01,Laptop,price_down,1299,1149,,",
            'B02,=Mouse,"price_up, sold_out",1000,2000,true,false',
            "B03,Laptop,new,,,,",
        ]

    def test_a_csv_for_spreadsheets_has_no_formulas(self, run: Run, fetch: Fetch) -> None:
        assert b",'=Mouse," in content(fetch("changes.csv?excel=1"))

    def test_json_lines_have_the_form_of_the_list(self, run: Run, fetch: Fetch) -> None:
        first = json.loads(content(fetch("changes.jsonl?limit=1")))
        assert first.pop("amount") == -1.5
        assert first.pop("currency") is None
        assert first == listed(fetch("changes.json"))["changes"][0]

    def test_a_workbook_has_a_sheet_per_kind(self, run: Run, fetch: Fetch) -> None:
        book = content(fetch("changes.xlsx"))
        assert sheet_names(book) == ["Price down", "Price up", "Sold out", "New"]
        (_, row) = rows_of_xlsx(book, 2)
        assert list(row.values())[:6] == ["B02", "=Mouse", "price_cents", "price_up", 1000, 2000]

    def test_a_parquet_file(self, run: Run, fetch: Fetch, tmp_path: Path) -> None:
        path = tmp_path / "changes.parquet"
        path.write_bytes(content(fetch("changes.parquet?what=price_up")))
        with duckdb.connect() as database:
            row = database.execute(
                "SELECT key, was, now, percent FROM read_parquet(?)", [str(path)]
            ).fetchone()
        assert row == ("B02", 1000, 2000, 100)

    def test_no_changes_are_a_table_without_rows(self, run: Run, fetch: Fetch) -> None:
        assert content(fetch("changes.csv?what=gone")).decode().splitlines() == [
            "key,title,column,kind,was,now,percent,amount,currency"
        ]
        assert content(fetch("changes.jsonl?what=gone")) == b""
        assert content(fetch("changes.xlsx?what=gone"))

    def test_another_key_makes_another_file(self, run: Run, fetch: Fetch) -> None:
        fetch("changes.csv")
        TrackingSettings.objects.update(key_columns=["asin", "title"], version=2)
        assert b'"B01,Laptop"' in content(fetch("changes.csv"))

    @pytest.mark.usefixtures("run")
    def test_a_large_file_is_built_by_the_worker_even_if_the_changes_are_gone(
        self, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(create, "_QUICK_CHANGES", -1)
        assert fetch("changes.csv").status_code == 202
        Comparison.objects.all().delete()
        assert build_next()
        assert len(content(fetch("changes.csv")).splitlines()) == 5
