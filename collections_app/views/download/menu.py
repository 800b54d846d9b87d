"""The Download menu: the records of a run, or of a collection's newest completed run, in any format."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from django.urls import reverse

from collections_app.files.bundles.zip_downloads import ALL
from collections_app.models import Collection, Preferences, Run
from collections_app.people.access import MemberRequest
from collections_app.records.exports.subject import FORMATS_OF_SEVERAL_RUNS
from collections_app.records.formats.export_formats import Format
from collections_app.records.preview.queries import TableQuery
from collections_app.system import disk

# In the order of the menu.
FORMAT_NAMES = {
    Format.XLSX: "Excel",
    Format.CSV: "CSV",
    Format.JSON: "JSON",
    Format.JSONL: "JSON Lines",
    Format.PARQUET: "Parquet",
}
ZIP = "zip"


@dataclass(frozen=True)
class Choice:
    """A link in the menu."""

    format: str
    name: str
    address: str


@dataclass(frozen=True)
class DownloadMenu:
    """The links of a menu. The first one is the format that the user downloaded last."""

    subject: str  # what the links download, for screen readers
    choices: list[Choice]
    columns_address: str = ""  # the page for choosing columns
    contents_address: str = ""  # the page that shows what is included
    more: Sequence[Choice] = ()  # below the others, such as the saved exports


def run_menu(run: Run, preferred: str) -> DownloadMenu:
    """Return the menu of a completed run. Needs the run's files that aren't pages."""
    folder = reverse("run", args=[run.collection_id, run.number])
    menu = _menu(
        f"run {run.number}",
        folder,
        preferred,
        is_category=run.category_list is not None,
        has_zip=run.is_kept or run.archive is not None,
    )
    return replace(menu, more=_saved(run.collection, folder))


def search_menu(run: Run, query: TableQuery, preferred: str) -> DownloadMenu:
    """Return the menu of the records of a run that match the search and filters of a query."""
    folder = reverse("run", args=[run.collection_id, run.number])
    search = [("q", query.search)] if query.search else []
    parameters = f"?{urlencode([*search, *(('filter', str(each)) for each in query.filters)])}"
    choices = [
        Choice(each, name, f"{folder}records.{each}{parameters}") for each, name in FORMAT_NAMES.items()
    ]
    subject = f"records of run {run.number} that match"
    return DownloadMenu(subject, preferred_first(choices, preferred), f"{folder}export{parameters}")


def selection_menu(collection: Collection, query: str, preferred: str) -> DownloadMenu:
    """Return the menu of several runs, which `query` selects as in a URL."""
    folder = f"{reverse('collection', args=[collection.pk])}selection"
    choices = [
        Choice(each, FORMAT_NAMES[each], f"{folder}.{each}?{query}")
        for each in (*FORMATS_OF_SEVERAL_RUNS, Format.JSON)
    ]
    return DownloadMenu("the selected runs", preferred_first(choices, preferred), f"{folder}/export?{query}")


def last_night_menu(preferred: str) -> DownloadMenu:
    """Return the menu of last night's runs of all collections."""
    choices = [
        Choice(Format.XLSX, "Excel workbook", reverse("last_night_workbook")),
        Choice(ZIP, "ZIP of all files", reverse("last_night_zip")),
    ]
    subject = "last night's runs"
    return DownloadMenu(subject, preferred_first(choices, preferred), contents_address=reverse("last_night"))


def latest_menu(collection: Collection, preferred: str) -> DownloadMenu:
    """Return the menu of the collection's newest completed run, without looking it up."""
    folder = reverse("latest", args=[collection.pk])
    menu = _menu(
        f"the newest completed run of {collection}",
        folder,
        preferred,
        is_category=collection.is_category,
        has_zip=True,
    )
    return replace(menu, more=_saved(collection, folder))


def _saved(collection: Collection, folder: str) -> list[Choice]:
    """Return the links of the collection's saved exports."""
    return [
        Choice(file_name.rpartition(".")[2], name, f"{folder}exports/{file_name}")
        for file_name, name in collection.export_menu
    ]


def _menu(subject: str, folder: str, preferred: str, *, is_category: bool, has_zip: bool) -> DownloadMenu:
    choices = [
        Choice(each, _name(each, is_category=is_category), f"{folder}records.{each}") for each in FORMAT_NAMES
    ]
    if has_zip and not is_category:
        choices.append(Choice(ZIP, "ZIP", f"{folder}{ALL}"))
    return DownloadMenu(subject, preferred_first(choices, preferred), f"{folder}export")


def _name(file_format: Format, *, is_category: bool) -> str:
    # A category run already has a CSV file, with some of the columns.
    if is_category and file_format == Format.CSV:
        return "CSV, all columns"
    return FORMAT_NAMES[file_format]


def preferred_first(choices: Iterable[Choice], preferred: str) -> list[Choice]:
    """Return the choices of a menu, beginning with that of the preferred format."""
    return sorted(choices, key=lambda choice: choice.format != preferred)


def preferred_format(request: MemberRequest) -> str:
    """Return the format that the user downloaded last, or ""."""
    return Preferences.of(request.user).download_format


def remember_format(request: MemberRequest, file_format: str) -> None:
    """Save the format of a download, so that it is the first in the user's menus."""
    if request.method != "GET" or preferred_format(request) == file_format:
        return
    with disk.best_effort("the format of a download"):
        Preferences.objects.update_or_create(
            user_id=request.user.pk, defaults={"download_format": file_format}
        )
