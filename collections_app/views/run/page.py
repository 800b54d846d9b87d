"""A run's own page: what is in it, before anybody downloads it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.db.models import Count, Q, Sum
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from collections_app.models import KINDS_OF_RECORDS, Collection, FileKind, ResultFile, Run, State
from collections_app.models.runs import prefetch_first_files, prefetch_last_pages
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.preview.concurrency import RETRY_AFTER_SECONDS, TooManyQuestions, asked_by
from collections_app.records.preview.engine import TookTooLong
from collections_app.records.preview.facts import Facts, facts_of
from collections_app.records.preview.first_records import first_records
from collections_app.records.preview.queries import MOST_SORTED, Question, answer, around, record_of
from collections_app.records.preview.records import Record, columns_of, files_of_records
from collections_app.records.preview.table import (
    MOST_COLUMNS,
    NotPrepared,
    Progress,
    Table,
    is_little,
    is_made,
    is_made_unasked,
    progress_of,
    table_of,
)
from collections_app.system.background import StillWorking
from collections_app.views.download.rows import (
    PAGES_UNFOLDED,
    PAGES_WHERE_FOLDED,
    PAGES_WRITTEN,
    files_address,
    version,
)
from collections_app.views.run import progress as run_progress
from collections_app.views.run.cells import Cell, cells, pretty
from collections_app.views.run.files import verification_of

# How long a request waits for what is prepared in the background.
_PATIENCE = 0.8
_COLUMNS_SHOWN = 12
# Every column header and every row repeats the query in its links.
_LONGEST_ADDRESS = 8_000
_MORE_COLUMNS = (
    f"These records have more than {MOST_COLUMNS} columns: the first {MOST_COLUMNS} can be chosen, "
    "sorted by and counted. Search looks into all of them."
)
_TOO_LONG = "This took too long. Try it with fewer words, or without sorting."


@collection_member(Action.SEE)
@require_safe
def run(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Show a run: facts, files and records.

    `q` searches the records, `sort` and `dir` order them, `column` (several) are the columns, and `after`
    goes on after so many records. htmx gets the records alone.
    """
    context = run_context(request, collection, number)
    is_refused = "view" in context and context["view"].is_refused
    return _rendered(request, _template(request, context["wish"]), context, is_refused=is_refused)


def _rendered(
    request: MemberRequest, template: str, context: dict[str, Any], *, is_refused: bool
) -> HttpResponse:
    """Render a page or fragment, with 429 if the person asked too many questions at once."""
    response = render(request, template, context, status=429 if is_refused else 200)
    if is_refused:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    # A fragment and the whole page share an address.
    patch_vary_headers(response, ["HX-Request"])
    return response


def run_context(request: MemberRequest, collection: Collection, number: int) -> dict[str, Any]:
    """Return what a run's page shows of it. Raises Http404 and BadRequest."""
    wish = _wish(request)
    found = _run(collection, number, first_files_alone=wish.is_of_the_first)
    context: dict[str, Any] = {"collection": collection, "run": found, "wish": wish}
    context |= {"most_sorted": MOST_SORTED, "most_columns": MOST_COLUMNS}
    if found.is_ready:
        context |= _files(found)
        with asked_by(request.user.pk):
            context["view"] = _view(files_of_records(found), wish, context["records_size"])
    elif found.state == State.PROCESSING:
        prefetch_last_pages([found], PAGES_WRITTEN)
        context["version"] = version(found)
        context["progress"] = run_progress.progress_of(found)
    return context


