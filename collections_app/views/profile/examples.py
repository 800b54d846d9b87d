"""Examples of API calls, with values from the user's team."""

from dataclasses import dataclass
from urllib.parse import quote

from django.db.models import Exists, OuterRef
from django.urls import reverse

from collections_app.models import FileKind, Run, State, Team
from collections_app.people.access import MemberRequest
from collections_app.system.addresses import absolute, results_of

# How many collections to search for one with results. A team can have thousands.
_COLLECTIONS_TRIED = 50

LIST_CALL = """\
curl {address} \\
  -X POST \\
  -H "x-api-key: {key}" \\
  -H "Content-Type: application/json" \\
  -d '{{ "collection_id": {collection_id}, "skip": 0, "limit": 5 }}'"""

# One line with double quotes, which cmd.exe and PowerShell understand too.
FILE_CALL = 'curl "{address}" -H "x-api-key: {key}" -o "{saved_as}"'

PULL_CALL = """\
export MULTICART_API_KEY={key}
python pull.py {collection_id} --latest --verify --base-url {address}"""


@dataclass(frozen=True)
class ExampleCalls:
    """Commands that pull results with pull.py, list runs, and download a file."""

    pull_call: str
    list_call: str
    file_call: str = ""


def example_calls(request: MemberRequest, team: Team, key: str) -> ExampleCalls | None:
    """Return the calls for the team's first collection with results, or for its first collection."""
    ready = Run.objects.filter(collection=OuterRef("pk"), state=State.READY)
    collections = team.collections.filter(archived_at=None).order_by("pk")
    tried = collections.annotate(has_results=Exists(ready))[:_COLLECTIONS_TRIED]
    with_results = (each for each in tried if each.has_results)  # type: ignore[attr-defined]
    collection = next(with_results, None) or next(iter(tried), None)
    if collection is None:
        return None
    list_call = LIST_CALL.format(
        address=absolute(request, reverse("api:list_run_results")),
        key=key,
        collection_id=collection.pk,
    )
    pull_call = PULL_CALL.format(
        address=absolute(request, reverse("api:api-root")).rstrip("/"), key=key, collection_id=collection.pk
    )
    run = collection.runs.filter(state=State.READY).newest_first().first()
    file = run.files.with_records().first() if run else None
    if run is None or file is None:
        return ExampleCalls(pull_call, list_call)
    saved_as = f"page_{file.position}.json" if file.kind == FileKind.PAGE else file.name
    # Escape everything, because $ and ` are special to a shell.
    address = f"{results_of(request, collection.pk)}/{run.number}/{quote(file.name, safe='')}"
    return ExampleCalls(pull_call, list_call, FILE_CALL.format(address=address, key=key, saved_as=saved_as))
