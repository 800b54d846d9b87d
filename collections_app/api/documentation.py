"""What the API's documentation says: OpenAPI, with the examples of the vendor's guide."""

from typing import Annotated, Any, Literal

from ninja import Schema
from pydantic import ConfigDict, Field, WithJsonSchema

from collections_app.api.auth import HEADER
from collections_app.api.body import MAX_INTEGER
from collections_app.api.runs import DEFAULT_LIMIT, MAX_LIMIT
from collections_app.files.bundles.merged import MOST_MERGED
from collections_app.files.bundles.selection import MOST_FILES, MOST_RUNS
from collections_app.people.access import NOT_YOURS
from collections_app.records.formats.records_file import Format

TITLE = "Results API"
DESCRIPTION = f"""Fetch the results of a collection's runs from a script, in two steps: list the runs with
their download links, then fetch a file from its link.

Send your API key with every call, in the header `{HEADER}` or as `Authorization: Bearer KEY`. Create a key on
your profile page."""

# How Swagger UI shows it. Deep links would put a link into a button, which keyboards can't reach.
SWAGGER: dict[str, Any] = {
    "deepLinking": False,
    "defaultModelsExpandDepth": -1,
    "docExpansion": "full",
    "syntaxHighlight": False,
}

SECURITY = {"ApiKey": {"type": "apiKey", "in": "header", "name": HEADER, "description": "Your API key."}}

_EXAMPLE_LINK = "https://results.example.com/api/v1/results/101/88/AU Laptops_88_Results"
EXAMPLE_RUN = {
    "id": 88,
    "collection": 101,
    "is_download_generated": True,
    "download_links": {
        "pages": [f"{_EXAMPLE_LINK}_Page_1.json"],
        "all_pages": f"{_EXAMPLE_LINK}_All_Pages.zip",
    },
    "total_exacted_result": 250,
    "total_results": 250,
    "created_at": "2026-06-20T12:00:00Z",
    "updated_at": "2026-06-20T12:05:00Z",
}


class _Exact(Schema):
    model_config = ConfigDict(extra="forbid", strict=True)


class RunsQuery(Schema):
    """Which runs to list."""

    collection_id: int = Field(ge=0, le=MAX_INTEGER, description="The collection whose runs to list.")
    skip: int = Field(0, ge=0, le=MAX_INTEGER, description="How many of the newest runs to leave out.")
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="How many runs to list at most.")


class DownloadLinks(_Exact):
    """Where a run's files are; nothing while the run is not ready."""

    pages: list[str] = Field(description="The result pages in order; for a category run, the full list.")
    all_pages: str | None = Field(description="The ZIP of all pages; null for a category run.")
    csv: str | None = Field(None, description="The list as CSV; only a category run has this key.")


class RunObject(_Exact):
    """One run of a collection."""

    id: int = Field(description="The run's number, the `runner_id` of its links.")
    collection: int
    is_download_generated: bool = Field(
        description="Whether the files are there. Ask again until it is true."
    )
    download_links: DownloadLinks
    total_exacted_result: int | None = Field(
        description="Number of records scraped; null if the account doesn't report it."
    )
    total_results: int | None = Field(
        description="Number of records requested; null if the account doesn't report it."
    )
    created_at: str = Field(json_schema_extra={"format": "date-time"})
    updated_at: str = Field(json_schema_extra={"format": "date-time"})


class Runs(_Exact):
    """The runs, newest first."""

    code: Literal[200]
    data: list[RunObject]
    status: Literal[1]


class Making(_Exact):
    """How far a file is that is being made."""

    state: Literal["queued", "running"]
    done: int = Field(description="Number of records done.")
    total: int | None = Field(description="Total number of records; null if it isn't known.")


class NotYet(_Exact):
    """What was asked for is being made: ask again."""

    code: Literal[202]
    data: Making
    status: Literal[1]


class Failure(_Exact):
    """Why there is nothing to give."""

    code: int = Field(description="What kind of problem, as an HTTP status.")
    data: str = Field(description="What is wrong, in plain English.")
    status: Literal[0]


# The address holds text; what is no integer is answered with 404, once the key was checked.
_ID: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER}
CollectionId = Annotated[str, WithJsonSchema(_ID | {"description": "The collection.", "example": 101})]
RunnerId = Annotated[str, WithJsonSchema(_ID | {"description": "The run's `id`.", "example": 88})]
FileName = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "description": "The file's name as the links have it.",
            "example": "AU Laptops_88_Results_Page_1.json",
        }
    ),
]

FormatName = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "enum": [*Format],
            "description": "What the records are to be: JSON, JSON Lines, CSV, XLSX or Parquet.",
            "example": "csv",
        }
    ),
]