@collection_member(Action.SEE)
@require_safe
def run_facts(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Show facts of a ready run's records; htmx gets them without the page around.

    `read` says that somebody wants them of a large run as well, which has to be read for it.
    """
    found = _run(collection, number)
    context: dict[str, Any] = {"collection": collection, "run": found}
    if found.is_ready:
        files = files_of_records(found)
        with asked_by(request.user.pk):
            context |= _facts(files, is_wanted="read" in request.GET)
    fragment = request.htmx and not request.htmx.history_restore_request
    template = "run/_facts.html" if fragment else "run/facts.html"
    return _rendered(request, template, context, is_refused="is_refused" in context)


@collection_member(Action.SEE)
@require_safe
def record(request: MemberRequest, collection: Collection, number: int, place: int) -> HttpResponse:
    """Show the whole JSON of one record of a ready run; htmx gets it without the page around.

    What was searched for and sorted by, as run() has it, is what the records before and after it are about;
    `after` is the place of this one there.
    """
    found = _run(collection, number)
    if not found.is_ready:
        raise Http404(f"Run {number} has no records to show: it is not completed.")
    wish, files = _wish(request), files_of_records(found)
    context: dict[str, Any] = {"collection": collection, "run": found, "place": place, "wish": wish}
    with asked_by(request.user.pk):
        context |= _record(files, place)
        if not wish.question.is_of_the_file:
            context |= _neighbours(files, place, wish)
    context["in_dialog"] = request.htmx.target == "record-dialog"
    fragment = request.htmx and not request.htmx.history_restore_request
    template = "run/_record.html" if fragment else "run/record.html"
    return _rendered(request, template, context, is_refused="is_refused" in context)


def _run(collection: Collection, number: int, *, first_files_alone: bool = False) -> Run:
    runs = collection.runs.filter(number=number)
    found = (runs if first_files_alone else runs.with_files()).first()
    if found is not None and first_files_alone:
        prefetch_first_files([found], PAGES_UNFOLDED)
    # A ready run has files, unless it was deleted before they were read.
    if found is None or (found.is_ready and not found.ready_files):
        raise Http404(f"This collection has no run {number}.")
    return found


def _files(found: Run) -> dict[str, object]:
    """Return what the page shows of a ready run's files, and of when they were last read again."""
    folds = found.page_count > PAGES_UNFOLDED
    most = PAGES_WHERE_FOLDED if folds else PAGES_UNFOLDED
    # The ZIP comes first: whoever proves one file most often proves that.
    shown = sorted(
        (file for file in found.ready_files if file.position <= most), key=lambda file: file.position
    )
    return {
        "folder": files_address(found.collection, found.number),
        "files": shown,
        "more_pages": found.page_count - PAGES_WHERE_FOLDED if folds else 0,
        "selectable": any(file.kind == FileKind.PAGE and file.is_stored for file in shown),
        "verification": verification_of(found),
        **_sizes(found),
    }


def _sizes(found: Run) -> dict[str, int | None]:
    """Return how many bytes a run's files have, and those of its records; None where that isn't known."""
    unknown = Count("pk", filter=Q(size=None))
    kinds = found.files.values_list("kind").annotate(Sum("size"), unknown=unknown)
    sizes = {kind: None if unknown else size for kind, size, unknown in kinds.order_by()}
    of_records = [sizes[kind] for kind in KINDS_OF_RECORDS if kind in sizes]
    return {"total_size": _sum(list(sizes.values())), "records_size": _sum(of_records)}


def _sum(sizes: Sequence[int | None]) -> int | None:
    return None if None in sizes else sum(size or 0 for size in sizes)


def _template(request: MemberRequest, wish: "Wish") -> str:
    if not request.htmx or request.htmx.history_restore_request:
        return "run/page.html"
    return "run/_rows.html" if wish.question.after else "run/_found.html"


# --- what somebody wishes to see ------------------------------------------------------------------


@dataclass(frozen=True)
class Wish:
    """What an address asks for: which records, and which columns of them."""

    question: Question
    columns: Sequence[str]

    def address(self, **changes: str) -> str:
        """Return the query of the same wish with some parts changed; an empty one is left out."""
        question = self.question
        parts = {"q": question.search, "sort": question.sort, "dir": "desc" if question.descending else ""}
        pairs = [(name, value) for name, value in (parts | changes).items() if value]
        return "?" + urlencode([*pairs, *(("column", column) for column in self.columns)])

    @property
    def is_of_the_first(self) -> bool:
        """Whether it asks for the first records as they come, which need no table of all of them."""
        return self.question.is_of_the_file and not self.question.after

    @property
    def again(self) -> str:
        """The query of the very same wish."""
        return self.address(after=str(self.question.after or ""))

    @property
    def from_start(self) -> str:
        """The query of the first records of the wish."""
        return self.address()

    @property
    def in_order(self) -> str:
        """What an address of a record needs, before its place, to be followed by the next one of the wish."""
        return "" if self.question.is_of_the_file else f"{self.from_start}&after="

    @property
    def all(self) -> str:
        """The query of all records, in the same order."""
        return self.address(q="")


def _wish(request: MemberRequest) -> Wish:
    asked = request.GET
    search = asked.get("q", "").replace("\0", "").strip()[:200]
    after = asked.get("after", "0")
    if not (after.isascii() and after.isdecimal() and len(after) <= 12):  # noqa: PLR2004
        raise BadRequest("This address is damaged: its “after” part is no number of records.")
    question = Question(search, asked.get("sort", ""), asked.get("dir") == "desc", int(after))
    wish = Wish(question, list(dict.fromkeys(asked.getlist("column"))))
    if len(wish.again) > _LONGEST_ADDRESS:
        raise BadRequest("This address is too long. Choose fewer columns.")
    return wish


# --- the records ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Head:
    """The head of a column, which sorts by it."""

    name: str
    address: str  # "" where the records can't be sorted by it
    order: str  # as aria-sort has it; "" where it is not the one
    is_of_numbers: bool


@dataclass(frozen=True)
class View:
    """The records as they are shown, or why they are not."""

    rows: Sequence[tuple[Record, Sequence[Cell]]] = ()
    heads: Sequence[Head] = ()
    choices: Sequence[tuple[str, bool]] = ()  # each column, and whether it is shown
    has_more_columns: bool = False  # than can be chosen
    total: int | None = None  # how many records there are to be shown; None: not known
    next: str = ""  # the address of the following ones
    goes_on_unasked: bool = True  # they come as somebody scrolls
    notes: Sequence[str] = field(default_factory=tuple)
    problem: str = ""
    is_late: bool = False
    is_refused: bool = False  # the person asks too many questions at once
    progress: Progress | None = None
    is_end_of_sorted: bool = False


def _view(files: Sequence[ResultFile], wish: Wish, size: int | None) -> View:
    if wish.is_of_the_first:
        return _first_view(files, wish, size)
    return _asked_view(files, wish)


def _asked_view(files: Sequence[ResultFile], wish: Wish) -> View:
    question = wish.question
    try:
        table = table_of(files, seconds=_PATIENCE)
        found = answer(table, question)
    except StillWorking:
        return View(progress=progress_of(files))
    except NotPrepared as problem:
        return View(problem=str(problem))
    except TookTooLong:
        return View(problem=_TOO_LONG)
    except TooManyQuestions as problem:
        return View(problem=str(problem), is_refused=True)
    shown, choices = _columns(table.columns, wish.columns)
    return View(
        rows=(rows := _rows(found.records, shown)),
        heads=_heads(shown, rows, wish, table.columns),
        choices=choices,
        has_more_columns=table.has_more_columns,
        total=found.total,
        next=wish.address(after=str(question.after + len(found.records))) if found.has_more else "",
        notes=[*_notes(table), *_unmet(wish, table.columns, found.records, is_sorted=True)],
        is_end_of_sorted=not found.has_more and found.total > MOST_SORTED,
    )


def _first_view(files: Sequence[ResultFile], wish: Wish, size: int | None) -> View:
    """Return the first records, of the first files; `size` is that of all."""
    first = first_records(files)
    if first.is_beyond:
        run = files[0].run
        return _asked_view(files_of_records(_run(run.collection, run.number)), wish)
    columns = columns_of(each.fields for each in first.records)
    known, has_more = columns[:MOST_COLUMNS], len(columns) > MOST_COLUMNS
    shown, choices = _columns(known, wish.columns)
    # What follows may have columns that these don't, and goes on in the same table.
    following = wish if len(shown) >= _COLUMNS_SHOWN else replace(wish, columns=shown)
    return View(
        rows=(rows := _rows(first.records, shown)),
        heads=_heads(shown, rows, wish, known),
        choices=choices,
        has_more_columns=has_more,
        total=len(first.records) if first.is_all else None,
        next="" if first.is_all or not first.records else following.address(after=str(len(first.records))),
        goes_on_unasked=is_little(size),
        notes=[
            *([first.problem] if first.problem and first.records else []),
            *([_MORE_COLUMNS] if has_more else []),
            *_unmet(wish, known, first.records),
        ],
        problem="" if first.records else first.problem,
        is_late=first.is_late,
    )


def _columns(known: Sequence[str], chosen: Sequence[str]) -> tuple[list[str], list[tuple[str, bool]]]:
    """Return the columns to show, and all that there are to choose from."""
    wanted = set(chosen or known[:_COLUMNS_SHOWN])
    choices = [(column, column in wanted) for column in dict.fromkeys([*known, *chosen])]
    return [column for column, is_shown in choices if is_shown], choices


def _rows(records: Sequence[Record], columns: Sequence[str]) -> list[tuple[Record, list[Cell]]]:
    return [(each, cells(each.fields, columns)) for each in records]


def _heads(
    columns: Sequence[str],
    rows: Sequence[tuple[Record, Sequence[Cell]]],
    wish: Wish,
    sortable: Sequence[str],
) -> list[Head]:
    heads = []
    for place, column in enumerate(columns):
        kinds = {row[place].kind for _, row in rows} - {"nothing"}
        address, order = _next_order(column, wish) if column in sortable else ("", "")
        heads.append(Head(column, address, order, is_of_numbers=kinds == {"number"}))
    return heads


def _next_order(column: str, wish: Wish) -> tuple[str, str]:
    """Return where a column's head leads, and its order: first upwards, then downwards, then none."""
    if column != wish.question.sort:
        return wish.address(sort=column, dir=""), ""
    if wish.question.descending:
        return wish.address(sort="", dir=""), "descending"
    return wish.address(dir="desc"), "ascending"


def _notes(table: Table) -> list[str]:
    notes = [f"{problem} What comes after that place is not shown." for problem in table.problems]
    if not table.is_whole:
        notes.append(
            f"This run is large: searching, sorting and facts are about its first {table.records:,} records."
        )
    if table.too_large:
        which = "One record is" if table.too_large == 1 else f"{table.too_large:,} records are"
        notes.append(
            f"{which} too large for this page: left out of search, sorting and facts, and whole in the files."
        )
    if table.has_more_columns:
        notes.append(_MORE_COLUMNS)
    return notes


def _unmet(
    wish: Wish, known: Sequence[str], records: Sequence[Record], *, is_sorted: bool = False
) -> list[str]:
    """Return what of a wish can't be met, in plain sentences."""
    notes = []
    if is_sorted and wish.question.sort and wish.question.sort not in known:
        which = f"their first {MOST_COLUMNS}" if len(known) == MOST_COLUMNS else "their columns"
        notes.append(f"These records can't be sorted by “{wish.question.sort}”: it is none of {which}.")
    there = set(known).union(*(record.fields for record in records))
    missing = [f"“{column}”" for column in wish.columns if column not in there]
    if missing and records:
        notes.append(f"None of these records has a column {', '.join(missing)}.")
    return notes


# --- facts and single records ---------------------------------------------------------------------


def _facts(files: Sequence[ResultFile], *, is_wanted: bool) -> dict[str, object]:
    if not files:
        return {}
    if not (is_wanted or is_made_unasked(files) or is_made(files)):
        return {"is_large": True}
    try:
        table = table_of(files, seconds=_PATIENCE)
        facts = facts_of(table, seconds=_PATIENCE)
    except StillWorking:
        return {"progress": progress_of(files)}
    except NotPrepared as problem:
        return {"problem": str(problem)}
    except TooManyQuestions as problem:
        return {"problem": str(problem), "is_refused": True}
    return {"facts": facts, "plot": _plot(facts), "notes": _notes(table), "table": table}


@dataclass(frozen=True)
class PlotBar:
    """A bar of a plot, in the units of its picture."""

    x: float
    y: float
    width: float
    height: float


_PLOT_WIDTH, _PLOT_HEIGHT, _GAP = 320, 72, 2


def _plot(facts: Facts) -> list[PlotBar]:
    if facts.prices is None:
        return []
    bars = facts.prices.bars
    most = max(bar.count for bar in bars) or 1
    step = _PLOT_WIDTH / len(bars)
    heights = [max(bar.count / most * _PLOT_HEIGHT, 1 if bar.count else 0) for bar in bars]
    return [
        PlotBar(
            round(place * step, 1), round(_PLOT_HEIGHT - height, 1), round(step - _GAP, 1), round(height, 1)
        )
        for place, height in enumerate(heights)
    ]


def _record(files: Sequence[ResultFile], place: int) -> dict[str, object]:
    first = first_records(files)
    if 1 <= place <= len(first.records):
        return _shown(first.records[place - 1], has_next=not first.is_all or place < len(first.records))
    try:
        table = table_of(files, seconds=_PATIENCE)
        found = record_of(table, place) if 1 <= place <= table.records else None
    except StillWorking:
        return {"progress": progress_of(files)}
    except NotPrepared as problem:
        return {"problem": str(problem)}
    except TookTooLong:
        return {"problem": _TOO_LONG}
    except TooManyQuestions as problem:
        return {"problem": str(problem), "is_refused": True}
    if found is None:
        raise Http404(f"This run has no record {place}.")
    return _shown(found, has_next=place < table.records)


def _shown(found: Record, *, has_next: bool) -> dict[str, object]:
    text, is_cut = pretty(found.fields)
    return {
        "is_too_large": found.is_too_large,
        "json": text,
        "is_cut": is_cut,
        "previous": found.number - 1,
        "next": found.number + 1 if has_next else None,
    }


def _neighbours(files: Sequence[ResultFile], place: int, wish: Wish) -> dict[str, object]:
    """Return what leads to the records beside one in the wish's order; nothing where it isn't there."""
    try:
        numbers = around(table_of(files, seconds=_PATIENCE), wish.question)
    except (StillWorking, NotPrepared, TookTooLong, TooManyQuestions):
        return {}
    at = wish.question.after
    if numbers.get(at) != place:
        return {}
    before, after = (
        f"{numbers[each]}{wish.in_order}{each}" if each in numbers else "" for each in (at - 1, at + 1)
    )
    return {"previous": before, "next": after}
