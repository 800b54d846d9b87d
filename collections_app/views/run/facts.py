"""Facts about a run's records."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from collections_app.models import Collection, ResultFile
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.preview.concurrency import queries_of
from collections_app.records.preview.facts import Facts, facts_of
from collections_app.records.preview.records import files_of_records
from collections_app.records.preview.table import Table, is_built, is_built_automatically
from collections_app.views.run.lookup import find_run
from collections_app.views.run.records import table_notes
from collections_app.views.run.table import PATIENCE, read_table, render_result

_PLOT_WIDTH, _PLOT_HEIGHT, _GAP = 320, 72, 2


@collection_member(Action.SEE)
@require_safe
def run_facts(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Show facts about the records of a completed run. With `read`, read even a large run."""
    run = find_run(collection, number)
    context: dict[str, Any] = {"collection": collection, "run": run}
    if run.is_ready:
        with queries_of(request.user.pk):
            context |= _facts(files_of_records(run), is_requested="read" in request.GET)
    is_refused = "is_refused" in context
    return render_result(request, "run/facts.html", "run/_facts.html", context, is_refused=is_refused)


def _facts(files: Sequence[ResultFile], *, is_requested: bool) -> dict[str, Any]:
    if not files:
        return {}
    if not (is_requested or is_built_automatically(files) or is_built(files)):
        return {"is_large": True}
    return read_table(files, _read_facts)


def _read_facts(table: Table) -> dict[str, Any]:
    facts = facts_of(table, seconds=PATIENCE)
    return {"facts": facts, "plot": _plot(facts), "notes": table_notes(table), "table": table}


@dataclass(frozen=True)
class PlotBar:
    """A bar of a plot, in the units of the SVG."""

    x: float
    y: float
    width: float
    height: float


def _plot(facts: Facts) -> list[PlotBar]:
    if facts.prices is None:
        return []
    bars = facts.prices.bars
    most = max(bar.count for bar in bars) or 1
    step = _PLOT_WIDTH / len(bars)
    heights = [max(bar.count / most * _PLOT_HEIGHT, 1 if bar.count else 0) for bar in bars]
    return [
        PlotBar(
            round(index * step, 1), round(_PLOT_HEIGHT - height, 1), round(step - _GAP, 1), round(height, 1)
        )
        for index, height in enumerate(heights)
    ]
