"""The health of channels: what a success or failure changes, and when a channel is switched off."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from collections_app.models import Channel
from collections_app.notifications.retries import rest_after

# A channel is switched off after failing for so long, and so often.
OFF_AFTER = timedelta(days=5)
OFF_AFTER_FAILURES = 10
_LONGEST_ERROR = 300


class Outcome(NamedTuple):
    """How sending a message ended. Without an error, it was accepted."""

    error: str = ""
    status: int | None = None
    answer: str = ""
    pause: timedelta | None = None  # that the receiver asked for
    is_final: bool = False  # whether the channel can't work again
    seconds: float = 0.0


def after_success(now: datetime) -> dict[str, Any]:
    """Return the columns of a channel after a success. It switches the channel on."""
    return {**healthy(), "last_success_at": now}


def healthy() -> dict[str, Any]:
    """Return the columns of a channel that is on and doesn't fail."""
    return {
        "failing_since": None,
        "failures": 0,
        "last_error": "",
        "paused_until": None,
        "off_since": None,
        "off_reason": "",
        "warnings_sent": 0,
    }


def after_failure(channel: Channel, outcome: Outcome, now: datetime) -> dict[str, Any]:
    """Return the columns of a channel after a failure."""
    since, failures = channel.failing_since or now, channel.failures + 1
    changes: dict[str, Any] = {
        "failing_since": since,
        "failures": failures,
        "last_error": outcome.error[:_LONGEST_ERROR],
        "paused_until": now + max(rest_after(failures), outcome.pause or timedelta()),
    }
    is_hopeless = now - since >= OFF_AFTER and failures >= OFF_AFTER_FAILURES
    if channel.is_on and (outcome.is_final or is_hopeless):
        changes |= {"off_since": now, "off_reason": _reason(outcome)[:_LONGEST_ERROR]}
    return changes


def _reason(outcome: Outcome) -> str:
    if outcome.is_final:
        return outcome.error
    return f"Sending has failed for {OFF_AFTER.days} days. {outcome.error}"
