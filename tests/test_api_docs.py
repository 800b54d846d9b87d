"""The OpenAPI document at /api/v1/openapi.json: everything it says is true of the code."""

import ast
import contextlib
import gzip
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import unquote, urlsplit

import pytest
import requests
from django.db import OperationalError
from django.http import QueryDict
from django.test import Client
from django.urls import get_resolver, reverse
from django.urls import resolve as resolve_url
from django.utils import timezone

from collections_app.api import changes, events, list_runs, lists, quality, refresh
from collections_app.api.authentication import HEADER
from collections_app.api.limits import MAX_BODY_SIZE, MAX_INTEGER
from collections_app.api.reference import Operation, Reference
from collections_app.api.request_body import boolean, integer
from collections_app.files import delivery
from collections_app.files.bundles.merged import MOST_MERGED
from collections_app.files.bundles.selection import MOST_FILES, MOST_RUNS
from collections_app.models import Collection, Export, SavedExport, TrackingSettings, User
from collections_app.records.exports import create, subject
from collections_app.records.exports.subject import FORMATS_OF_SEVERAL_RUNS
from collections_app.records.formats.export_formats import Format
from collections_app.records.formats.xlsx import MOST_ROWS
from collections_app.sources import NotTheFile, SourceBusy, SourceTimeout, SourceUnavailable
from tests.support import responses
from tests.support.openapi import DOCUMENT, check, examples, operations, resolve
from tests.support.responses import Response
from tests.support.results import make_failed_run, make_ready_run, records
from tests.support.tools import ROOT, all_or_few
from tests.support.verdicts import make_judged_runs, make_sliced_run

GOLDEN = Path(__file__).parent / "golden" / "list_run_results.json"
OPERATIONS = {operation["operationId"]: (path, method, operation) for path, method, operation in operations()}
LIST = OPERATIONS["list_run_results"]
LISTS = ("list_collections", "list_collection_runs", "list_events")
CHANGES = ("run_changes", "latest_changes")
DOWNLOADS = {
    name: each
    for name, each in OPERATIONS.items()
    if name not in {"list_run_results", "product_history", "run_quality", *LISTS, *CHANGES}
}
SHOWN = [
    operation
    for _, group in Reference(DOCUMENT, "https://results.example.com").groups()
    for operation in group
]
# Parameters that the code reads only to refuse them.
REFUSED = {"selection_records": {"pages", "q", "filter"}}
NOT_FOR_SCRIPTS = {"api-root", "openapi-view", "openapi-json"}