def _failure(code: int, reason: str) -> dict[str, Any]:
    return {"value": {"code": code, "data": reason, "status": 0}}


def _refusal(code: int, reason: str) -> dict[str, Any]:
    return {
        "description": reason,
        "content": {"application/json": {"examples": {"refusal": _failure(code, reason)}}},
    }


LIST_RUN_RESULTS: dict[str, Any] = {
    "operation_id": "list_run_results",
    "tags": ["Results"],
    "summary": "List run results",
    "description": (
        "Lists a collection's runs, newest first, with the links to their files. The links are there once "
        "`is_download_generated` is true; until then, repeat the call every few seconds.\n\n"
        "The HTTP status is always 200. How the call went is the `code` in the answer: 200, 400 (something "
        "is wrong with the body), 401 (no valid API key), 403 (not your collection), 405 (not called by "
        "POST), 413 (a body over 64 KiB), 500 (our fault), 503 (we are not ready just now), 502 or 504 "
        "(the runs are those of an account at MultiCartAPI, which doesn't answer or is slow to). A 503 "
        "with `Retry-After` means that this account is receiving too many requests; wait that many seconds."
    ),
    "response": {200: Runs | Failure},
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": RunsQuery.json_schema(),
                    "example": {"collection_id": 101, "skip": 0, "limit": 5},
                }
            },
        },
        "responses": {
            200: {
                "description": "The runs, or why there is nothing to give.",
                "content": {
                    "application/json": {
                        "examples": {
                            "200": {"value": {"code": 200, "data": [EXAMPLE_RUN], "status": 1}},
                            "400": _failure(400, "collection_id is required."),
                            "401": _failure(401, "This API key is unknown or was revoked."),
                            "403": _failure(403, NOT_YOURS),
                            "405": _failure(405, "Call this address by POST."),
                            "413": _failure(413, "The body is larger than 64 KiB."),
                            "502": _failure(502, "The account “Main” does not answer. Try again later."),
                            "503": _failure(
                                503,
                                "The account “Main” is receiving too many requests. Try again in 30 seconds.",
                            ),
                            "504": _failure(504, "MultiCartAPI is slow to answer."),
                        }
                    }
                },
            }
        },
    },
}

_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_FILE_ANSWERS: dict[Any, Any] = {
    200: None,
    206: None,
    304: None,
    401: Failure,
    403: Failure,
    404: Failure,
    405: Failure,
    412: None,
    416: None,
    429: Failure,
    502: Failure,
    503: Failure,
    504: Failure,
}
_FILE_EXAMPLES: dict[Any, Any] = {
    200: {"description": "The whole file.", "content": _BYTES},
    206: {"description": "The part of the file that `Range` asked for.", "content": _BYTES},
    304: {"description": "You have this file already."},
    401: _refusal(401, "This API key is unknown or was revoked."),
    403: _refusal(403, NOT_YOURS),
    404: _refusal(404, "Run 88 is still processing. Try again once it is completed."),
    405: _refusal(405, "Call this address by GET or HEAD."),
    412: {"description": "The file is not the one that `If-Match` names."},
    416: {"description": "The range lies outside the file."},
    429: _refusal(
        429, "This API key is being sent 100 files, the most at once for one. Wait until one has ended."
    ),
    502: _refusal(502, "The place where this file is kept does not answer. Try again later."),
    503: _refusal(503, "The account “Main” is receiving too many requests. Try again in 30 seconds."),
    504: _refusal(504, "The place where this file is kept took too long to answer. Try again later."),
}
DOWNLOAD_RESULT_FILE: dict[str, Any] = {
    "operation_id": "download_result_file",
    "tags": ["Results"],
    "summary": "Download result file",
    "description": (
        "Answers with the raw bytes of a file. `Range`, `If-Range`, `If-None-Match` and `If-Modified-Since` "
        "work as in RFC 9110, so an interrupted download can be resumed. HEAD answers with the headers "
        "alone. `Repr-Digest` (RFC 9530) is the SHA-256 of the whole file, where it is known: of an "
        "account's file once it was kept here."
    ),
    "response": _FILE_ANSWERS,
    "openapi_extra": {"responses": _FILE_EXAMPLES},
}

_LATEST = (
    " `latest` stands for the newest completed run; `Content-Location` names that run's own address. To "
    "resume, send the `ETag` as `If-Range`: where a newer run has come meanwhile, its whole file is sent."
)


def _run_file(operation: str, tag: str, summary: str, description: str, *, latest: bool) -> dict[str, Any]:
    return {
        "operation_id": operation,
        "tags": [tag],
        "summary": f"{summary} of the latest run" if latest else summary,
        "description": description + (_LATEST if latest else ""),
        "response": _FILE_ANSWERS,
        "openapi_extra": {"responses": _FILE_EXAMPLES},
    }


