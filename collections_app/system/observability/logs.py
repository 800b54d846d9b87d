"""How log lines look: JSON where they go to a file or a collector, readable where somebody watches.

Everything is logged by the standard library; structlog gives the lines their form. What is bound by
`structlog.contextvars` (the request's id, who asks, for what) stands in every line of the request.
"""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# The fields that a line may have beside the time, the level and the words; no others get into one.
# docs/operations.md says what each is.
REQUEST_FIELDS = ("method", "route", "status", "bytes", "seconds", "complete")
CONTEXT_FIELDS = ("request_id", "user", "team", "key", "collection", "run", "file")


def config(*, for_people: bool) -> dict[str, Any]:
    """Return the site's LOGGING: one handler, on stderr, for all that is worth an operator's time."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"no_path": {"()": WithoutPath}},
        "formatters": {"line": {"()": _formatter, "for_people": for_people}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            # A line for each request.
            "collections_app.system.observability.requests": {"level": "INFO"},
            # An answer of 4xx is the caller's mistake, not an event for the operator.
            # Django logs some of them as security errors with a traceback, such as a Host that isn't ours.
            "django.request": {"level": "ERROR", "filters": ["no_path"]},
            "django.security": {"level": "CRITICAL"},
        },
    }


class WithoutPath(logging.Filter):
    """Takes the path out of Django's own lines of failed requests: that of a password link is a secret."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave what went wrong; the line of the request says where."""
        if isinstance(record.args, tuple) and record.args:
            record.msg, record.args = "%s", record.args[:1]
        vars(record).pop("request", None)
        return True


def _formatter(*, for_people: bool) -> logging.Formatter:
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.ExtraAdder(allow=REQUEST_FIELDS),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_last(for_people=for_people),
        ],
    )


def _last(*, for_people: bool) -> list[Processor]:
    # Tracebacks come without the values of variables, which may be secrets.
    if for_people:
        plain, colors = structlog.dev.plain_traceback, sys.stderr.isatty()
        return [structlog.dev.ConsoleRenderer(timestamp_key="time", exception_formatter=plain, colors=colors)]
    return [structlog.processors.format_exc_info, _in_order, structlog.processors.JSONRenderer()]


_FIRST = ("time", "level", "event", *CONTEXT_FIELDS[:1], *REQUEST_FIELDS, *CONTEXT_FIELDS[1:], "logger")


def _in_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {name: event[name] for name in _FIRST if name in event} | dict(event)
