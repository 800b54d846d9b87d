"""Upload the files of a run."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods
from django_htmx.http import HttpResponseClientRedirect

from collections_app.files.storage.base import check_free_space, describe_error
from collections_app.models import Collection, Run
from collections_app.people.access import Action, MemberRequest, collection_member, confirm
from collections_app.runs.incoming.checks import checked
from collections_app.runs.incoming.files import Incoming, Unusable
from collections_app.runs.incoming.forms import ENDINGS, endings
from collections_app.runs.incoming.lookup import incoming_files
from collections_app.runs.incoming.objects import NoListChosen
from collections_app.runs.incoming.uploaded import UploadedFiles
from collections_app.runs.incoming.write import write_run
from collections_app.runs.lease import LeaseLost
from collections_app.runs.repair import fail_interrupted_runs
from collections_app.runs.writer import DEFAULT_PAGE_SIZE, WrongUse
from collections_app.system import disk
from collections_app.system.database import release_connections
from collections_app.system.serving import ClientDisconnected, check_client
from collections_app.views.fragments import render_fragment, wants_fragment
from collections_app.views.upload.receive import MOST_BYTES, UploadRefused, receive
from collections_app.views.upload.slots import TooManyUploads, upload_slot

logger = logging.getLogger(__name__)

_NOTHING = "Nothing was uploaded."
_RETRY_AFTER_SECONDS = 10
# The status of nginx for a client that has disconnected.
_CLIENT_DISCONNECTED = 499
_CHECK_CLIENT_EVERY = 1024**2


class _Problem(Exception):
    """The files can't be uploaded. The message is for people."""

    def __init__(self, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.status = status


@csrf_exempt  # checked below: Django's middleware would read the entire upload for the token
@collection_member(Action.MANAGE_COLLECTIONS)
@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: MemberRequest, collection: Collection) -> HttpResponseBase:
    """Show the form. On POST, import the files as a new run.

    Permissions and limits are checked before the body is read.
    """
    if collection.is_remote:
        raise Http404("The runs of this collection come from MultiCartAPI, so files can't be uploaded.")
    if request.method != "POST":
        return _page(request, collection)
    # The token is in a header or, without JavaScript, in the address.
    request.META.setdefault("HTTP_X_CSRFTOKEN", request.GET.get("token", ""))
    request.POST = QueryDict()
    return _upload(request, collection)


@csrf_protect
def _upload(request: MemberRequest, collection: Collection) -> HttpResponseBase:
    records_at = ""
    try:
        with _problems(), upload_slot(request.user.pk), UploadedFiles() as uploaded:
            release_connections()
            records_at = receive(request, uploaded).get("records_at", "").strip()
            with transaction.atomic():
                confirm(request, Action.MANAGE_COLLECTIONS)  # an upload can take hours
            run = _import(collection, uploaded.files(), records_at or None)
    except _Problem as problem:
        return _page(request, collection, problem, records_at)
    except ClientDisconnected:
        return HttpResponse(status=_CLIENT_DISCONNECTED)
    messages.success(request, _result(run))
    return _redirect(request, f"{reverse('download', args=[collection.pk])}#run-{run.number}")


def _import(collection: Collection, files: list[Incoming], records_at: str | None) -> Run:
    if not files:
        raise Unusable("Choose at least one file.")
    with ExitStack() as stack:
        files = checked(collection, incoming_files(files, stack), records_at)
        check_free_space(sum(file.size for file in files))
        fail_interrupted_runs()
        return write_run(
            collection, files, DEFAULT_PAGE_SIZE, _check_client_sometimes(), discard_if_killed=True
        )


@contextmanager
def _problems() -> Iterator[None]:
    """Raise _Problem for errors that people can fix."""
    try:
        yield
    except TooManyUploads as error:
        raise _Problem(str(error), status=429) from None
    except NoListChosen as error:
        raise _Problem(f"{error} Enter the name of one under “List of records”.") from None
    except (UploadRefused, Unusable, WrongUse, LeaseLost) as error:
        raise _Problem(str(error)) from None
    except OSError as error:
        logger.warning("upload problem=%s", describe_error(error))
        reason = disk.PROBLEM if disk.is_full(error) else "The files can't be stored now. Try again later."
        raise _Problem(reason) from None


def _check_client_sometimes() -> Callable[[int], None]:
    """Return a function that is called with the bytes read. It raises ClientDisconnected."""
    unchecked = 0

    def check(size: int) -> None:
        nonlocal unchecked
        unchecked += size
        if unchecked >= _CHECK_CLIENT_EVERY:
            unchecked = 0
            check_client()

    return check


def _result(run: Run) -> str:
    records, files = run.extracted or 0, run.file_count
    return (
        f"Uploaded run {run.number}: {records:,} record{pluralize(records)} "
        f"in {files:,} file{pluralize(files)}."
    )


def _redirect(request: MemberRequest, target: str) -> HttpResponse:
    return HttpResponseClientRedirect(target) if wants_fragment(request) else redirect(target)


def _page(
    request: MemberRequest, collection: Collection, problem: _Problem | None = None, records_at: str = ""
) -> HttpResponse:
    context = {
        "collection": collection,
        "problem": f"{problem} {_NOTHING}" if problem else "",
        "records_at": records_at,
        "most_bytes": MOST_BYTES,
        "endings": {kind: endings(kind) for kind in ENDINGS},
        "most_files": settings.DATA_UPLOAD_MAX_NUMBER_FILES,
        "low_disk": disk.low(),
    }
    response = render_fragment(request, "upload/page.html", "upload/_problem.html", context)
    if problem and problem.status != response.status_code:
        response.status_code = problem.status
        response["Retry-After"] = str(_RETRY_AFTER_SECONDS)
    return response