_RUNS = "Runs"
_MANIFEST = (
    "What a run's files must be: a JSON object with the run's facts and, in `files`, each file's `name`, "
    "`kind`, `size` in bytes, `sha256`, number of `records` and `url`. What isn't known of an account's file "
    "is null."
)
RUN_MANIFEST = _run_file("run_manifest", _RUNS, "Manifest", _MANIFEST, latest=False)
LATEST_MANIFEST = _run_file("latest_manifest", _RUNS, "Manifest", _MANIFEST, latest=True)

_ALL = (
    "All original files of a run in one ZIP: a product run's own, with its pages; of a category run, the "
    "list and the CSV. Its length is known before the first byte, and it can be resumed and fetched in parts."
)
RUN_ALL = _run_file("run_all", _RUNS, "All files as a ZIP", _ALL, latest=False)
LATEST_ALL = _run_file("latest_all", _RUNS, "All files as a ZIP", _ALL, latest=True)


def _query(name: str, description: str, example: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {
        "in": "query",
        "name": name,
        "schema": schema,
        "description": description,
        "example": example,
        "required": False,
    }


SELECTION_ZIP = _run_file(
    "selection_zip",
    _RUNS,
    "Several runs and pages as one ZIP",
    (
        "The original files of several runs in one ZIP, with a folder for each run. It is put together while "
        "it is sent, from what is compressed already: its length is known before the first byte. The same "
        "address gives the same bytes, so it can be resumed and fetched in parts. Every run must be "
        f"completed and kept here; at most {MOST_RUNS:,} runs and {MOST_FILES:,} files."
    ),
    latest=False,
)
SELECTION_JSON = _run_file(
    "selection_json",
    _RUNS,
    "Several runs and pages as one JSON list",
    (
        "All records of several runs in one JSON list, those of the newest run first. It is joined while it "
        "is sent and can be resumed as the ZIP can, under the same conditions; of at most "
        f"{MOST_MERGED:,} files."
    ),
    latest=False,
)
for _operation in (SELECTION_ZIP, SELECTION_JSON):
    _operation["response"] = {**_FILE_ANSWERS, 400: Failure}
    _operation["openapi_extra"] = {
        "responses": {
            **_FILE_EXAMPLES,
            400: _refusal(400, "These are more than 1,000 runs. Select fewer at once."),
        },
        "parameters": [
            _query("runs", "Runs as a whole, by number.", "88-91,95"),
            _query("pages", "Pages of runs: run, dot, page.", "90.1-3,92.7"),
        ],
    }

_MAKING = {"state": "running", "done": 120_000, "total": 250_000}
_RECORDS = (
    "Every record of a run in one file, whatever its own files are. A small one is made at once. A large "
    "one is made in the background: the answer is 202 until it is there, so repeat the call, after "
    "`Retry-After`, for as long as it is 202. Then it is a file like any other: it can be resumed and "
    "fetched in parts. It is kept for as long as somebody wants it, and made anew after that. Where it could "
    "not be made, the answer is 500 with the reason, and whoever asks 10 seconds later or more has it tried "
    "again; where it never can be, such as without a column of that name, the answer is 400."
)
RUN_RECORDS = _run_file("run_records", _RUNS, "Records in any format", _RECORDS, latest=False)
LATEST_RECORDS = _run_file("latest_records", _RUNS, "Records in any format", _RECORDS, latest=True)
for _operation in (RUN_RECORDS, LATEST_RECORDS):
    _operation["response"] = {**_FILE_ANSWERS, 202: NotYet, 400: Failure, 500: Failure}
    _operation["openapi_extra"] = {
        "responses": {
            **_FILE_EXAMPLES,
            202: {
                "description": "It is being made. Ask again.",
                "content": {
                    "application/json": {
                        "examples": {"making": {"value": {"code": 202, "data": _MAKING, "status": 1}}}
                    }
                },
            },
            400: _refusal(400, "No record has a column “asn”. The columns are: asin, title."),
            500: _refusal(500, "The file is missing from the results storage. Tell the operator."),
        },
        "parameters": [
            _query(
                "columns",
                "The columns to have, in this order. What is within an object has a dotted name, and a name "
                "with a comma is put in quotation marks. All columns where this is left out.",
                "asin,price.cents",
            ),
            _query("excel", "`1`: a CSV that spreadsheets open without harm.", "1"),
        ],
    }
for _operation in (RUN_MANIFEST, RUN_ALL, RUN_RECORDS):
    _operation["response"] = {**_operation["response"], 409: Failure}
    _operation["openapi_extra"]["responses"] = {
        **_operation["openapi_extra"]["responses"],
        409: _refusal(409, "Run 88 failed, so it has no files."),
    }
