"""The records of several runs as one table, with the number and the time of each record's run."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from django.test import Client

from collections_app.api.limits import EXPORT_RETRY_AFTER_SECONDS
from collections_app.files.bundles.selection import encode_runs, parse
from collections_app.models import Collection, Export, ExportState, Layout, ResultFile, Run, Team
from collections_app.records.exports import build, create, retention, subject
from collections_app.records.exports.build import Queue, build_next
from collections_app.records.exports.create import create_joint_export, deliverable
from collections_app.records.exports.subject import FORMATS_OF_SEVERAL_RUNS, Subject
from collections_app.records.formats.export_formats import ExportSpec, Format, write_records
from collections_app.runs.removal import delete_run
from tests.support import responses
from tests.support.html import links, text_of
from tests.support.responses import Response
from tests.support.results import make_failed_run, make_processing_run, make_ready_run, stored_keys
from tests.support.upstream import make_account, make_remote_collection, make_remote_run
from tests.support.workbooks import rows_of_xlsx

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESS = "/collections/101/selection"
API = f"/api/v1{ADDRESS}"
FIRST, SECOND = datetime(2026, 6, 19, 12, tzinfo=UTC), datetime(2026, 6, 20, 12, tzinfo=UTC)
TIMES = ("2026-06-19T12:00:00Z", "2026-06-20T12:00:00Z")
JSONL = ExportSpec(Format.JSONL)


@pytest.fixture
def runs(laptops: Collection) -> list[Run]:
    """Two runs with different columns and types."""
    return [
        make_ready_run(laptops, [{"asin": "B1", "price": 5}, {"asin": "B2", "price": 6.5}], at=FIRST),
        make_ready_run(laptops, [{"asin": "B1", "stock": "yes", "price": "n/a"}], at=SECOND),
    ]


@pytest.fixture
def queue_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queue every export."""
    monkeypatch.setattr(create, "_QUICK", dict.fromkeys(Format, -1))


def content(response: Response) -> bytes:
    assert response.status_code == 200, responses.content(response)
    return responses.content(response)


def bytes_of(export: Export) -> bytes:
    found = deliverable(export)
    with found.body.open(0, found.size) as stream:
        return stream.read()


def lines(export: Export) -> list[dict[str, Any]]:
    return [json.loads(line) for line in bytes_of(export).splitlines()]


def joint(runs: list[Run], spec: ExportSpec = JSONL) -> Export:
    return create_joint_export(Subject.table(runs), spec)


def exported_files() -> list[str]:
    return [key for key in stored_keys() if key.startswith("exports/")]


