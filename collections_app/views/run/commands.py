"""Commands that download a run's files from the API, with curl or PowerShell."""

import re
from dataclasses import dataclass
from urllib.parse import quote

from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from collections_app.files.bundles.zip_downloads import ALL
from collections_app.files.names import export_name
from collections_app.models import Collection, Run
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.system.addresses import absolute, results_of
from collections_app.views.download.menu import ZIP, preferred_format, run_menu
from collections_app.views.fragments import render_fragment, wants_fragment
from collections_app.views.run.lookup import PAGES_UNFOLDED, find_run

# One line with double quotes, which sh, cmd.exe and PowerShell understand. Without `-C -`, which would append
# to any file of that name, even a different one.
_CURL = 'curl -f -o "{name}" -H "x-api-key: YOUR_API_KEY" "{url}"'
# In Windows PowerShell, `curl` is another program.
_POWERSHELL = 'Invoke-WebRequest "{url}" -Headers @{{"x-api-key"="YOUR_API_KEY"}} -OutFile "{name}"'

_SPECIAL = re.compile(r'["$`\\!/%]')


@dataclass(frozen=True)
class File:
    """A file that the API serves."""

    value: str  # identifies it in the form
    label: str
    url: str
    name: str  # under which the command saves it

    @property
    def curl(self) -> str:
        """The command for curl."""
        return _CURL.format(name=self.name, url=self.url)

    @property
    def powershell(self) -> str:
        """The command for PowerShell."""
        return _POWERSHELL.format(name=self.name, url=self.url)


@collection_member(Action.SEE)
@require_safe
def run_commands(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Show the commands that download a `file`: by default, all records in the user's last format."""
    run = find_run(collection, number, first_files_only=True)
    files = _files(request, run) if run.is_ready else []
    value = request.GET.get("file", "")
    chosen = next((file for file in files if file.value == value), None) if value else next(iter(files), None)
    if value and chosen is None:
        raise BadRequest("This run has no such file. Choose another one.")
    context = {
        "collection": collection,
        "run": run,
        "files": files,
        "chosen": chosen,
        "in_dialog": wants_fragment(request),
    }
    return render_fragment(request, "run/commands.html", "run/_commands.html", context)


def _files(request: MemberRequest, run: Run) -> list[File]:
    menu = run_menu(run, preferred_format(request))
    exports = [
        _converted(request, run, choice.format, choice.name)
        for choice in menu.choices
        if choice.format != ZIP
    ]
    zips = [_zip(request, run)] if any(choice.format == ZIP for choice in menu.choices) else []
    folder = f"{results_of(request, run.collection_id)}/{run.number}/"
    originals = [
        # Escape everything, because $ and ` are special to a shell.
        File(file.name, file.name, f"{folder}{quote(file.name, safe='')}", _saved_as(file.name, run))
        for file in sorted(run.ready_files, key=lambda file: (file.position, file.name))
        if file != run.archive
    ]
    return [*exports, *zips, *originals[:PAGES_UNFOLDED]]


def _converted(request: MemberRequest, run: Run, ending: str, label: str) -> File:
    path = reverse("api:run_records", args=[run.collection_id, run.number, ending])
    name = export_name(run.collection.name, [run.number], ending, has_chosen_columns=False)
    return File(f"records.{ending}", label, absolute(request, path), _saved_as(name, run))


def _zip(request: MemberRequest, run: Run) -> File:
    path = reverse("api:run_all", args=[run.collection_id, run.number])
    name = run.archive.name if run.archive else ALL
    return File(ALL, "ZIP", absolute(request, path), _saved_as(name, run))


def _saved_as(name: str, run: Run) -> str:
    """Return a name without characters that are special to a shell, and with the run's number.

    Every category list has the same name, so they would overwrite each other.
    """
    name = _SPECIAL.sub("_", name)
    return name if str(run.number) in re.findall(r"\d+", name) else f"run_{run.number}_{name}"
