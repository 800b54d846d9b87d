"""Format log lines: as JSON for files and collectors, or as text for people.

The code logs with the standard library, and structlog formats the lines. Each line of a request contains what
is bound by `structlog.contextvars`: the request ID, the user, and the objects that the request is about.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import structlog
from structlog.typing import Processor

# No line contains these, so don't determine them.
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

# Besides the time, level and message, a line can have only these fields (see docs/operations.md).
REQUEST_FIELDS = ("method", "route", "status", "bytes", "seconds", "complete")
CONTEXT_FIELDS = ("request_id", "user", "team", "key", "collection", "run", "file")


def config(*, for_people: bool) -> dict[str, Any]:
    """Return the LOGGING setting: one handler, on stderr, for what an operator should know."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"no_path": {"()": WithoutPath}},
        "formatters": {"line": {"()": _formatter, "for_people": for_people}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "collections_app.system.observability.requests": {"level": "INFO"},
            # A 4xx response is the client's error and doesn't concern the operator. Django logs some of them
            # as security errors with a traceback, for example an unknown Host.
            "django.request": {"level": "ERROR", "filters": ["no_path"]},
            "django.security": {"level": "CRITICAL"},
        },
    }


class WithoutPath(logging.Filter):
    """Remove the path from Django's log lines, because the path of a password link is a secret."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep only the error. The log line of the request has the route."""
        if isinstance(record.args, tuple) and record.args:
            record.msg, record.args = "%s", record.args[:1]
        vars(record).pop("request", None)
        return True


class JsonLine(logging.Formatter):
    """Format a line as JSON. Tracebacks don't contain the values of variables, which may be secrets.

    structlog's own formatter copies the record first, and takes three times as long.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        extra = vars(record)
        event = structlog.contextvars.get_contextvars()
        event |= {name: extra[name] for name in REQUEST_FIELDS if name in extra}
        time = datetime.fromtimestamp(record.created, UTC).replace(tzinfo=None)
        event["time"] = f"{time.isoformat(timespec='microseconds')}Z"
        event["level"], event["event"] = record.levelname.lower(), record.getMessage()
        event["logger"] = record.name
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return _encoder.encode({name: event[name] for name in _FIRST if name in event} | event)


# json.dumps() would create one for each line.
_encoder = json.JSONEncoder(default=repr)


def _formatter(*, for_people: bool) -> logging.Formatter:
    if not for_people:
        return JsonLine()
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
            structlog.dev.ConsoleRenderer(
                timestamp_key="time",
                exception_formatter=structlog.dev.plain_traceback,  # without the values of variables
                colors=sys.stderr.isatty(),
            ),
        ],
    )


_FIRST = ("time", "level", "event", *CONTEXT_FIELDS[:1], *REQUEST_FIELDS, *CONTEXT_FIELDS[1:], "logger")