class TestContent:
    def test_each_record_says_its_run_and_the_newest_run_is_first(
        self, as_bob: Client, runs: list[Run]
    ) -> None:
        response = as_bob.get(f"{ADDRESS}.csv?runs=1-2")
        assert list(csv.reader(io.StringIO(content(response).decode()))) == [
            ["run", "run_time", "asin", "stock", "price"],
            ["2", TIMES[1], "B1", "yes", "n/a"],
            ["1", TIMES[0], "B1", "", "5"],
            ["1", TIMES[0], "B2", "", "6.5"],
        ]
        assert response["Content-Disposition"] == (
            'attachment; filename="AU Laptops_2_Runs_1_to_2_Records.csv"'
        )
        assert response["Accept-Ranges"] == "bytes"

    def test_json_lines_excel_and_parquet_have_the_same_records(
        self, client: Client, bobs_key: str, runs: list[Run], tmp_path: Path
    ) -> None:
        def get(ending: str) -> bytes:
            return content(client.get(f"{API}.{ending}?runs=1,2", headers={"x-api-key": bobs_key}))

        first = json.loads(get("jsonl").splitlines()[0])
        assert first == {"run": 2, "run_time": TIMES[1], "asin": "B1", "stock": "yes", "price": "n/a"}
        assert list(first)[:2] == ["run", "run_time"]
        rows = rows_of_xlsx(get("xlsx"))
        assert rows[0] == {"A": "run", "B": "run_time", "C": "asin", "D": "stock", "E": "price"}
        assert rows[2:] == [
            {"A": 1, "B": TIMES[0], "C": "B1", "E": 5},
            {"A": 1, "B": TIMES[0], "C": "B2", "E": 6.5},
        ]
        (tmp_path / "a.parquet").write_bytes(get("parquet"))
        table = duckdb.sql(f"SELECT run, stock, price FROM '{tmp_path}/a.parquet'")
        # One type for all runs: a price that is text in one run is text in all.
        assert table is not None
        assert [str(each) for each in table.types] == ["DOUBLE", "VARCHAR", "VARCHAR"]
        assert table.fetchall() == [(2.0, "yes", "n/a"), (1.0, None, "5"), (1.0, None, "6.5")]

    def test_records_with_columns_of_these_names_keep_them(self, laptops: Collection) -> None:
        runs = [
            make_ready_run(laptops, [{"asin": "B1", "run": "own"}]),
            make_ready_run(laptops, [{"Run_2": 7, "RUN_TIME": None, "run_time_x": 1}]),
        ]
        assert [list(line) for line in lines(joint(runs))] == [
            ["run_3", "run_time_2", "Run_2", "RUN_TIME", "run_time_x"],
            ["run_3", "run_time_2", "asin", "run"],
        ]
        header = bytes_of(joint(runs, ExportSpec(Format.CSV))).splitlines()[0]
        assert header == b"run_3,run_time_2,Run_2,RUN_TIME,run_time_x,asin,run"

    def test_records_that_use_all_names_are_rejected(self, laptops: Collection) -> None:
        run = make_ready_run(laptops, [{"run": 1} | {f"run_{number}": 1 for number in range(1000)}])
        export = joint([run])
        assert (export.state, export.is_final) == (ExportState.FAILED, True)
        assert export.failure.startswith("The records have too many columns with names such as “run”.")

    def test_chosen_columns_follow_those_of_the_run(self, as_bob: Client, runs: list[Run]) -> None:
        body = content(as_bob.get(f"{ADDRESS}.csv?runs=1-2&columns=price,run&separator=;&excel=1"))
        assert body.decode("utf-8-sig").splitlines()[:2] == ["run;run_time;price", f"2;{TIMES[1]};n/a"]

    def test_a_run_without_records_adds_nothing(self, laptops: Collection) -> None:
        runs = [make_ready_run(laptops, []), make_ready_run(laptops, [{"a": 1}])]
        assert [line["run"] for line in lines(joint(runs))] == [2]


