"""Find out the name and type of a collection from its runs at an account."""

import re
from dataclasses import dataclass

from collections_app.models import Account, Collection, FileKind, Kind, ResultFile, Run
from collections_app.records.formats.recognition import BEGINNING
from collections_app.sources.base import ResultNotFound, SourceUnavailable
from collections_app.sources.upstream.files import UpstreamBody, size_of
from collections_app.sources.upstream.runs import RemoteRun, list_runs
from collections_app.system.background import Background, StillWorking

# How many of the newest runs to look through for a completed one.
_RUNS = 10
# How long to wait for the beginning of a page, in seconds, and how many pages to request at once.
_SECONDS_FOR_A_PAGE = 3.0
_pages = Background("discover", most=8)

_NO_TYPE = "This collection has no completed run yet, so its type is unknown. Choose a type."

# The names of pages at MultiCartAPI begin with the name of the collection.
_PAGE_NAME = re.compile(r"(.+)_[0-9]+_Results_Page_[0-9]+\.json", re.DOTALL)


@dataclass(frozen=True)
class Discovered:
    """What a collection's runs reveal about it."""

    name: str  # "" if unknown
    kind: Kind


def discover(account: Account, remote_id: int, *, kind: Kind | None, seconds: float) -> Discovered:
    """Return the name and type of a collection, or the given type if its runs don't contradict it.

    Takes at most `seconds` for the list of runs, and 3 more for a page. Raises SourceUnavailable and
    SourceTimeout with a message for the person who adds the collection.
    """
    collection = Collection(team=account.team, account=account, remote_id=remote_id)
    runs = list_runs(collection, skip=0, limit=_RUNS, seconds=seconds).runs
    run = next((run for run in runs if run.is_ready), None)
    if run is None:
        if kind is None:
            raise SourceUnavailable(_NO_TYPE)
        return Discovered("", kind)
    is_category = run.has_only_a_category_list
    if kind is None:
        return Discovered(_name(run), Kind.AMAZON_CATEGORY if is_category else _shop(collection, run))
    if is_category != (kind == Kind.AMAZON_CATEGORY):
        found = "a" if is_category else "no"
        raise SourceUnavailable(f"Run {run.number} has {found} category list. Check the collection's type.")
    return Discovered(_name(run), kind)


def _name(run: RemoteRun) -> str:
    match = next(filter(None, (_PAGE_NAME.fullmatch(file.remote_name) for file in run.files)), None)
    return match[1].strip() if match else ""


def _shop(collection: Collection, run: RemoteRun) -> Kind:
    """Return the type that the first records of a run suggest. Most collections are of Amazon."""
    page = next((file for file in run.files if file.kind == FileKind.PAGE), None)
    if page is None:
        return Kind.AMAZON
    file = ResultFile(
        run=Run(collection=collection, number=run.number), kind=page.kind, remote_name=page.remote_name
    )
    try:
        records = _pages.done_within(
            _SECONDS_FOR_A_PAGE, (collection.account_id, collection.remote_id), lambda: _beginning(file)
        )
    except (ResultNotFound, SourceUnavailable, StillWorking):
        return Kind.AMAZON  # it can be changed later
    return Kind.OFFICEWORKS if b"officeworks" in records.lower() else Kind.AMAZON


def _beginning(file: ResultFile) -> bytes:
    file.size = size_of(file)
    length = min(file.size, BEGINNING)
    with UpstreamBody(file).open(0, length) as stream:
        return stream.read(length)
