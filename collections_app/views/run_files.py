"""A run's files with what proves them, and the manifest that says the same to programs."""

from urllib.parse import quote

from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from collections_app.access import Action, MemberRequest, collection_member
from collections_app.addresses import absolute
from collections_app.bundles.archives import run_archive
from collections_app.models import Collection, FileKind, NotDownloadable, Run, Verification
from collections_app.proof.manifest import files_in_order, manifest
from collections_app.views.delivered import delivered
from collections_app.views.run_rows import files_address

FILES_SHOWN = 500


@collection_member(Action.SEE)
@require_safe
def run_home(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Lead to the run's files."""
    return redirect("run_files", collection.pk, number)


@collection_member(Action.SEE)
@require_safe
def run_files(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Show a ready run's files with their sizes and digests."""
    try:
        run = collection.runs.ready_run(number)
    except NotDownloadable as error:
        raise Http404(str(error)) from None
    return render(request, "proof/files.html", {"collection": collection, **proof_of(collection, run)})


def proof_of(collection: Collection, run: Run) -> dict[str, object]:
    """Return what proof/_files.html shows of a ready run."""
    files = files_in_order(run)
    # The ZIP comes first: whoever proves one file most often proves that.
    files.sort(key=lambda file: file.position > 0)
    return {
        "run": run,
        "files": files[:FILES_SHOWN],
        "verification": verification_of(run),
        "selectable": any(file.kind == FileKind.PAGE and file.is_stored for file in files),
        "more_files": max(0, len(files) - FILES_SHOWN),
        "folder": files_address(collection, run.number),
    }


def verification_of(run: Run) -> Verification | None:
    """Return when the run's files were last read again, if they ever were."""
    return Verification.objects.filter(run=run).first()


@collection_member(Action.SEE, is_file=True)
@require_safe
def run_manifest(request: MemberRequest, collection: Collection, number: int) -> HttpResponseBase:
    """Deliver a ready run's manifest."""
    folder = absolute(request, files_address(collection, number))
    return delivered(
        request,
        lambda: manifest(
            collection.runs.ready_run(number), lambda file: f"{folder}{quote(file.name, safe='')}"
        ),
    )


@collection_member(Action.SEE, is_file=True)
@require_safe
def run_all(request: MemberRequest, collection: Collection, number: int) -> HttpResponseBase:
    """Deliver a ZIP of all original files of a ready run."""
    return delivered(request, lambda: run_archive(collection.runs.ready_run(number)))
