"""/api/v1/docs and /api/v1/openapi.json: what the API says of itself."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from collections_app.api.documentation import EXAMPLE_RUN, Failure, NotYet, Runs, RunsQuery

GOLDEN = Path(__file__).parent / "golden" / "list_run_results.json"
LIST = "/api/v1/schedules/collections/results/download/"
FILE = "/api/v1/results/{collection_id}/{runner_id}/{file_name}"


@pytest.fixture
def document(as_bob: Client) -> dict[str, Any]:
    document: dict[str, Any] = as_bob.get("/api/v1/openapi.json").json()
    return document


def examples(content: dict[str, Any]) -> list[Any]:
    return [example["value"] for example in content["application/json"].get("examples", {}).values()]


RUN = "/api/v1/collections/{collection_id}/runs/{runner_id}"
LATEST = "/api/v1/collections/{collection_id}/latest"
RUN_FILES = [f"{RUN}/manifest.json", f"{LATEST}/manifest.json", f"{RUN}/all.zip", f"{LATEST}/all.zip"]
RECORDS = [f"{RUN}/records.{{file_format}}", f"{LATEST}/records.{{file_format}}"]
SELECTIONS = [f"/api/v1/collections/{{collection_id}}/selection.{ending}" for ending in ("zip", "json")]


def test_every_operation_has_a_summary_and_a_description(document: dict[str, Any]) -> None:
    operations = {path: list(item) for path, item in document["paths"].items()}
    assert operations == {
        LIST: ["post"],
        FILE: ["get"],
        **{path: ["get"] for path in [*RUN_FILES, *SELECTIONS, *RECORDS]},
    }
    assert document["paths"][LIST]["post"]["summary"] == "List run results"
    assert document["paths"][FILE]["get"]["summary"] == "Download result file"
    assert all(operation["description"] for item in document["paths"].values() for operation in item.values())


def test_every_call_needs_the_key(document: dict[str, Any]) -> None:
    assert document["security"] == [{"ApiKey": []}]
    scheme = document["components"]["securitySchemes"]["ApiKey"]
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "header", "x-api-key")


def test_the_ids_of_an_address_are_integers(document: dict[str, Any]) -> None:
    types = {each["name"]: each["schema"]["type"] for each in document["paths"][FILE]["get"]["parameters"]}
    assert types == {"collection_id": "integer", "runner_id": "integer", "file_name": "string"}


def test_every_answer_is_declared(document: dict[str, Any]) -> None:
    assert list(document["paths"][LIST]["post"]["responses"]) == ["200"]
    answers = ["200", "206", "304", "401", "403", "404", "405", "412", "416", "429", "502", "503", "504"]
    of_a_run = {path: ["409"] if path.startswith(RUN) else [] for path in [FILE, *RUN_FILES, *RECORDS]}
    for path in [FILE, *RUN_FILES]:
        assert list(document["paths"][path]["get"]["responses"]) == [*answers, *of_a_run[path]]
    for path in SELECTIONS:
        assert list(document["paths"][path]["get"]["responses"]) == [*answers, "400"]
    for path in RECORDS:
        assert list(document["paths"][path]["get"]["responses"]) == [
            *answers,
            "202",
            "400",
            "500",
            *of_a_run[path],
        ]


def test_the_example_is_the_vendors(document: dict[str, Any]) -> None:
    vendors = GOLDEN.read_text().replace("multicartapi.com", "results.example.com")
    assert json.loads(vendors)["data"] == [EXAMPLE_RUN]
    body = document["paths"][LIST]["post"]["requestBody"]["content"]["application/json"]
    assert body["example"] == {"collection_id": 101, "skip": 0, "limit": 5}
    RunsQuery.model_validate(body["example"])


def test_every_example_is_as_declared(document: dict[str, Any]) -> None:
    codes = []
    for item in document["paths"].values():
        for operation in item.values():
            for answer in operation["responses"].values():
                if "application/json" in answer.get("content", {}):
                    for example in examples(answer["content"]):
                        codes.append(example["code"])
                        {200: Runs, 202: NotYet}.get(example["code"], Failure).model_validate(example)
    of_a_file = [401, 403, 404, 405, 429, 502, 503, 504]
    of_the_list = [200, 400, 401, 403, 405, 413, 502, 503, 504]
    of_runs = [*of_a_file, *[*of_a_file, 409, *of_a_file] * 2]
    of_records = [*of_a_file, 202, 400, 500, 409, *of_a_file, 202, 400, 500]
    of_selections = [*of_a_file, 400] * len(SELECTIONS)
    assert codes == [*of_the_list, *of_runs, *of_records, *of_selections]


def test_swagger_ui_comes_from_this_site(as_bob: Client) -> None:
    page = as_bob.get("/api/v1/docs").content.decode()
    assert "ninja/swagger-ui-bundle.js" in page
    assert "//" not in page.replace("<!doctype html>", "")
