"""What messages say about events, for mail and chats alike."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from django.urls import reverse

from collections_app.models import Event, EventKind
from collections_app.records.quality.reasons import Reason
from collections_app.system.addresses import site

_LONGEST_LINE = 300
_LONGEST_SUBJECT = 150
_MOST_DETAILS = 20

_SHORT = {
    EventKind.RUN_COMPLETED: "completed",
    EventKind.RUN_FAILED: "failed",
    EventKind.RUN_STALLED: "stalled",
    EventKind.RUN_INCOMPLETE: "incomplete",
    EventKind.RUN_EMPTY: "empty",
    EventKind.RUN_BROKEN: "broken",
    EventKind.COLLECTION_LATE: "late",
    EventKind.COLLECTION_RECOVERED: "recovered",
    EventKind.PRODUCTS_CHANGED: "changed",
    EventKind.ACCOUNT_UNAVAILABLE: "unavailable",
    EventKind.ACCOUNT_RECOVERED: "available again",
    EventKind.CHANNEL_TESTED: "this channel works",
}
_BAD = {"run.failed", "run.stalled", "run.empty", "run.broken", "account.unavailable"}
_NOTICE = {"run.incomplete", "collection.late"}


class Section(NamedTuple):
    """What a message says about one run, collection or account. The first line says most."""

    title: str
    url: str
    lines: list[str]
    tone: str  # "bad", "notice", or "good"


class Message(NamedTuple):
    """A message about one or more events."""

    subject: str
    sections: list[Section]


def message(events: Sequence[Event]) -> Message:
    """Return what to say about the events: a section for each run, in their order."""
    groups: dict[Hashable, list[Event]] = defaultdict(list)
    for event in events:
        groups[event.collection_id, event.run_number, event.target].append(event)
    sections = [_section(group) for group in groups.values()]
    return Message(_subject(sections, events), sections)


def cut(text: str, most: int) -> str:
    """Return the text on one line, with at most so many characters."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def within(parts: Iterable[str], most: int, *, size: Callable[[str], int] = len) -> list[str]:
    """Return the first parts whose sizes are `most` in total. If some are missing, the last part says so."""
    parts, left = list(parts), most - 30
    fitting: list[str] = []
    for part in parts:
        left -= size(part) + 1
        if left < 0:
            return [*fitting, f"And {len(parts) - len(fitting)} more."]
        fitting.append(part)
    return fitting


def _section(events: Sequence[Event]) -> Section:
    first = events[0]
    lines = [line for event in events for line in (_line(event), *_details(event))]
    kinds = {event.kind for event in events}
    tone = "bad" if kinds & _BAD else "notice" if kinds & _NOTICE else "good"
    return Section(_title(first), site() + _path(first), lines, tone)


def _subject(sections: Sequence[Section], events: Sequence[Event]) -> str:
    if len(sections) == 1:
        said = ", ".join(dict.fromkeys(_short(event) for event in events))
        return cut(f"{sections[0].title}: {said}", _LONGEST_SUBJECT)
    counts = Counter(_SHORT.get(EventKind(event.kind), event.kind) for event in events)
    said = ", ".join(f"{count} {what}" for what, count in counts.most_common())
    first = dict.fromkeys(_name(event) for event in events)
    others = len(first) - 1
    names = f"{next(iter(first))} and {others} more" if others else next(iter(first))
    return cut(f"{names}: {said}", _LONGEST_SUBJECT)


def _name(event: Event) -> str:
    return cut(event.collection_name or event.target or "This site", 60)


def _title(event: Event) -> str:
    name = _name(event)
    return name if event.run_number is None else f"{name}, run {event.run_number}"


def _path(event: Event) -> str:
    if event.collection_id is None:
        return reverse("accounts" if event.kind.startswith("account.") else "home")
    if event.run_number is None:
        return reverse("collection", args=[event.collection_id])
    return reverse("run", args=[event.collection_id, event.run_number])


def _short(event: Event) -> str:
    return str(event.data.get("summary") or _SHORT.get(EventKind(event.kind), EventKind(event.kind).label))


def _line(event: Event) -> str:
    """Return what happened: "Incomplete: 980 of 1,240 records"."""
    short = _short(event)
    said = short[:1].upper() + short[1:]
    explained = _explanation(event)
    return cut(f"{said}: {explained}" if explained else said, _LONGEST_LINE)


def _explanation(event: Event) -> str:
    if reasons := event.data.get("reasons"):
        return " ".join(str(Reason.from_json(reason)) for reason in reasons)
    if reason := event.data.get("reason"):
        return str(reason)
    if expected_at := event.data.get("expected_at"):
        at = datetime.fromisoformat(expected_at).astimezone(UTC)
        return f"expected by {at.day} {at:%b %Y, %H:%M} UTC"
    return _records(event)


def _records(event: Event) -> str:
    counts = event.data.get("counts") or {}
    extracted, total = counts.get("extracted"), counts.get("total")
    if extracted is None:
        return ""
    is_partial = total is not None and extracted < total
    return f"{extracted:,} of {total:,} records" if is_partial else f"{extracted:,} records"


def _details(event: Event) -> list[str]:
    """Return a line for each changed product: `data["lines"]`, of `data["line_count"]`, the best first."""
    lines = [str(line) for line in event.data.get("lines", ())]
    shown = [cut(line, _LONGEST_LINE) for line in lines[:_MOST_DETAILS]]
    more = max(event.data.get("line_count", 0), len(lines)) - len(shown)
    return [*shown, f"And {more:,} more."] if more > 0 else shown