class TestErrors:
    def test_a_script_learns_what_is_wrong(self, client: Client, bobs_key: str, runs: list[Run]) -> None:
        make_processing_run(runs[0].collection)
        make_failed_run(runs[0].collection)
        for query, status, problem in [
            ("", 400, "Nothing is selected."),
            ("?runs=1&pages=2.1", 400, "Only entire runs can be exported in this format."),
            ("?runs=1-1001", 400, "At most 1,000 runs can be selected."),
            ("?runs=1,9", 404, "This collection has no run 9."),
            ("?runs=1,3", 404, "Run 3 is still processing."),
            ("?runs=1,4", 404, "Run 4 failed, so it has no files."),
            ("?runs=1&columns=asn", 400, "No record has a column “asn”."),
            ("?runs=1&separator=x", 400, "Invalid “separator” parameter."),
            ("?runs=1&q=lenovo", 400, "Several runs can't be searched at once."),
            ("?runs=1&filter=brand,is,Lenovo", 400, "Several runs can't be searched at once."),
        ]:
            response = client.get(f"{API}.csv{query}", headers={"x-api-key": bobs_key})
            assert (response.status_code, response.json()["code"]) == (status, status), query
            assert response.json()["data"].startswith(problem)

    def test_a_page_says_what_is_wrong(self, as_bob: Client, runs: list[Run]) -> None:
        for address, status in {
            f"{ADDRESS}.csv": 400,
            f"{ADDRESS}.csv?runs=1,9": 404,
            f"{ADDRESS}.json5?runs=1": 404,
            f"{ADDRESS}/export?runs=9": 404,
            f"{ADDRESS}/export?pages=1.1": 400,
        }.items():
            assert as_bob.get(address).status_code == status, address

    def test_a_deleted_run_and_a_run_of_another_collection_are_unknown(
        self, as_bob: Client, headphones: Collection, runs: list[Run]
    ) -> None:
        for _ in range(5):
            make_ready_run(headphones)
        assert as_bob.get(f"{ADDRESS}.csv?runs=1,5").status_code == 404
        delete_run(runs[0])
        assert as_bob.get(f"{ADDRESS}.csv?runs=1-2").status_code == 404

    def test_too_many_runs_are_refused_before_anything_is_built(
        self, as_bob: Client, runs: list[Run], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(subject, "MOST_RUNS", 1)
        response = as_bob.get(f"{ADDRESS}.csv?runs=1-2")
        assert response.status_code == 400
        assert "At most 1 runs can be exported together." in text_of(response.content.decode())
        assert not Export.objects.exists()

    def test_more_records_than_a_sheet_has_rows_are_refused_before_anything_is_built(
        self, as_bob: Client, runs: list[Run], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Run.objects.filter(number=2).update(extracted=1_048_574)
        response = as_bob.get(f"{ADDRESS}.xlsx?runs=1-2")
        assert response.status_code == 400
        assert (
            "These runs have 1,048,576 records, but an Excel sheet has at most 1,048,575. "
            "Select fewer runs, or choose CSV or Parquet."
        ) in text_of(response.content.decode())
        assert not Export.objects.exists()
        assert as_bob.head(f"{ADDRESS}.csv?runs=1-2").status_code == 200

    def test_a_stranger_gets_a_403(self, as_carol: Client, runs: list[Run]) -> None:
        assert as_carol.get(f"{ADDRESS}.csv?runs=1-2").status_code == 403


class TestStored:
    def test_it_is_built_once_whatever_the_order_and_repetitions(self, runs: list[Run]) -> None:
        numbers = [parse([text], []).numbers for text in ("1-2", "2,1", "1,2,2,1-2")]
        assert numbers == [[2, 1]] * 3
        assert joint(runs).pk == joint(runs[::-1]).pk
        assert joint(runs).pk != joint(runs[1:]).pk != create.create_export(runs[1], JSONL).pk

    def test_progress_counts_the_records_of_all_runs(self, runs: list[Run], queue_all: None) -> None:
        for wanted in FORMATS_OF_SEVERAL_RUNS:
            assert joint(runs, ExportSpec(wanted)).total == 3
            assert build_next()
            export = joint(runs, ExportSpec(wanted))
            assert (export.state, export.done) == (ExportState.READY, 3)

    def test_a_script_waits_while_it_is_built(
        self, client: Client, bobs_key: str, runs: list[Run], queue_all: None
    ) -> None:
        address, headers = f"{API}.csv?runs=1-2", {"x-api-key": bobs_key}
        response = client.get(address, headers=headers)
        assert (response.status_code, response["Retry-After"]) == (202, str(EXPORT_RETRY_AFTER_SECONDS))
        assert response.json()["data"] == {"state": "queued", "done": 0, "total": 3}
        assert build_next()
        head = client.head(address, headers=headers)
        body = content(client.get(address, headers=headers))
        assert head["Content-Length"] == str(len(body))
        part = client.get(address, headers=headers | {"Range": "bytes=2-6", "If-Range": head["ETag"]})
        assert (part.status_code, responses.content(part)) == (206, body[2:7])

    def test_deleting_any_of_its_runs_deletes_it(self, runs: list[Run]) -> None:
        for index in (0, 1):
            extra = make_ready_run(runs[0].collection)
            export = joint([runs[index], extra])
            assert export.run == extra
            delete_run(runs[index])
            assert not Export.objects.exists()
            assert exported_files() == []

    def test_a_run_deleted_during_the_export_is_reported(
        self, runs: list[Run], queue_all: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        joint(runs)

        def delete_and_write(*args: Any, **options: Any) -> None:
            Run.objects.filter(pk=runs[0].pk).delete()  # as if the export had been created after that
            write_records(*args, **options)

        monkeypatch.setattr(build, "write_records", delete_and_write)
        build_next()
        export = Export.objects.get()
        assert (export.state, export.is_final) == (ExportState.FAILED, True)
        assert export.failure.startswith("A run was deleted during the export.")
        assert exported_files() == []

    def test_a_collection_keeps_a_limited_number(
        self, runs: list[Run], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "MOST_ALIKE", 2)
        single = create.create_export(runs[0], JSONL)
        for wanted in FORMATS_OF_SEVERAL_RUNS:
            joint(runs, ExportSpec(wanted))
        assert Export.objects.filter(layout=Layout.RUNS).count() == 2
        assert Export.objects.filter(pk=single.pk).exists()

    def test_the_thread_for_accounts_exports_their_files(self, crawlers: Team) -> None:
        collection = make_remote_collection(make_account(crawlers))
        for number in (7, 8):
            make_remote_run(collection, number)
        ResultFile.objects.filter(run__number=8).update(key="8")
        assert joint(list(collection.runs.all())).state == ExportState.QUEUED
        assert Queue(remote=False).next() is None
        assert Queue(remote=True).next() is not None


class TestPages:
    def test_the_bar_offers_every_format_for_runs_but_not_for_pages(
        self, as_bob: Client, runs: list[Run]
    ) -> None:
        menu = links(as_bob.get(f"{ADDRESS}?runs=1-2"))
        query = "?runs=1-2"
        assert menu["Excel of the selected runs"] == f"{ADDRESS}.xlsx{query}"
        assert menu["JSON of the selected runs"] == f"{ADDRESS}.json{query}"
        assert menu["Choose columns… of the selected runs"] == f"{ADDRESS}/export{query}"
        assert "Excel" not in as_bob.get(f"{ADDRESS}?pages=1.1").content.decode()

    def test_without_javascript_buttons_send_the_checkboxes(self, as_bob: Client, runs: list[Run]) -> None:
        page = as_bob.get("/collections/101/download").content.decode()
        for path in (".xlsx", ".csv", ".jsonl", ".parquet", ".json", "/export"):
            assert f'formaction="selection{path}"' in page
        assert as_bob.head(f"{ADDRESS}.csv?runs=1&runs=2").status_code == 200

    def test_a_large_export_redirects_to_its_progress_and_then_starts(
        self, as_bob: Client, runs: list[Run], queue_all: None
    ) -> None:
        response = as_bob.get(f"{ADDRESS}.csv?runs=1-2&separator=;")
        export = Export.objects.get()
        assert response["Location"] == f"{ADDRESS}/export?runs=1-2&start={export.pk}#exports"
        page = as_bob.get(response["Location"].partition("#")[0]).content.decode()
        assert "CSV with semicolons" in page
        assert "Queued. The download starts automatically." in text_of(page)
        assert build_next()
        polled = f"{ADDRESS}/export?before={export.pk}&start={export.pk}"
        fragment = as_bob.get(polled, headers={"HX-Request": "true"}).content.decode()
        assert f'href="{ADDRESS}.csv?runs=1-2&amp;separator=%3B" data-start' in fragment
        assert 'data-announce="CSV with semicolons is ready."' in fragment

    def test_the_form_creates_an_export(self, as_bob: Client, runs: list[Run]) -> None:
        page = as_bob.get(f"{ADDRESS}/export?runs=1,2")
        assert "Runs 1-2 in one table." in text_of(page.content.decode())
        form = {"runs": "1-2", "format": "csv", "excel": "1", "column": ["price"]}
        response = as_bob.post(f"{ADDRESS}/export", form)
        assert response["Location"] == f"{ADDRESS}/export?runs=1-2#exports"
        export = Export.objects.get()
        assert (export.columns, export.excel, export.layout) == (["price"], True, Layout.RUNS)
        assert "Runs 1-2 · price" in text_of(as_bob.get(f"{ADDRESS}/export").content.decode())

    def test_the_page_of_a_single_run_does_not_list_them(self, as_bob: Client, runs: list[Run]) -> None:
        joint(runs)
        assert "No exports yet" in as_bob.get("/collections/101/runs/2/export").content.decode()

    def test_a_full_queue_is_reported(
        self, as_bob: Client, runs: list[Run], queue_all: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(create, "MOST_QUEUED", 0)
        response = as_bob.get(f"{ADDRESS}.csv?runs=1-2", follow=True)
        assert "exports in the queue, the maximum" in response.content.decode()


@pytest.mark.parametrize(
    ("numbers", "text"), [([3, 1, 2], "1-3"), ([5], "5"), ([1, 2, 4, 9, 8], "1-2,4,8-9"), ([], "")]
)
def test_runs_are_written_as_in_urls(numbers: list[int], text: str) -> None:
    assert encode_runs(numbers) == text