def parameters(operation: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    found = [resolve(each) for each in operation.get("parameters", [])]
    return {each["name"]: each for each in found if each["in"] == kind}


def address_of(name: str, query: str = "", /, **values: object) -> str:
    """Return the address of an operation, from its examples and other values."""
    path, _, operation = OPERATIONS[name]
    given = {key: each["example"] for key, each in parameters(operation, "path").items()}
    return path.format_map(given | values) + query


# --- the document ---------------------------------------------------------------------------------


def test_it_is_served_as_json(as_bob: Client) -> None:
    response = as_bob.get("/api/v1/openapi.json")
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == DOCUMENT


@pytest.mark.parametrize("operation", SHOWN, ids=[operation.id for operation in SHOWN])
def test_the_samples_call_the_operation(operation: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    (address,) = [word for word in shlex.split(operation.curl) if "://" in word]
    url = urlsplit(address)
    assert (url.scheme, url.netloc) == ("https", "results.example.com")
    assert resolve_url(unquote(url.path)).url_name == operation.id
    request = Mock()
    monkeypatch.setattr(requests, operation.method.lower(), request)
    with contextlib.suppress(TypeError):  # a mock is not a file
        exec(operation.python, {"print": Mock(), "open": Mock()})
    assert request.call_args.args == (address,)


def test_the_page_shows_all_operations_in_few_bytes(as_bob: Client) -> None:
    page = as_bob.get("/api/v1/docs").content.decode()
    for name in OPERATIONS:
        assert f'id="{name}"' in page
    assert len(gzip.compress(page.encode())) < 100_000


def test_the_page_shows_fields_limits_and_messages(as_bob: Client) -> None:
    page = as_bob.get("/api/v1/docs").content.decode()
    assert "integer, 1 to 1,000, default 50" in page
    assert "This API key is unknown or was revoked." in page
    assert '<a href="#Run">Run</a>' in page
    assert 'id="Run"' in page
    assert "YOUR_API_KEY" in page


def test_every_reference_resolves_and_every_component_is_used() -> None:
    used = set(re.findall(r'"\$ref": "#/components/([^"]+)"', json.dumps(DOCUMENT)))
    components = DOCUMENT["components"]
    assert used == {f"{kind}/{name}" for kind in components for name in components[kind]} - {
        "securitySchemes/ApiKey",
        "securitySchemes/Bearer",
    }


def test_every_operation_has_a_summary_and_a_description() -> None:
    for _, _, operation in OPERATIONS.values():
        assert operation["summary"]
        assert operation["description"].endswith(".")


def test_every_operation_needs_the_api_key() -> None:
    assert DOCUMENT["security"] == [{"ApiKey": []}, {"Bearer": []}]
    schemes = DOCUMENT["components"]["securitySchemes"]
    header, bearer = schemes["ApiKey"], schemes["Bearer"]
    assert (header["type"], header["in"], header["name"]) == ("apiKey", "header", HEADER)
    assert (bearer["type"], bearer["scheme"]) == ("http", "bearer")


# --- addresses, methods and parameters ------------------------------------------------------------


def test_every_address_of_the_api_is_documented() -> None:
    names = get_resolver("collections_app.api.urls").namespace_dict["api"][1].reverse_dict
    assert {name for name in names if isinstance(name, str)} - NOT_FOR_SCRIPTS == set(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_path_and_its_parameters_are_those_of_the_code(name: str) -> None:
    path, _, operation = OPERATIONS[name]
    in_path = {key: f"{{{key}}}" for key in parameters(operation, "path")}
    assert unquote(reverse(f"api:{name}", kwargs=in_path)) == path


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_method_is_that_of_the_code(client: Client, name: str) -> None:
    allowed = {"GET": "GET, HEAD", "POST": "POST"}[OPERATIONS[name][1]]
    assert client.delete(address_of(name)).headers["Allow"] == allowed


def test_ids_are_integers_within_the_limits() -> None:
    for name in ("CollectionId", "RunnerId"):
        schema = DOCUMENT["components"]["parameters"][name]["schema"]
        assert schema == {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER}


def test_the_formats_are_those_of_the_code() -> None:
    described = DOCUMENT["components"]["parameters"]
    assert described["FileFormat"]["schema"]["enum"] == [*Format]
    assert described["SelectionFormat"]["schema"]["enum"] == [*FORMATS_OF_SEVERAL_RUNS]
    assert described["ChangesFormat"]["schema"]["enum"] == [*changes.FILE_FORMATS]


def test_the_limits_of_a_selection_are_those_of_the_code() -> None:
    description = OPERATIONS["selection_zip"][2]["description"]
    assert f"{MOST_RUNS:,} runs and {MOST_FILES:,} files" in description
    assert f"{MOST_MERGED:,} files" in OPERATIONS["selection_json"][2]["description"]
    limits = f"{subject.MOST_RUNS:,} runs and, for XLSX, {MOST_ROWS - 1:,} records."
    assert OPERATIONS["selection_records"][2]["description"].endswith(limits)


@pytest.mark.django_db
def test_the_fields_of_the_list_request_are_those_of_the_code(
    client: Client, bobs_key: str, laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {}
    read = integer

    def spy(body: dict[str, Any], name: str, **bounds: int) -> int:
        default: dict[str, Any] = {"default": bounds["default"]} if "default" in bounds else {}
        limits: dict[str, Any] = {"minimum": bounds["least"], "maximum": bounds.get("most", MAX_INTEGER)}
        fields[name] = {"type": "integer"} | limits | default
        return read(body, name, **bounds)

    def spy_on_booleans(body: dict[str, Any], name: str) -> bool:
        fields[name] = {"type": "boolean", "default": boolean({}, name)}
        return boolean(body, name)

    monkeypatch.setattr(list_runs, "integer", spy)
    monkeypatch.setattr(list_runs, "boolean", spy_on_booleans)
    media = LIST[2]["requestBody"]["content"]["application/json"]
    for body in (media["example"], {"collection_id": 101, "before": 88}):
        call_list(client, bobs_key, json.dumps(body).encode())
    schema = resolve(media["schema"])
    check(schema, media["example"])
    for described in schema["properties"].values():
        assert described["description"]
    assert fields == {
        name: {key: value for key, value in described.items() if key != "description"}
        for name, described in schema["properties"].items()
    }
    without_default = [name for name, limits in fields.items() if "default" not in limits]
    assert without_default == [*schema["required"], "before"]


# --- responses ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Situation:
    """What differs from a plain request of run 1 with Bob's key."""

    values: dict[str, object] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    query: str = "?runs=1"
    method: str = "GET"
    failure: Exception | None = None  # of the delivery
    is_slow: bool = False


SITUATIONS = [
    Situation(),
    Situation(method="HEAD"),
    Situation(headers={"Range": "bytes=0-0"}),
    Situation(headers={"Range": "bytes=99999999-"}),
    Situation(headers={"If-None-Match": "*"}),
    Situation(headers={"If-Match": '"another"'}),
    Situation(headers={"x-api-key": "unknown"}),
    Situation(values={"collection_id": 999}),
    Situation(values={"collection_id": "x"}),
    Situation(values={"runner_id": 2}),  # failed
    Situation(query="?runs=x&columns=x"),
    Situation(method="DELETE"),
    Situation(values={"file_format": "xlsx", "name": "slow.csv"}, is_slow=True),
    Situation(failure=delivery.TooManyStreams("Wait.")),
    Situation(failure=NotTheFile("This is an error page.")),
    Situation(failure=SourceUnavailable("")),
    Situation(failure=SourceBusy("Try again in 30 seconds.", 30)),
    Situation(failure=SourceTimeout("")),
    Situation(failure=ZeroDivisionError()),
]
# The messages that the API itself writes, and that don't depend on the run.
EXACT = {401, 403, 405, 412, 416, 500}


@pytest.fixture
def _runs(laptops: Collection, bob: User) -> None:
    make_ready_run(laptops, records(3), page_size=2)
    make_failed_run(laptops)
    make_ready_run(laptops, records(2), at=timezone.now() - timedelta(days=1))  # before run 1
    for name, file_format in (("Prices for the buyers", "xlsx"), ("Slow", "csv")):
        SavedExport.save_as(name, laptops, bob, format=file_format)


def respond(client: Client, key: str, name: str, situation: Situation) -> Response:
    values = {"runner_id": 1, "file_name": "AU Laptops_1_Results_Page_1.json"} | situation.values
    response: Response = client.generic(
        situation.method,
        address_of(name, situation.query, **values),
        headers={"x-api-key": key} | situation.headers,
    )
    return response


def check_documented(operation: dict[str, Any], response: Response) -> None:
    """Fail unless the status and the body of a response are as documented."""
    described = resolve(operation["responses"][str(response.status_code)])
    assert described["description"].endswith(".")
    content_type, body = response.headers.get("Content-Type", ""), responses.content(response)
    if not body:
        return
    assert list(described["content"]) == [content_type]
    if content_type == "application/json":
        check(described["content"][content_type]["schema"], json.loads(body))


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_runs")
@pytest.mark.parametrize(
    "name", all_or_few(DOWNLOADS, "download_result_file", "latest_records", "selection_records")
)
def test_the_statuses_of_a_download_are_exactly_those_documented(
    client: Client, bobs_key: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = OPERATIONS[name][2]
    statuses = set()
    for situation in SITUATIONS:
        with monkeypatch.context() as patch:
            if situation.failure:
                patch.setattr(delivery, "deliver", raising(situation.failure))
            if situation.is_slow:
                patch.setattr(create, "_QUICK", dict.fromkeys(Format, -1))
                patch.setattr(create, "_QUICK_CHANGES", -1)
            response = respond(client, bobs_key, name, situation)
        check_documented(operation, response)
        statuses.add(response.status_code)
        if response.status_code in EXACT:
            (example,) = examples(operation["responses"][str(response.status_code)]).values()
            assert response.json() == example
    Export.objects.update(state="failed", failure="This run has too many records.", is_final=True)
    response = respond(client, bobs_key, name, Situation())
    check_documented(operation, response)
    statuses.add(response.status_code)
    TrackingSettings.objects.update(key_columns=[])  # so that runs can't be compared
    response = respond(client, bobs_key, name, Situation())
    check_documented(operation, response)
    statuses.add(response.status_code)
    assert statuses == {int(status) for status in operation["responses"]}
    assert list(operation["responses"]) == sorted(operation["responses"])


@pytest.mark.django_db
@pytest.mark.usefixtures("results_folder")
def test_the_statuses_of_a_verdict_are_exactly_those_documented(
    client: Client, bobs_key: str, laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_judged_runs(laptops, "good")
    statuses = set()

    def call(**situation: Any) -> None:
        response = respond(client, bobs_key, "run_quality", Situation(**situation))
        check_documented(OPERATIONS["run_quality"][2], response)
        statuses.add(response.status_code)

    for situation in SITUATIONS:
        if situation.failure is None:
            call(**vars(situation))
    for failure in (OperationalError(), ZeroDivisionError()):
        with monkeypatch.context() as patch:
            patch.setattr(quality, "find_run", raising(failure))
            call()
    make_sliced_run(laptops, 2)
    call(values={"runner_id": 2})
    make_failed_run(laptops)
    call(values={"runner_id": 3})
    assert statuses == {int(status) for status in OPERATIONS["run_quality"][2]["responses"]}


def raising(error: Exception) -> Any:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_runs")
@pytest.mark.parametrize("name", [*DOWNLOADS, *LISTS, *CHANGES, "run_quality"])
def test_the_query_parameters_are_those_that_the_code_reads(
    client: Client, bobs_key: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = set()
    original = QueryDict.__getitem__, QueryDict.getlist

    def getitem(query: QueryDict, key: str) -> Any:
        read.add(key)
        return original[0](query, key)

    def getlist(query: QueryDict, key: str, default: Any = None) -> Any:
        read.add(key)
        return original[1](query, key, default)

    monkeypatch.setattr(QueryDict, "__getitem__", getitem)
    monkeypatch.setattr(QueryDict, "getlist", getlist)
    respond(client, bobs_key, name, Situation()).close()
    assert read - REFUSED.get(name, set()) == set(parameters(OPERATIONS[name][2], "query"))


def call_list(client: Client, key: str, body: bytes, method: str = "POST") -> dict[str, Any]:
    response = client.generic(method, LIST[0], body, headers={"x-api-key": key})
    assert [str(response.status_code)] == list(LIST[2]["responses"])
    envelope: dict[str, Any] = response.json()
    check(LIST[2]["responses"]["200"]["content"]["application/json"]["schema"], envelope)
    return envelope


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_runs")
@pytest.mark.parametrize("name", LISTS)
def test_the_statuses_of_a_plain_list_are_exactly_those_documented(
    client: Client, bobs_key: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = OPERATIONS[name][2]
    of_files = delivery.TooManyStreams, NotTheFile
    situations = [each for each in SITUATIONS if not isinstance(each.failure, of_files)]
    situations += [Situation(query="?limit=0"), Situation(query="?runs=1")]
    statuses = set()
    for situation in situations:
        with monkeypatch.context() as patch:
            if situation.failure:
                patch.setattr(refresh, "source_of", raising(situation.failure))
            if type(situation.failure) is ZeroDivisionError:
                patch.setattr(lists, "prefetch_latest_runs", raising(situation.failure))
                patch.setattr(events, "absolute", raising(situation.failure))
            response = respond(client, bobs_key, name, situation)
        check_documented(operation, response)
        statuses.add(response.status_code)
    assert statuses == {int(status) for status in operation["responses"]}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_runs")
def test_the_codes_of_the_list_are_exactly_those_documented(
    client: Client, bobs_key: str, laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = f'{{"collection_id": {laptops.pk}}}'.encode()
    envelopes = [
        call_list(client, bobs_key, ours),
        call_list(client, bobs_key, b"{}"),
        call_list(client, "unknown", ours),
        call_list(client, bobs_key, b'{"collection_id": 999}'),
        call_list(client, bobs_key, ours, method="PUT"),
        call_list(client, bobs_key, b" " * (MAX_BODY_SIZE + 1)),
    ]
    failures = [SourceUnavailable(""), SourceBusy("Busy.", 30), SourceTimeout(""), ZeroDivisionError()]
    for failure in failures:
        with monkeypatch.context() as patch:
            patch.setattr(refresh, "source_of", raising(failure))
            envelopes.append(call_list(client, bobs_key, ours))
    documented = examples(LIST[2]["responses"]["200"])
    assert {str(envelope["code"]) for envelope in envelopes} == set(documented)
    for envelope in envelopes:
        if envelope["code"] in {400, 401, 403, 405, 413, 500}:
            assert envelope == documented[str(envelope["code"])]
        assert re.search(rf"\b{envelope['code']}\b", LIST[2]["description"])


# --- examples -------------------------------------------------------------------------------------


def test_the_example_of_the_list_is_the_vendors() -> None:
    vendors = GOLDEN.read_text().replace("multicartapi.com", "results.example.com")
    assert examples(LIST[2]["responses"]["200"])["200"] == json.loads(vendors)
    media = LIST[2]["requestBody"]["content"]["application/json"]
    assert media["example"] == {"collection_id": 101, "skip": 0, "limit": 5}


def test_every_example_matches_its_schema() -> None:
    for path, _, operation in OPERATIONS.values():
        for status, response in operation["responses"].items():
            for value in examples(response).values():
                check(resolve(response)["content"]["application/json"]["schema"], value)
                assert path == LIST[0] or value.get("code", 200) == int(status)


def test_every_example_message_can_be_sent() -> None:
    """The messages that depend on a run or an account are written in other modules."""
    messages = {value["data"] for value in all_examples() if value.get("status") == 0}
    sent = [re.compile(pattern) for pattern in message_patterns()]
    assert {message for message in messages if not any(each.fullmatch(message) for each in sent)} == set()


def all_examples() -> Iterator[dict[str, Any]]:
    for _, _, operation in OPERATIONS.values():
        for response in operation["responses"].values():
            yield from examples(response).values()


def message_patterns() -> Iterator[str]:
    """Yield a regular expression for each text of at least five words in the app."""
    for path in (ROOT / "collections_app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [each.value if isinstance(each, ast.Constant) else "{}" for each in node.values]
                text = "".join(map(str, parts))
            else:
                text = str(node.value) if isinstance(node, ast.Constant) else ""
            if len(re.findall(r"\w+", re.sub(r"{[^{}]*}", "", text))) >= 5:
                yield re.sub(r"\\{[^{}]*\\}", ".+", re.escape(text))


def test_every_json_response_has_an_example() -> None:
    for _, _, operation in OPERATIONS.values():
        for response in operation["responses"].values():
            assert ("application/json" in resolve(response).get("content", {})) == bool(examples(response))
