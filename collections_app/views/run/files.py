"""All files of a run as one ZIP, and the manifest with their digests."""

from urllib.parse import quote

from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from collections_app.files.bundles.zip_downloads import run_archive
from collections_app.files.verification.manifest import manifest
from collections_app.models import Collection, Run, Verification
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.system.addresses import absolute
from collections_app.views.download.menu import ZIP, remember_format
from collections_app.views.download.rows import files_address
from collections_app.views.file_response import file_response


def verification_of(run: Run) -> Verification | None:
    """Return the run's last verification, or None if it was never verified."""
    return Verification.objects.filter(run=run).first()


@collection_member(Action.SEE, is_file=True)
@require_safe
def run_manifest(request: MemberRequest, collection: Collection, number: int) -> HttpResponseBase:
    """Send the manifest of a completed run."""
    folder = absolute(request, files_address(collection, number))
    return file_response(
        request,
        lambda: manifest(
            collection.runs.ready_run(number), lambda file: f"{folder}{quote(file.name, safe='')}"
        ),
    )


@collection_member(Action.SEE, is_file=True)
@require_safe
def run_all(request: MemberRequest, collection: Collection, number: int) -> HttpResponseBase:
    """Send a ZIP of all original files of a completed run."""
    remember_format(request, ZIP)
    return file_response(request, lambda: run_archive(collection.runs.ready_run(number)))
